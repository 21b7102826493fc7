//! A file for several systems begins with a script on Unix (universal.sh), which puts this launcher into the cache by itself and names the
//! file in SOLOFILE_FILE. A launcher that has its own archive behind it looks at no such variable.

const std = @import("std");
const builtin = @import("builtin");
const os = @import("os.zig");
const say = @import("say.zig");
const archive = @import("archive.zig");
const environment = @import("environment.zig");

const Failure = say.Refusal || error{OutOfMemory};

/// The file that the bundle is: `self`, or the one that the script has named.
pub fn bundleOf(arena: std.mem.Allocator, self: os.self.Self, block: environment.Block) Failure!os.self.Self {
    if (builtin.os.tag == .windows or archive.hasEnd(self)) return self;
    const path = environment.get(block, "SOLOFILE_FILE") orelse return self;
    const file = os.self.openNamed(arena, path) catch |err| return switch (err) {
        error.OutOfMemory => error.OutOfMemory,
        else => |known| say.refuse(
            say.failure,
            "The bundle {s} cannot be opened ({s}); start it by its full path from where it can be read.",
            .{ path, os.files.why(known) },
        ),
    };
    os.files.close(self.handle) catch {};
    return file;
}
