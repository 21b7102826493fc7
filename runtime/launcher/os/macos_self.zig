//! Where the launcher's own file lies, on macOS.

const std = @import("std");
const files = @import("macos_files.zig");
const posix = @import("posix_self.zig");

pub const Self = posix.Self;
pub const openNamed = posix.openNamed;
pub const absolute = posix.absolute;

/// Opens the running program's file. The system tells the name that it was started by, which may be a link or relative.
pub fn open(arena: std.mem.Allocator, _: []const u8) posix.Failure!Self {
    var said: [4096]u8 = undefined;
    var size: u32 = said.len;
    if (std.c._NSGetExecutablePath(&said, &size) != 0) return error.NotFound;
    var whole: [4096]u8 = undefined;
    const path = try arena.dupeZ(u8, try files.realPath(@ptrCast(&said), &whole));
    return .{ .handle = try files.openRead(path), .path = path };
}
