//! Where the launcher's own file lies, on Linux.

const std = @import("std");
const linux = std.os.linux;
const files = @import("linux_files.zig");
const posix = @import("posix_self.zig");

pub const Self = posix.Self;
pub const openNamed = posix.openNamed;
pub const absolute = posix.absolute;

/// Opens the running program's file. Without /proc the name it was started by leads to it.
pub fn open(arena: std.mem.Allocator, argv0: []const u8) posix.Failure!Self {
    var buffer: [4096]u8 = undefined;
    if (files.openRead("/proc/self/exe")) |handle| {
        const path = try arena.dupeZ(u8, try files.readLink("/proc/self/exe", &buffer));
        const there = files.stat(path) catch return error.NotFound;
        const here = try files.fstat(handle);
        if (there.dev != here.dev or there.ino != here.ino) return error.NotFound;
        return .{ .handle = handle, .path = path };
    } else |_| {}
    return openNamed(arena, startedAs(argv0));
}

fn startedAs(argv0: []const u8) []const u8 {
    const given = linux.getauxval(std.elf.AT_EXECFN);
    return if (given != 0) std.mem.span(@as([*:0]const u8, @ptrFromInt(given))) else argv0;
}
