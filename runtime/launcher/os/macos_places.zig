//! Where a cache can be on macOS.

const std = @import("std");
const environment = @import("../environment.zig");
const place = @import("place.zig");
const posix = @import("posix_places.zig");
const process = @import("macos_process.zig");
const Allocator = std.mem.Allocator;

/// Folders for the cache, the best first.
pub fn cacheFolders(arena: Allocator, block: environment.Block) error{OutOfMemory}![]const place.Candidate {
    return posix.cacheFolders(arena, block, "Library/Caches/solofile", try homeOf(arena));
}

/// The home folder that the user database has; null where it has none.
fn homeOf(arena: Allocator) error{OutOfMemory}!?[]const u8 {
    const found = std.c.getpwuid(process.user()) orelse return null;
    const home = std.mem.span(found.dir orelse return null);
    return if (std.fs.path.isAbsolutePosix(home)) try arena.dupe(u8, home) else null;
}

/// The folder that a path is in; null for the root.
pub const parent = std.fs.path.dirnamePosix;
