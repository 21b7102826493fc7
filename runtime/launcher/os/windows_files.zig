//! Files on Windows: thin calls on the system with errors that the launcher can name. Paths are UTF-8.

const std = @import("std");
const api = @import("windows_api.zig");

pub const Handle = api.Handle;

pub const Error = @import("failure.zig").Error;

var last: u32 = 0;

/// The error of the call that has just failed.
pub fn failure() Error {
    last = api.GetLastError();
    return switch (last) {
        2, 3, 15, 53, 67, 123, 161 => error.NotFound,
        80, 183 => error.Exists,
        5 => error.AccessDenied,
        19 => error.ReadOnly,
        39, 112, 1295 => error.NoSpace,
        267 => error.NotADirectory,
        145 => error.NotEmpty,
        681, 1921 => error.SymbolicLink,
        32, 33 => error.WouldBlock,
        1, 50, 120 => error.NoLocks,
        995 => error.Interrupted,
        else => error.Failed,
    };
}

fn check(result: i32) Error!void {
    if (result == 0) return failure();
}

/// The error in the words of a sentence.
pub fn why(err: Error) []const u8 {
    return switch (err) {
        error.NotFound => "no such file or folder",
        error.Exists => "it exists already",
        error.AccessDenied => "access is denied",
        error.ReadOnly => "the medium is write-protected",
        error.NoSpace => "no space left",
        error.NotADirectory => "a part of its path is not a folder",
        error.NotEmpty => "the folder is not empty",
        error.SymbolicLink => "a symbolic link",
        error.WouldBlock => "another program has it open",
        error.NoLocks => "not supported by the file system",
        error.Interrupted => "interrupted",
        error.Failed => switch (last) {
            4 => "too many open files",
            8, 14, 1455 => "out of memory",
            21 => "the drive is not ready",
            23, 1117 => "input/output error",
            193, 216 => "not a program for this machine",
            206 => "the name is too long",
            223 => "the file is too large for this file system",
            225, 226 => "a virus scanner has blocked it",
            1260 => "a policy of this system forbids it",
            else => "the system refused",
        },
    };
}

pub const Kind = enum { file, folder, link, other };

pub const Stat = struct {
    kind: Kind,
    read_only: bool,
    /// Whose a file is, is checked for whole folders here (windows_trust.zig).
    uid: u32 = 0,
    size: u64,
    /// Seconds since 1970, UTC.
    mtime: i64,
};

const read_only_bit = 0x1;
const folder_bit = 0x10;
const normal = 0x80;
const link_bit = 0x400;

fn facts(attributes: u32, size_high: u32, size_low: u32, write: api.Time) Stat {
    return .{
        .kind = if (attributes & link_bit != 0) .link else if (attributes & folder_bit != 0) .folder else .file,
        .read_only = attributes & read_only_bit != 0,
        .size = @as(u64, size_high) << 32 | size_low,
        .mtime = @divFloor(@as(i64, @intCast(write)), second) - epoch_seconds,
    };
}

const second = 10_000_000;
const epoch_seconds = 11_644_473_600; // from 1601 to 1970

// One for each path of a call.
var wide_buffers: [2][api.longest]u16 = undefined;

fn wide(path: [*:0]const u8) Error!api.Wide {
    return wideAt(0, path);
}

fn wideAt(index: usize, path: [*:0]const u8) Error!api.Wide {
    return api.widePath(&wide_buffers[index], path) catch {
        last = 206;
        return error.Failed;
    };
}

/// Facts of the path itself: a link as its last component is not followed.
pub fn lstat(path: [*:0]const u8) Error!Stat {
    var data: api.AttributeData = undefined;
    try check(api.GetFileAttributesExW(try wide(path), 0, &data));
    return facts(data.attributes, data.size_high, data.size_low, data.write);
}

pub const stat = lstat;

pub fn fstat(file: Handle) Error!Stat {
    const info = try information(file);
    return facts(info.attributes, info.size_high, info.size_low, info.write);
}

fn information(file: Handle) Error!api.FileInfo {
    var info: api.FileInfo = undefined;
    try check(api.GetFileInformationByHandle(file, &info));
    return info;
}

