//! One pack in the cache: found whole, or unpacked once. `packs/<digest>.lock` is held exclusively while unpacking and shared while the
//! runtime runs, so that nobody removes a pack in use; only a rename makes a pack appear, so nobody sees half of one.

const std = @import("std");
const os = @import("os.zig");
const say = @import("say.zig");
const sums = @import("sums.zig");
const tree = @import("tree.zig");
const unpack = @import("unpack.zig");
const Allocator = std.mem.Allocator;

const Failure = say.Refusal || error{OutOfMemory};

/// How long a pack that others are running from, though damaged, keeps this start waiting for its lock.
const patience_ms = 1000;

pub const Store = struct {
    arena: Allocator,
    cache: []const u8,
    packs: []const u8,
    pack: sums.Pack,
    /// `packs/<digest>`
    folder: [:0]const u8,
    lock_path: [:0]const u8,

    pub fn init(arena: Allocator, cache: []const u8, pack: sums.Pack) error{OutOfMemory}!Store {
        const packs = try std.fs.path.join(arena, &.{ cache, "packs" });
        return .{
            .arena = arena,
            .cache = cache,
            .packs = packs,
            .pack = pack,
            .folder = try std.fs.path.joinZ(arena, &.{ packs, &pack.digest }),
            .lock_path = try std.fmt.allocPrintSentinel(arena, "{s}/{s}.lock", .{ packs, pack.digest }, 0),
        };
    }

    /// Returns when the pack is whole and its lock is held, shared, until the launcher ends.
    pub fn acquire(self: Store) Failure!void {
        var handle = try self.openLock() orelse return self.acquireWithoutLock();
        var waiting_since: ?u64 = null;
        while (true) {
            switch (try self.tryLock(handle, .shared)) {
                .unsupported => return self.acquireWithoutLock(),
                .busy => waiting_since = null, // somebody unpacks
                .held => {
                    // Whoever clears the cache may have removed the locked file.
                    if (!os.files.isSame(handle, self.lock_path)) {
                        os.files.close(handle) catch {};
                        handle = try self.openLock() orelse return self.acquireWithoutLock();
                        continue;
                    }
                    os.files.touch(handle);
                    if (try self.isWhole()) return self.cleanUp();
                    if (try self.makeAlone(handle, &waiting_since)) continue;
                },
            }
            if (os.process.stopRequested()) return interrupted();
            os.process.sleep(20);
        }
    }

    /// Makes the pack under the exclusive lock; false where others hold it.
    fn makeAlone(self: Store, handle: os.files.Handle, waiting_since: *?u64) Failure!bool {
        if (try self.tryLock(handle, .exclusive) == .held) {
            // The change dropped the shared lock for a moment: another start may have made it.
            if (!try self.isWhole()) try self.make();
            return true;
        }
        // Nobody unpacks: others run from a pack that was damaged under them. They keep what they have open.
        const since = waiting_since.* orelse os.process.ticks();
        waiting_since.* = since;
        if (os.process.ticks() - since > patience_ms and !try self.isWhole()) try self.make();
        return false;
    }

    fn acquireWithoutLock(self: Store) Failure!void {
        if (!try self.isWhole()) try self.make();
        return self.cleanUp();
    }

    /// Null where the folder cannot be written and no lock file is in it.
    fn openLock(self: Store) Failure!?os.files.Handle {
        return os.files.openLock(self.lock_path) catch |err| switch (err) {
            error.NotFound, error.ReadOnly => null,
            else => self.unwritable(err),
        };
    }

    const Held = enum { held, busy, unsupported };

    fn tryLock(self: Store, handle: os.files.Handle, kind: os.files.Lock) Failure!Held {
        os.files.lock(handle, kind) catch |err| return switch (err) {
            error.WouldBlock, error.Interrupted => .busy,
            error.NoLocks => .unsupported,
            else => self.unwritable(err),
        };
        return .held;
    }

    /// Every file of the list is there, of the right size, time and mode, in folders that are no links.
    fn isWhole(self: Store) error{OutOfMemory}!bool {
        return tree.isWhole(self.arena, self.folder, self.pack.files);
    }

    /// Unpacks beside the place and renames; a damaged pack is put aside first.
    fn make(self: Store) Failure!void {
        const temporary = try std.fmt.allocPrintSentinel(
            self.arena,
            "{s}/.tmp-{s}-{d}",
            .{ self.packs, self.pack.digest, os.process.ownProcess() },
            0,
        );
        const aside = try std.fmt.allocPrintSentinel(self.arena, "{s}-old", .{temporary}, 0);
        tree.remove(self.arena, temporary) catch |err| return self.failed(err);
        tree.remove(self.arena, aside) catch |err| return self.failed(err);
        errdefer tree.remove(self.arena, temporary) catch {};
        const damaged = if (os.files.lstat(self.folder)) |_| true else |_| false;
        if (damaged) say.line("the cached runtime in {s} was damaged and is made again.", .{self.folder});
        unpack.into(self.arena, temporary, self.pack) catch |err| return self.failed(err);
        if (damaged) os.files.rename(self.folder, aside) catch |err| if (err != error.NotFound) return self.failed(err);
        os.files.rename(temporary, self.folder) catch |err| switch (err) {
            // Without locks another start may have been faster; the caller looks at what it made.
            error.Exists, error.NotEmpty => tree.remove(self.arena, temporary) catch {},
            else => return self.failed(err),
        };
        tree.remove(self.arena, aside) catch {};
    }

    fn failed(self: Store, err: unpack.Error) Failure {
        return switch (err) {
            error.OutOfMemory => error.OutOfMemory,
            error.Refused => error.Refused,
            error.Stopped => interrupted(),
            else => |known| self.unwritable(known),
        };
    }

    fn unwritable(self: Store, err: os.files.Error) say.Refusal {
        return say.refuse(
            say.failure,
            "The runtime cannot be unpacked to {s} ({s}); set SOLOFILE_CACHE to a folder with {d} MB free.",
            .{ self.cache, os.files.why(err), self.pack.megabytes() },
        );
    }

    /// Removes what launchers that died while unpacking have left. Never fails: it is not this start's business.
    fn cleanUp(self: Store) void {
        const packs = self.arena.dupeZ(u8, self.packs) catch return;
        const names = os.files.listFolder(self.arena, packs) catch return;
        for (names) |name| {
            const left = parseTemporary(name) orelse continue;
            if (os.process.isAlive(left.process)) continue;
            self.removeLeftOver(left, name) catch continue;
        }
    }

    /// A process number says little across containers: whoever unpacks also holds the lock of that digest.
    fn removeLeftOver(self: Store, left: LeftOver, name: []const u8) !void {
        const own = std.mem.eql(u8, left.digest, &self.pack.digest);
        const path = try std.fs.path.joinZ(self.arena, &.{ self.packs, name });
        if (own) return tree.remove(self.arena, path);
        const lock_path = try std.fmt.allocPrintSentinel(self.arena, "{s}/{s}.lock", .{ self.packs, left.digest }, 0);
        const handle = try os.files.openLock(lock_path);
        defer os.files.close(handle) catch {};
        try os.files.lock(handle, .exclusive);
        try tree.remove(self.arena, path);
    }
};

fn interrupted() say.Refusal {
    return say.refuse(say.failure, "Stopped before the runtime was unpacked.", .{});
}

const LeftOver = struct { digest: []const u8, process: os.process.Process };

/// `.tmp-<digest>-<pid>` and the same with `-old`; null for any other name.
fn parseTemporary(name: []const u8) ?LeftOver {
    const prefix = ".tmp-";
    if (!std.mem.startsWith(u8, name, prefix) or name.len < prefix.len + 64 + 2) return null;
    const digest = name[prefix.len..][0..64];
    for (digest) |byte| if (!std.ascii.isHex(byte)) return null;
    if (name[prefix.len + 64] != '-') return null;
    const number = std.mem.cutSuffix(u8, name[prefix.len + 65 ..], "-old") orelse name[prefix.len + 65 ..];
    const process = std.fmt.parseInt(os.process.Process, number, 10) catch return null;
    return if (process > 0) .{ .digest = digest, .process = process } else null;
}
