//! Where a cache can be on Windows.

const std = @import("std");
const environment = @import("../environment.zig");
const place = @import("place.zig");
const Allocator = std.mem.Allocator;

/// Folders for the cache, the best first: the user's folder for data of this machine, however it is told.
pub fn cacheFolders(arena: Allocator, block: environment.Block) error{OutOfMemory}![]const place.Candidate {
    var list: std.ArrayList(place.Candidate) = .empty;
    if (environment.get(block, "LOCALAPPDATA")) |base| try add(arena, &list, base, "solofile", null);
    if (environment.get(block, "USERPROFILE")) |home| try add(arena, &list, home, "AppData\\Local\\solofile", home);
    if (environment.get(block, "TEMP")) |base| try add(arena, &list, base, "solofile", null);
    return list.items;
}

fn add(
    arena: Allocator,
    list: *std.ArrayList(place.Candidate),
    base: []const u8,
    name: []const u8,
    home: ?[]const u8,
) error{OutOfMemory}!void {
    if (!std.fs.path.isAbsoluteWindows(base)) return;
    const path = try std.fs.path.joinZ(arena, &.{ base, name });
    for (list.items) |other| if (std.ascii.eqlIgnoreCase(other.path, path)) return;
    try list.append(arena, .{ .path = path, .source = .personal, .home = home });
}

/// The folder that a path is in; null for a root.
pub const parent = std.fs.path.dirnameWindows;