/// Whether the path leads to the very file that is open.
pub fn isSame(file: Handle, path: [*:0]const u8) bool {
    const here = information(file) catch return true;
    const other = open(path, 0x80, open_existing, link_itself) catch return false; // FILE_READ_ATTRIBUTES
    defer close(other) catch {};
    const there = information(other) catch return false;
    return here.volume == there.volume and here.index_high == there.index_high and here.index_low == there.index_low;
}

/// Whether it has the mode that a cached file or folder must have: of Unix' bits Windows has the one for writing.
pub fn hasMode(found: Stat, mode: u32) bool {
    return found.kind == .folder or found.read_only == (mode & 0o222 == 0);
}

/// Whether programs cannot be started from there: Windows has no such file systems.
pub fn isNoexec(_: [*:0]const u8) Error!bool {
    return false;
}

/// Whether files can be made in a folder.
pub fn canWrite(path: [*:0]const u8) Error!void {
    var name: [api.longest]u8 = undefined;
    const probe = std.fmt.bufPrintZ(&name, "{s}/.probe-{d}", .{ path, api.GetCurrentProcessId() }) catch return error.Failed;
    const file = try open(probe, generic_write | delete, create_always, delete_on_close);
    try close(file);
}

const generic_read = 0x8000_0000;
const generic_write = 0x4000_0000;
const delete = 0x1_0000;
const share_all = 7;
const create_new = 1;
const create_always = 2;
const open_existing = 3;
const open_always = 4;
const link_itself = 0x0220_0000; // FILE_FLAG_OPEN_REPARSE_POINT, and FILE_FLAG_BACKUP_SEMANTICS for folders
const no_link = 0x0020_0000;
const delete_on_close = 0x0400_0000;
const random_access = 0x1000_0000;

fn open(path: [*:0]const u8, access: u32, disposition: u32, flags: u32) Error!Handle {
    const file = api.CreateFileW(try wide(path), access, share_all, null, disposition, flags | normal, null);
    return if (file == api.invalid) failure() else file;
}

pub fn openRead(path: [*:0]const u8) Error!Handle {
    return open(path, generic_read, open_existing, random_access);
}

/// A new file; Exists where anything has that name. Who may read it follows from its folder.
pub fn create(path: [*:0]const u8) Error!Handle {
    return open(path, generic_write, create_new, no_link);
}

/// The lock file, made where it is missing; where it cannot be written an existing one is opened for reading.
pub fn openLock(path: [*:0]const u8) Error!Handle {
    return open(path, generic_read | generic_write, open_always, no_link) catch |err| switch (err) {
        error.ReadOnly, error.AccessDenied => open(path, generic_read, open_existing, no_link),
        else => err,
    };
}

pub const Lock = enum { shared, exclusive, none };

// Windows' locks keep others from reading what is locked, so the byte lies where no file has any. locks.py locks it too.
const lock_place: api.Overlapped = .{ .offset_high = 0x4000_0000 };

/// Take, change or drop the lock without waiting: WouldBlock where another process holds it, NoLocks where there are none.
pub fn lock(file: Handle, kind: Lock) Error!void {
    var place = lock_place;
    _ = api.UnlockFileEx(file, 0, 1, 0, &place);
    const flags: u32 = switch (kind) {
        .none => return,
        .shared => 1, // LOCKFILE_FAIL_IMMEDIATELY
        .exclusive => 3,
    };
    place = lock_place;
    try check(api.LockFileEx(file, flags, 0, 1, 0, &place));
}

pub fn close(file: Handle) Error!void {
    try check(api.CloseHandle(file));
}

/// Fills `buffer` from `offset`; the count is smaller only at the end of the file.
pub fn readAt(file: Handle, buffer: []u8, offset: u64) Error!usize {
    var done: usize = 0;
    while (done < buffer.len) {
        const at = offset + done;
        var place: api.Overlapped = .{ .offset = @truncate(at), .offset_high = @intCast(at >> 32) };
        const size: u32 = @intCast(@min(buffer.len - done, 1 << 30));
        var n: u32 = 0;
        if (api.ReadFile(file, buffer[done..].ptr, size, &n, &place) == 0) {
            if (api.GetLastError() == 38) break; // ERROR_HANDLE_EOF
            return failure();
        }
        if (n == 0) break;
        done += n;
    }
    return done;
}

