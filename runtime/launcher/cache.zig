//! Where packs are unpacked to: the first folder that this user, and nobody else, can write, and programs can be started from.

const std = @import("std");
const os = @import("os.zig");
const say = @import("say.zig");
const environment = @import("environment.zig");
const sums = @import("sums.zig");
const Allocator = std.mem.Allocator;

pub const Failure = say.Refusal || error{OutOfMemory};

const FolderError = os.files.Error || error{OutOfMemory};

const Source = enum { explicit, personal, shared };

const Candidate = struct {
    path: [:0]const u8,
    source: Source,
    /// The home folder that it lies in, which is never made.
    home: ?[]const u8 = null,
};

/// The cache folder, there and checked, with its `packs` and `state`. Each folder that is passed over is named with the reason.
pub fn choose(arena: Allocator, block: environment.Block, pack: sums.Pack) Failure![:0]const u8 {
    const megabytes = pack.megabytes();
    for (try candidates(arena, block)) |candidate| {
        const reason = try fault(arena, candidate, pack) orelse return candidate.path;
        if (candidate.source == .explicit) return say.refuse(
            say.failure,
            "SOLOFILE_CACHE={s} cannot be used: {s}; set SOLOFILE_CACHE to a folder of your own with {d} MB free that no" ++
                " other user can write and that programs can be started from.",
            .{ candidate.path, reason, megabytes },
        );
        say.line("the cache folder {s} is passed over: {s}.", .{ candidate.path, reason });
    }
    return say.refuse(
        say.failure,
        "No cache folder can be used; set SOLOFILE_CACHE to a folder of your own with {d} MB free.",
        .{megabytes},
    );
}

fn candidates(arena: Allocator, block: environment.Block) Failure![]const Candidate {
    var list: std.ArrayList(Candidate) = .empty;
    if (environment.get(block, "SOLOFILE_CACHE")) |path| {
        var buffer: [4096]u8 = undefined;
        const here = os.files.currentFolder(&buffer) catch "/";
        try list.append(arena, .{ .path = try os.self.absolute(arena, here, path), .source = .explicit });
        return list.items;
    }
    const uid = os.process.user();
    if (environment.get(block, "XDG_CACHE_HOME")) |base| try personal(arena, &list, base, false);
    if (environment.get(block, "HOME")) |home| try personal(arena, &list, home, true);
    if (try os.self.homeOf(arena, uid)) |home| try personal(arena, &list, home, true);
    for ([_][]const u8{ "/var/tmp", "/tmp" }) |base| {
        const path = try std.fmt.allocPrintSentinel(arena, "{s}/solofile-{d}", .{ base, uid }, 0);
        try list.append(arena, .{ .path = path, .source = .shared });
    }
    return list.items;
}

/// A folder in the user's own; relative ones mean nothing, and one that is listed already is not asked twice.
fn personal(arena: Allocator, list: *std.ArrayList(Candidate), base: []const u8, is_home: bool) Failure!void {
    if (base[0] != '/') return;
    const path = try std.fs.path.joinZ(arena, &.{ base, if (is_home) ".cache/solofile" else "solofile" });
    for (list.items) |other| if (std.mem.eql(u8, other.path, path)) return;
    try list.append(arena, .{ .path = path, .source = .personal, .home = if (is_home) base else null });
}

