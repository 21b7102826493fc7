//! Where a cache can be on Linux.

const std = @import("std");
const environment = @import("../environment.zig");
const files = @import("linux_files.zig");
const place = @import("place.zig");
const process = @import("linux_process.zig");
const Allocator = std.mem.Allocator;

/// Folders for the cache, the best first.
pub fn cacheFolders(arena: Allocator, block: environment.Block) error{OutOfMemory}![]const place.Candidate {
    var list: std.ArrayList(place.Candidate) = .empty;
    const uid = process.user();
    if (environment.get(block, "XDG_CACHE_HOME")) |base| try personal(arena, &list, base, false);
    if (environment.get(block, "HOME")) |home| try personal(arena, &list, home, true);
    if (try homeOf(arena, uid)) |home| try personal(arena, &list, home, true);
    for ([_][]const u8{ "/var/tmp", "/tmp" }) |base| {
        const path = try std.fmt.allocPrintSentinel(arena, "{s}/solofile-{d}", .{ base, uid }, 0);
        try list.append(arena, .{ .path = path, .source = .shared });
    }
    return list.items;
}

/// A folder in the user's own; relative ones mean nothing, and one that is listed already is not asked twice.
fn personal(arena: Allocator, list: *std.ArrayList(place.Candidate), base: []const u8, is_home: bool) error{OutOfMemory}!void {
    if (base[0] != '/') return;
    const path = try std.fs.path.joinZ(arena, &.{ base, if (is_home) ".cache/solofile" else "solofile" });
    for (list.items) |other| if (std.mem.eql(u8, other.path, path)) return;
    try list.append(arena, .{ .path = path, .source = .personal, .home = if (is_home) base else null });
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
