//! The list of a pack's files, `runtime/<target>.sums`: what belongs in the cache folder, byte for byte. Its own SHA-256 names the pack.

const std = @import("std");
const os = @import("os.zig");
const say = @import("say.zig");
const archives = @import("archive.zig");
const member = @import("member.zig");
const sha256 = @import("sha256.zig");

const text_limit = 16 << 20;
const path_limit = 1024;

pub const File = struct {
    /// Relative, "/" between the parts, no "..".
    path: []const u8,
    digest: sha256.Digest,
    size: u64,
    executable: bool,
    entry: archives.Entry,

    /// What is in the cache cannot be written.
    pub fn cachedMode(self: File) u32 {
        return if (self.executable) 0o555 else 0o444;
    }
};

pub const Pack = struct {
    archive: archives.Archive,
    /// SHA-256 of the list, in hex.
    digest: [64]u8,
    /// Sorted by path.
    files: []const File,
    size: u64,

    pub fn megabytes(self: Pack) u64 {
        return self.size / 1_000_000 + 1;
    }
};

/// The pack for this machine. Every line of the list has its member in the archive and every member its line.
pub fn open(arena: std.mem.Allocator, archive: archives.Archive) (say.Refusal || error{OutOfMemory})!Pack {
    const list = "runtime/" ++ os.target ++ ".sums";
    const entry = archive.find(list) orelse return say.refuse(
        say.bad_input,
        "{s} holds no runtime for " ++ os.target ++ "; build it again with --target " ++ os.target ++ ".",
        .{archive.path},
    );
    if (entry.size > text_limit) return archive.damaged(list, "is too long");
    const text = try member.readAll(arena, archive, entry);
    const files = try parse(arena, archive, text) orelse return archive.damaged(list, "does not describe its files");
    var size: u64 = 0;
    for (files) |file| size += file.size;
    return .{
        .archive = archive,
        .digest = std.fmt.bytesToHex(sha256.digestOf(text), .lower),
        .files = files,
        .size = size,
    };
}

/// Null where a line is malformed, out of order, or has no member that agrees with it.
fn parse(arena: std.mem.Allocator, archive: archives.Archive, text: []const u8) error{OutOfMemory}!?[]File {
    var files: std.ArrayList(File) = .empty;
    const members = try runtimeMembers(arena, archive);
    if (text.len == 0 or text[text.len - 1] != '\n') return null;
    var lines = std.mem.splitScalar(u8, text[0 .. text.len - 1], '\n');
    while (lines.next()) |line| {
        if (files.items.len == members.len) return null;
        const file = parseLine(line, members[files.items.len]) orelse return null;
        if (files.getLastOrNull()) |previous| {
            if (std.mem.order(u8, previous.path, file.path) != .lt) return null;
        }
        try files.append(arena, file);
    }
    return if (files.items.len == members.len) files.items else null;
}

const folder = "runtime/" ++ os.target ++ "/";

/// The archive keeps them in the order of the list.
fn runtimeMembers(arena: std.mem.Allocator, archive: archives.Archive) error{OutOfMemory}![]archives.Entry {
    var members: std.ArrayList(archives.Entry) = .empty;
    for (archive.entries) |entry| {
        if (std.mem.startsWith(u8, entry.name, folder)) try members.append(arena, entry);
    }
    return members.items;
}

/// `<sha256 hex> <size> <mode, 4 octal digits> <path>`
fn parseLine(line: []const u8, entry: archives.Entry) ?File {
    var fields = std.mem.splitScalar(u8, line, ' ');
    const digest_text = fields.next() orelse return null;
    const size_text = fields.next() orelse return null;
    const mode_text = fields.next() orelse return null;
    const path = fields.rest();
    var digest: sha256.Digest = undefined;
    if (digest_text.len != 64 or mode_text.len != 4) return null;
    _ = std.fmt.hexToBytes(&digest, digest_text) catch return null;
    const size = std.fmt.parseInt(u64, size_text, 10) catch return null;
    const mode = std.fmt.parseInt(u32, mode_text, 8) catch return null;
    if (!isSafe(path) or !std.mem.eql(u8, entry.name[folder.len..], path)) return null;
    if (entry.size != size or entry.mode & 0o777 != mode & 0o777) return null;
    return .{ .path = path, .digest = digest, .size = size, .executable = mode & 0o111 != 0, .entry = entry };
}

/// Stays below the folder that it is put in, on every system.
fn isSafe(path: []const u8) bool {
    if (path.len == 0 or path.len > path_limit) return false;
    for (path) |byte| {
        if (byte < ' ' or byte == '\\' or byte == ':' or byte == 0x7f) return false;
    }
    var parts = std.mem.splitScalar(u8, path, '/');
    while (parts.next()) |part| {
        if (part.len == 0 or std.mem.eql(u8, part, ".") or std.mem.eql(u8, part, "..")) return false;
    }
    return true;
}
