//! Where a cache can be on Linux.

const std = @import("std");
const environment = @import("../environment.zig");
const files = @import("linux_files.zig");
const place = @import("place.zig");
const posix = @import("posix_places.zig");
const process = @import("linux_process.zig");
const Allocator = std.mem.Allocator;

/// Folders for the cache, the best first.
pub fn cacheFolders(arena: Allocator, block: environment.Block) error{OutOfMemory}![]const place.Candidate {
    return posix.cacheFolders(arena, block, ".cache/solofile", try homeOf(arena, process.user()));
}

/// The home folder that the user database has for `uid`; null where it has none.
fn homeOf(arena: Allocator, uid: u32) error{OutOfMemory}!?[]const u8 {
    const handle = files.openRead("/etc/passwd") catch return null;
    defer files.close(handle) catch {};
    const text = try arena.alloc(u8, 1 << 20);
    const size = files.readAt(handle, text, 0) catch return null;
    var lines = std.mem.splitScalar(u8, text[0..size], '\n');
    while (lines.next()) |line| {
        var fields = std.mem.splitScalar(u8, line, ':');
        _ = fields.next(); // name
        _ = fields.next(); // password
        const number = std.fmt.parseInt(u32, fields.next() orelse continue, 10) catch continue;
        if (number != uid) continue;
        _ = fields.next(); // group
        _ = fields.next(); // comment
        const home = fields.next() orelse return null;
        return if (std.fs.path.isAbsolutePosix(home)) home else null;
    }
    return null;
}

/// The folder that a path is in; null for the root.
pub const parent = std.fs.path.dirnamePosix;
