//! Files on macOS: thin calls on the system's library, the only way into its kernel, with errors that the launcher can name.

const std = @import("std");
const c = std.c;

pub const Handle = c.fd_t;

const failures = @import("posix_failure.zig");
pub const Error = failures.Error;
pub const why = failures.why;

const shared = @import("posix_files.zig");
pub const readAt = shared.readAt;
pub const writeAll = shared.writeAll;
pub const say = shared.say;
pub const isSame = shared.isSame;
pub const hasMode = shared.hasMode;

/// The result of a call, unless it is the -1 that means a failure.
pub fn check(result: anytype) Error!usize {
    return if (result >= 0) @intCast(result) else lastFailure();
}

fn lastFailure() Error {
    return failures.failure(@enumFromInt(c._errno().*));
}

const facts = @import("macos_stat.zig");
pub const Stat = facts.Stat;
pub const lstat = facts.lstat;
pub const stat = facts.stat;
pub const fstat = facts.fstat;
pub const isNoexec = facts.isNoexec;
pub const canWrite = facts.canWrite;

fn open(path: [*:0]const u8, flags: c.O) Error!Handle {
    return @intCast(try check(c.open(path, flags, @as(c_uint, 0o600))));
}

pub fn openRead(path: [*:0]const u8) Error!Handle {
    return open(path, .{ .CLOEXEC = true });
}

/// A new file that nobody else can read yet; Exists where anything has that name.
pub fn create(path: [*:0]const u8) Error!Handle {
    return open(path, .{ .ACCMODE = .WRONLY, .CREAT = true, .EXCL = true, .NOFOLLOW = true, .CLOEXEC = true });
}

/// The lock file, made where it is missing; on a read-only file system an existing one is opened for reading.
pub fn openLock(path: [*:0]const u8) Error!Handle {
    return open(path, .{ .ACCMODE = .RDWR, .CREAT = true, .NOFOLLOW = true, .CLOEXEC = true }) catch |err| switch (err) {
        error.ReadOnly, error.AccessDenied => open(path, .{ .NOFOLLOW = true, .CLOEXEC = true }),
        else => err,
    };
}

pub const Lock = enum(c_int) { shared = 1, exclusive = 2, none = 8 };

extern "c" fn flock(fd: Handle, operation: c_int) c_int;

/// Take, change or drop the lock without waiting: WouldBlock where another process holds it, NoLocks where there are none.
pub fn lock(fd: Handle, kind: Lock) Error!void {
    _ = try check(flock(fd, @intFromEnum(kind) | 4)); // LOCK_NB
}

pub fn close(fd: Handle) Error!void {
    _ = try check(c.close(fd));
}

const read_advice = 44; // F_RDADVISE
const read_ahead = 45; // F_RDAHEAD

/// No read-ahead: what lies beside the bytes that are read is often a model of many gigabytes.
pub fn adviseRandom(fd: Handle) void {
    _ = c.fcntl(fd, read_ahead, @as(c_int, 0));
}

/// struct radvisory of fcntl.h
const Advice = extern struct { offset: i64, count: c_int };

/// These bytes, and only these, will be read soon.
pub fn adviseSoon(fd: Handle, offset: u64, length: u64) void {
    const advice: Advice = .{ .offset = @intCast(offset), .count = @intCast(@min(length, shared.most)) };
    _ = c.fcntl(fd, read_advice, &advice);
}

/// Last step of a new file: its mode and its time of change, in seconds since 1970.
pub fn seal(fd: Handle, mode: u32, mtime: i64) Error!void {
    _ = try check(c.fchmod(fd, @intCast(mode)));
    const times: [2]c.timespec = @splat(.{ .sec = @intCast(mtime), .nsec = 0 });
    _ = try check(c.futimens(fd, &times));
}

/// Sets the time of change to now; a failure only makes the file look older.
pub fn touch(fd: Handle) void {
    _ = c.futimens(fd, null);
}

pub fn chmod(path: [*:0]const u8, mode: u32) Error!void {
    _ = try check(c.chmod(path, @intCast(mode)));
}

pub fn makeFolder(path: [*:0]const u8) Error!void {
    _ = try check(c.mkdir(path, 0o700));
}

pub fn rename(from: [*:0]const u8, to: [*:0]const u8) Error!void {
    _ = try check(c.rename(from, to));
}

pub fn removeFile(path: [*:0]const u8) Error!void {
    _ = try check(c.unlink(path));
}

pub fn removeFolder(path: [*:0]const u8) Error!void {
    _ = try check(c.rmdir(path));
}

pub fn readLink(path: [*:0]const u8, buffer: []u8) Error![]u8 {
    return buffer[0..try check(c.readlink(path, buffer.ptr, buffer.len))];
}

pub fn currentFolder(buffer: []u8) Error![]u8 {
    const found = c.getcwd(buffer.ptr, buffer.len) orelse return lastFailure();
    return std.mem.sliceTo(found[0..buffer.len], 0);
}

/// The path without links and "." and ".." parts.
pub fn realPath(path: [*:0]const u8, buffer: *[4096]u8) Error![]u8 {
    const found = c.realpath(path, buffer) orelse return lastFailure();
    return std.mem.span(found);
}

/// The names in a folder, "." and ".." left out.
pub fn listFolder(arena: std.mem.Allocator, path: [*:0]const u8) (Error || error{OutOfMemory})![]const []const u8 {
    if ((try lstat(path)).kind == .link) return error.SymbolicLink;
    const folder = c.opendir(path) orelse return lastFailure();
    defer _ = c.closedir(folder);
    var names: std.ArrayList([]const u8) = .empty;
    while (c.readdir(folder)) |entry| {
        const name = std.mem.sliceTo(&entry.name, 0);
        if (std.mem.eql(u8, name, ".") or std.mem.eql(u8, name, "..")) continue;
        try names.append(arena, try arena.dupe(u8, name));
    }
    return names.items;
}

/// Whether standard error is a terminal.
pub fn errorsAreSeen() bool {
    var settings: c.termios = undefined;
    return c.tcgetattr(shared.error_output, &settings) == 0;
}