/// Why the folder cannot be used, as the end of a sentence; null where it can. What is missing is made on the way.
fn fault(arena: Allocator, candidate: Candidate, pack: sums.Pack) error{OutOfMemory}!?[]const u8 {
    if (candidate.home) |home| {
        _ = os.files.stat(try arena.dupeZ(u8, home)) catch |err| return try because(arena, "its home folder cannot be reached", err);
    }
    const ancestor = existing(arena, candidate.path) catch |err| return try because(arena, "it cannot be reached", err);
    if (!std.mem.eql(u8, ancestor.path, candidate.path)) {
        // Root with another user's HOME must not leave root's files in that user's home.
        if (candidate.source == .personal and ancestor.stat.uid != os.process.user() and ancestor.stat.uid != 0) {
            return try owned(arena, ancestor.path, ancestor.stat.uid);
        }
    }
    const noexec = os.files.isNoexec(ancestor.path) catch |err| return try because(arena, "it cannot be reached", err);
    if (noexec) return "it is on a file system mounted noexec, no program can be started from it";
    makeFolders(arena, candidate.path) catch |err| return try because(arena, "it cannot be created", err);
    if (try distrusted(arena, candidate.path)) |reason| return reason;
    for ([_][]const u8{ "packs", "state" }) |name| {
        const path = try std.fs.path.joinZ(arena, &.{ candidate.path, name });
        makeFolders(arena, path) catch |err| return try because(arena, "it cannot be written", err);
        if (try distrusted(arena, path)) |reason| return reason;
    }
    return unwritable(arena, candidate.path, pack);
}

/// A folder that cannot be written serves as long as the pack is in it, for example in the read-only image of a container.
fn unwritable(arena: Allocator, path: []const u8, pack: sums.Pack) error{OutOfMemory}!?[]const u8 {
    const packs = try std.fs.path.joinZ(arena, &.{ path, "packs" });
    os.files.canWrite(packs) catch |err| {
        if (os.files.lstat(try std.fs.path.joinZ(arena, &.{ packs, &pack.digest }))) |_| return null else |_| {}
        return try because(arena, "it cannot be written", err);
    };
    return null;
}

/// The rule for a folder that programs are started from; null where it is kept.
fn distrusted(arena: Allocator, path: [:0]const u8) error{OutOfMemory}!?[]const u8 {
    const found = os.files.lstat(path) catch |err| return try because(arena, "it cannot be reached", err);
    if (found.kind == .link) return try print(arena, "{s} is a symbolic link", .{path});
    if (found.kind != .folder) return try print(arena, "{s} is not a folder", .{path});
    if (found.uid != os.process.user()) return try owned(arena, path, found.uid);
    if (found.mode & 0o022 != 0) {
        return try print(arena, "others can write to {s} (mode {o:0>4}, chmod go-w takes that away)", .{ path, found.mode });
    }
    return null;
}

fn owned(arena: Allocator, path: []const u8, uid: u32) error{OutOfMemory}![]const u8 {
    return print(arena, "{s} belongs to user {d} and this is user {d}", .{ path, uid, os.process.user() });
}

fn because(arena: Allocator, what: []const u8, err: FolderError) error{OutOfMemory}![]const u8 {
    return switch (err) {
        error.OutOfMemory => error.OutOfMemory,
        else => |known| print(arena, "{s} ({s})", .{ what, os.files.why(known) }),
    };
}

fn print(arena: Allocator, comptime format: []const u8, arguments: anytype) error{OutOfMemory}![]const u8 {
    return std.fmt.allocPrint(arena, format, arguments);
}

const Ancestor = struct { path: [:0]const u8, stat: os.files.Stat };

/// The deepest folder on the way to `path` that is there.
fn existing(arena: Allocator, path: [:0]const u8) FolderError!Ancestor {
    var at = path;
    while (true) {
        if (os.files.stat(at)) |found| return .{ .path = at, .stat = found } else |err| if (err != error.NotFound) return err;
        at = try arena.dupeZ(u8, std.fs.path.dirnamePosix(at) orelse "/");
    }
}

/// Like `mkdir -p`, each new folder for this user alone.
fn makeFolders(arena: Allocator, path: [:0]const u8) FolderError!void {
    os.files.makeFolder(path) catch |err| switch (err) {
        error.Exists => return,
        error.NotFound => {
            const parent = std.fs.path.dirnamePosix(path) orelse return err;
            try makeFolders(arena, try arena.dupeZ(u8, parent));
            os.files.makeFolder(path) catch |again| if (again != error.Exists) return again;
        },
        // An existing folder on a read-only file system says so before it says that it exists.
        else => _ = os.files.stat(path) catch return err,
    };
}
