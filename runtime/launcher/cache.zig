//! Where packs are unpacked to: the first folder that this user, and nobody else, can write, and programs can be started from.

const std = @import("std");
const os = @import("os.zig");
const say = @import("say.zig");
const environment = @import("environment.zig");
const sums = @import("sums.zig");
const Allocator = std.mem.Allocator;

pub const Failure = say.Refusal || error{OutOfMemory};

const FolderError = os.files.Error || error{OutOfMemory};

const Candidate = os.Candidate;

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

fn candidates(arena: Allocator, block: environment.Block) error{OutOfMemory}![]const Candidate {
    const path = environment.get(block, "SOLOFILE_CACHE") orelse return os.places.cacheFolders(arena, block);
    const one = try arena.create([1]Candidate);
    one.* = .{.{ .path = try os.self.absolute(arena, path), .source = .explicit }};
    return one;
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
    if (try os.trust.fault(arena, candidate.path)) |reason| return reason;
    for ([_][]const u8{ "packs", "state" }) |name| {
        const path = try std.fs.path.joinZ(arena, &.{ candidate.path, name });
        makeFolders(arena, path) catch |err| return try because(arena, "it cannot be written", err);
        if (try os.trust.fault(arena, path)) |reason| return reason;
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
        at = try arena.dupeZ(u8, os.places.parent(at) orelse return error.NotFound);
    }
}

/// Like `mkdir -p`, each new folder for this user alone.
fn makeFolders(arena: Allocator, path: [:0]const u8) FolderError!void {
    os.files.makeFolder(path) catch |err| switch (err) {
        error.Exists => return,
        error.NotFound => {
            const parent = os.places.parent(path) orelse return err;
            try makeFolders(arena, try arena.dupeZ(u8, parent));
            os.files.makeFolder(path) catch |again| if (again != error.Exists) return again;
        },
        // An existing folder on a read-only file system says so before it says that it exists.
        else => _ = os.files.stat(path) catch return err,
    };
}
