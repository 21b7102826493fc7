//! A folder of files in the cache: checked against the list, or removed. Links are never followed.

const std = @import("std");
const os = @import("os.zig");
const sums = @import("sums.zig");
const Allocator = std.mem.Allocator;

/// Time of change of every cached file: 1980-01-01 UTC. A file that was touched since shows it.
pub const file_time: i64 = 315_532_800;
pub const folder_mode: u32 = 0o555;

/// One `lstat` for each file and folder: what a start can afford. The files are sorted by path.
pub fn isWhole(arena: Allocator, root: []const u8, files: []const sums.File) error{OutOfMemory}!bool {
    const uid = os.process.user();
    if (!isSealedFolder(try arena.dupeZ(u8, root), uid)) return false;
    var path: std.ArrayList(u8) = .empty;
    var previous: []const u8 = "";
    for (files) |file| {
        var folders: Folders = .init(previous, file.path);
        while (folders.next()) |folder| {
            if (!isSealedFolder(try joined(arena, &path, root, folder), uid)) return false;
        }
        const found = os.files.lstat(try joined(arena, &path, root, file.path)) catch return false;
        if (found.kind != .file or found.uid != uid or found.size != file.size) return false;
        if (found.mtime != file_time or !os.files.hasMode(found, file.cachedMode())) return false;
        previous = file.path;
    }
    return true;
}

fn isSealedFolder(path: [:0]const u8, uid: u32) bool {
    const found = os.files.lstat(path) catch return false;
    return found.kind == .folder and found.uid == uid and os.files.hasMode(found, folder_mode);
}

/// `root/name` in a buffer that the next call overwrites.
pub fn joined(
    arena: Allocator,
    buffer: *std.ArrayList(u8),
    root: []const u8,
    name: []const u8,
) error{OutOfMemory}![:0]const u8 {
    buffer.clearRetainingCapacity();
    try buffer.print(arena, "{s}/{s}\x00", .{ root, name });
    return buffer.items[0 .. buffer.items.len - 1 :0];
}

/// The folders of `path`, outermost first, that the path before it in the sorted list was not in.
pub const Folders = struct {
    path: []const u8,
    at: usize,

    pub fn init(previous: []const u8, path: []const u8) Folders {
        const same = std.mem.indexOfDiff(u8, previous, path) orelse path.len;
        // Behind the last "/" that both share, those folders are known.
        const known = std.mem.lastIndexOfScalar(u8, path[0..same], '/');
        return .{ .path = path, .at = if (known) |slash| slash + 1 else 0 };
    }

    pub fn next(self: *Folders) ?[]const u8 {
        const slash = std.mem.indexOfScalarPos(u8, self.path, self.at, '/') orelse return null;
        self.at = slash + 1;
        return self.path[0..slash];
    }
};

/// Removes a file, a link or a folder with all that is in it; nothing there is fine too.
pub fn remove(arena: Allocator, path: [:0]const u8) (os.files.Error || error{OutOfMemory})!void {
    const found = os.files.lstat(path) catch |err| return if (err == error.NotFound) {} else err;
    if (found.kind != .folder) return os.files.removeFile(path);
    try os.files.chmod(path, 0o700);
    for (try os.files.listFolder(arena, path)) |name| {
        try remove(arena, try std.fs.path.joinZ(arena, &.{ path, name }));
    }
    try os.files.removeFolder(path);
}
