//! Files on Linux: thin calls on the kernel with errors that the launcher can name. No libc.

const std = @import("std");
const linux = std.os.linux;

pub const Handle = linux.fd_t;

const failures = @import("posix_failure.zig");
pub const Error = failures.Error;
pub const why = failures.why;

const shared = @import("posix_files.zig");
pub const readAt = shared.readAt;
pub const writeAll = shared.writeAll;
pub const say = shared.say;
pub const isSame = shared.isSame;
pub const hasMode = shared.hasMode;

pub fn check(result: usize) Error!usize {
    const code = linux.errno(result);
    return if (code == .SUCCESS) result else failures.failure(code);
}

const facts = @import("linux_stat.zig");
pub const Stat = facts.Stat;
pub const lstat = facts.lstat;
pub const stat = facts.stat;
pub const fstat = facts.fstat;
pub const isNoexec = facts.isNoexec;
pub const canWrite = facts.canWrite;

pub fn openRead(path: [*:0]const u8) Error!Handle {
    return @intCast(try check(linux.open(path, .{ .CLOEXEC = true }, 0)));
}

/// A new file that nobody else can read yet; Exists where anything has that name.
pub fn create(path: [*:0]const u8) Error!Handle {
    const flags: linux.O = .{ .ACCMODE = .WRONLY, .CREAT = true, .EXCL = true, .NOFOLLOW = true, .CLOEXEC = true };
    return @intCast(try check(linux.open(path, flags, 0o600)));
}

/// The lock file, made where it is missing; on a read-only file system an existing one is opened for reading.
pub fn openLock(path: [*:0]const u8) Error!Handle {
    const flags: linux.O = .{ .ACCMODE = .RDWR, .CREAT = true, .NOFOLLOW = true, .CLOEXEC = true };
    const result = check(linux.open(path, flags, 0o600)) catch |err| switch (err) {
        error.ReadOnly, error.AccessDenied => try check(linux.open(path, .{ .NOFOLLOW = true, .CLOEXEC = true }, 0)),
        else => return err,
    };
    return @intCast(result);
}

pub const Lock = enum(i32) { shared = 1, exclusive = 2, none = 8 };

/// Take, change or drop the lock without waiting: WouldBlock where another process holds it, NoLocks where there are none.
pub fn lock(fd: Handle, kind: Lock) Error!void {
    _ = try check(linux.flock(fd, @intFromEnum(kind) | 4)); // LOCK_NB
}

pub fn close(fd: Handle) Error!void {
    _ = try check(linux.close(fd));
}

/// No read-ahead: what lies beside the bytes that are read is often a model of many gigabytes.
pub fn adviseRandom(fd: Handle) void {
    _ = linux.fadvise(fd, 0, 0, linux.POSIX_FADV.RANDOM);
}

/// These bytes, and only these, will be read soon. Asked for in pieces, because the kernel cuts off what is more than its read-ahead;
/// and as a whole before the first is read, so that where its own read-ahead wakes up it finds little left to do.
pub fn adviseSoon(fd: Handle, offset: u64, length: u64) void {
    const piece = 128 << 10;
    var at = offset;
    while (at < offset + length) : (at += piece) {
        _ = linux.fadvise(fd, @intCast(at), @intCast(@min(piece, offset + length - at)), linux.POSIX_FADV.WILLNEED);
    }
}

/// Last step of a new file: its mode and its time of change, in seconds since 1970.
pub fn seal(fd: Handle, mode: u32, mtime: i64) Error!void {
    _ = try check(linux.fchmod(fd, mode));
    const times: [2]linux.timespec = @splat(.{ .sec = mtime, .nsec = 0 });
    _ = try check(linux.futimens(fd, &times));
}

/// Sets the time of change to now; a failure only makes the file look older.
pub fn touch(fd: Handle) void {
    _ = linux.futimens(fd, null);
}

pub fn chmod(path: [*:0]const u8, mode: u32) Error!void {
    _ = try check(linux.chmod(path, mode));
}

pub fn makeFolder(path: [*:0]const u8) Error!void {
    _ = try check(linux.mkdir(path, 0o700));
}

pub fn rename(from: [*:0]const u8, to: [*:0]const u8) Error!void {
    _ = try check(linux.rename(from, to));
}

pub fn removeFile(path: [*:0]const u8) Error!void {
    _ = try check(linux.unlink(path));
}

pub fn removeFolder(path: [*:0]const u8) Error!void {
    _ = try check(linux.rmdir(path));
}

pub fn readLink(path: [*:0]const u8, buffer: []u8) Error![]u8 {
    return buffer[0..try check(linux.readlink(path, buffer.ptr, buffer.len))];
}

pub fn currentFolder(buffer: []u8) Error![]u8 {
    const n = try check(linux.getcwd(buffer.ptr, buffer.len));
    return buffer[0 .. n - 1];
}

/// The names in a folder, "." and ".." left out.
pub fn listFolder(arena: std.mem.Allocator, path: [*:0]const u8) (Error || error{OutOfMemory})![]const []const u8 {
    const flags: linux.O = .{ .DIRECTORY = true, .NOFOLLOW = true, .CLOEXEC = true };
    const fd: Handle = @intCast(try check(linux.open(path, flags, 0)));
    defer close(fd) catch {};
    var names: std.ArrayList([]const u8) = .empty;
    var buffer: [8192]u8 align(8) = undefined;
    while (true) {
        const n = try check(linux.getdents64(fd, &buffer, buffer.len));
        if (n == 0) return names.items;
        var at: usize = 0;
        while (at < n) {
            const entry: *align(1) const linux.dirent64 = @ptrCast(&buffer[at]);
            const name = std.mem.sliceTo(buffer[at + @offsetOf(linux.dirent64, "name") ..], 0);
            at += entry.reclen;
            if (std.mem.eql(u8, name, ".") or std.mem.eql(u8, name, "..")) continue;
            try names.append(arena, try arena.dupe(u8, name));
        }
    }
}

/// Whether standard error is a terminal.
pub fn errorsAreSeen() bool {
    var settings: linux.termios = undefined;
    return linux.errno(linux.tcgetattr(shared.error_output, &settings)) == .SUCCESS;
}
