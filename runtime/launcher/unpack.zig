//! The pack out of the bundle into a new folder, every file's SHA-256 checked while it is written.

const std = @import("std");
const os = @import("os.zig");
const say = @import("say.zig");
const sums = @import("sums.zig");
const tree = @import("tree.zig");
const member = @import("member.zig");
const sha256 = @import("sha256.zig");
const Allocator = std.mem.Allocator;

pub const Error = os.files.Error || say.Refusal || error{ OutOfMemory, Stopped };

/// Longer than this, and somebody at a terminal is told what takes time.
const quiet_ms = 1000;

/// Unpacks into the new folder `root` and seals it read-only. On an error the caller removes what is there.
pub fn into(arena: Allocator, root: [:0]const u8, pack: sums.Pack) Error!void {
    var notice: Notice = .{ .started = os.process.ticks(), .root = root };
    if (pack.files.len > 0) {
        const first = pack.files[0].entry.header;
        const last = pack.files[pack.files.len - 1].entry;
        os.files.adviseSoon(pack.archive.file, first, last.header + last.stored - first);
    }
    try os.files.makeFolder(root);
    var path: std.ArrayList(u8) = .empty;
    var previous: []const u8 = "";
    for (pack.files) |file| {
        var folders: tree.Folders = .init(previous, file.path);
        while (folders.next()) |folder| try os.files.makeFolder(try tree.joined(arena, &path, root, folder));
        try unpackFile(pack, file, try tree.joined(arena, &path, root, file.path), &notice);
        previous = file.path;
    }
    try sealFolders(arena, root, pack.files);
}

fn unpackFile(pack: sums.Pack, file: sums.File, path: [:0]const u8, notice: *Notice) Error!void {
    const handle = try os.files.create(path);
    writeMember(pack, file, handle, notice) catch |err| {
        os.files.close(handle) catch {};
        return err;
    };
    try os.files.close(handle);
}

fn writeMember(pack: sums.Pack, file: sums.File, handle: os.files.Handle, notice: *Notice) Error!void {
    var output: Output = .{ .handle = handle, .notice = notice };
    member.read(pack.archive, file.entry, &output) catch |err| switch (err) {
        error.Damaged => unreachable, // said by `read`
        else => |known| return known,
    };
    if (!std.mem.eql(u8, &output.hash.final(), &file.digest)) {
        return pack.archive.damaged(file.entry.name, "does not have the SHA-256 that it must have");
    }
    try os.files.seal(handle, file.cachedMode(), tree.file_time);
}

const Output = struct {
    handle: os.files.Handle,
    notice: *Notice,
    hash: sha256.Sha256 = .init(),

    pub fn take(self: *Output, bytes: []const u8) (os.files.Error || error{Stopped})!void {
        self.hash.update(bytes);
        try os.files.writeAll(self.handle, bytes);
        if (os.process.stopRequested()) return error.Stopped;
        self.notice.sayOnce();
    }
};

fn sealFolders(arena: Allocator, root: [:0]const u8, files: []const sums.File) Error!void {
    var path: std.ArrayList(u8) = .empty;
    var previous: []const u8 = "";
    for (files) |file| {
        var folders: tree.Folders = .init(previous, file.path);
        while (folders.next()) |folder| try os.files.chmod(try tree.joined(arena, &path, root, folder), tree.folder_mode);
        previous = file.path;
    }
    try os.files.chmod(root, tree.folder_mode);
}

const Notice = struct {
    started: u64,
    root: []const u8,
    said: bool = false,

    fn sayOnce(self: *Notice) void {
        if (self.said or os.process.ticks() - self.started < quiet_ms) return;
        self.said = true;
        if (!os.files.errorsAreSeen()) return;
        say.line("unpacking once to {s} …", .{os.places.parent(self.root) orelse self.root});
    }
};
