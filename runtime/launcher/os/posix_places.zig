//! Where a cache can be on Unix systems.

const std = @import("std");
const environment = @import("../environment.zig");
const place = @import("place.zig");
const process = @import("../os.zig").process;
const Allocator = std.mem.Allocator;

/// Folders for the cache, the best first. `below` is its place in a home folder, `home` the one that the user database has.
pub fn cacheFolders(
    arena: Allocator,
    block: environment.Block,
    below: []const u8,
    home: ?[]const u8,
) error{OutOfMemory}![]const place.Candidate {
    var list: std.ArrayList(place.Candidate) = .empty;
    if (environment.get(block, "XDG_CACHE_HOME")) |base| try personal(arena, &list, base, "solofile", null);
    if (environment.get(block, "HOME")) |base| try personal(arena, &list, base, below, base);
    if (home) |base| try personal(arena, &list, base, below, base);
    for ([_][]const u8{ "/var/tmp", "/tmp" }) |base| {
        const path = try std.fmt.allocPrintSentinel(arena, "{s}/solofile-{d}", .{ base, process.user() }, 0);
        try list.append(arena, .{ .path = path, .source = .shared });
    }
    return list.items;
}

/// A folder in the user's own; relative ones mean nothing, and one that is listed already is not asked twice.
fn personal(
    arena: Allocator,
    list: *std.ArrayList(place.Candidate),
    base: []const u8,
    below: []const u8,
    home: ?[]const u8,
) error{OutOfMemory}!void {
    if (base[0] != '/') return;
    const path = try std.fs.path.joinZ(arena, &.{ base, below });
    for (list.items) |other| if (std.mem.eql(u8, other.path, path)) return;
    try list.append(arena, .{ .path = path, .source = .personal, .home = home });
}