pub fn writeAll(file: Handle, bytes: []const u8) Error!void {
    var rest = bytes;
    while (rest.len > 0) {
        var n: u32 = 0;
        try check(api.WriteFile(file, rest.ptr, @intCast(@min(rest.len, 1 << 30)), &n, null));
        if (n == 0) return error.NoSpace;
        rest = rest[n..];
    }
}

const error_output: u32 = @bitCast(@as(i32, -12));

/// Writes UTF-8 to standard error, which may be a console with another encoding, or nothing at all.
pub fn say(text: []const u8) void {
    const output = api.GetStdHandle(error_output) orelse return;
    var mode: u32 = 0;
    if (api.GetConsoleMode(output, &mode) == 0) return writeAll(output, text) catch {};
    const n = std.unicode.wtf8ToWtf16Le(&wide_buffers[0], text) catch return;
    var written: u32 = 0;
    _ = api.WriteConsoleW(output, &wide_buffers[0], @intCast(n), &written, null);
}

pub fn errorsAreSeen() bool {
    var mode: u32 = 0;
    return api.GetConsoleMode(api.GetStdHandle(error_output) orelse return false, &mode) != 0;
}

/// Said when the file is opened (`openRead`).
pub fn adviseRandom(_: Handle) void {}

/// The cache manager reads ahead by itself where it sees that bytes are read in order.
pub fn adviseSoon(_: Handle, _: u64, _: u64) void {}

/// Last step of a new file: whether it can be written, and its time of change, in seconds since 1970.
pub fn seal(file: Handle, mode: u32, mtime: i64) Error!void {
    const time: api.Time = @intCast((mtime + epoch_seconds) * second);
    const attributes: u32 = if (mode & 0o222 == 0) read_only_bit else normal;
    try setBasic(file, .{ .write = time, .attributes = attributes });
}

/// Sets the time of change to now; a failure only makes the file look older.
pub fn touch(file: Handle) void {
    var now: api.Time = 0;
    api.GetSystemTimeAsFileTime(&now);
    setBasic(file, .{ .write = now }) catch {};
}

fn setBasic(file: Handle, info: api.BasicInfo) Error!void {
    try check(api.SetFileInformationByHandle(file, 0, &info, @sizeOf(api.BasicInfo)));
}

/// A folder's rights come from the one that it is in.
pub fn chmod(_: [*:0]const u8, _: u32) Error!void {}

pub fn makeFolder(path: [*:0]const u8) Error!void {
    try check(api.CreateDirectoryW(try wide(path), null));
}

/// A virus scanner may hold what has just been written: that passes.
pub fn rename(from: [*:0]const u8, to: [*:0]const u8) Error!void {
    var waits: u32 = 0;
    while (api.MoveFileExW(try wideAt(0, from), try wideAt(1, to), 0) == 0) : (waits += 1) {
        const err = failure();
        const may_pass = err == error.AccessDenied or err == error.WouldBlock;
        if (lstat(to)) |_| return error.Exists else |_| {}
        if (!may_pass or waits == 50) return err;
        api.Sleep(100);
    }
}

pub fn removeFile(path: [*:0]const u8) Error!void {
    if (api.DeleteFileW(try wide(path)) != 0) return;
    const err = failure();
    if (err != error.AccessDenied) return err;
    _ = api.SetFileAttributesW(try wide(path), normal); // what is read-only cannot be removed
    try check(api.DeleteFileW(try wide(path)));
}

pub fn removeFolder(path: [*:0]const u8) Error!void {
    try check(api.RemoveDirectoryW(try wide(path)));
}

/// The names in a folder, "." and ".." left out.
pub fn listFolder(arena: std.mem.Allocator, path: [*:0]const u8) (Error || error{OutOfMemory})![]const []const u8 {
    var names: std.ArrayList([]const u8) = .empty;
    var found: api.FindData = undefined;
    const pattern = try std.fmt.allocPrintSentinel(arena, "{s}\\*", .{path}, 0);
    const search = api.FindFirstFileW(try wide(pattern), &found);
    if (search == api.invalid) return failure();
    defer _ = api.FindClose(search);
    while (true) {
        const name = try api.narrow(arena, std.mem.sliceTo(&found.name, 0));
        if (!std.mem.eql(u8, name, ".") and !std.mem.eql(u8, name, "..")) try names.append(arena, name);
        if (api.FindNextFileW(search, &found) == 0) return names.items;
    }
}
