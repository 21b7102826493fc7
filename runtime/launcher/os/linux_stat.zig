//! Facts about files and file systems on Linux.

const builtin = @import("builtin");
const linux = @import("std").os.linux;
const files = @import("linux_files.zig");

const shared = @import("posix_stat.zig");
pub const Stat = shared.Stat;

// The kernel's own struct stat. newfstatat is used rather than statx because every kernel has it and no sandbox refuses it.
const RawStat = switch (builtin.cpu.arch) {
    .x86_64 => extern struct {
        dev: u64,
        ino: u64,
        nlink: u64,
        mode: u32,
        uid: u32,
        gid: u32,
        pad0: u32,
        rdev: u64,
        size: i64,
        blksize: i64,
        blocks: i64,
        atime: [2]i64,
        mtime: [2]i64,
        ctime: [2]i64,
        unused: [3]i64,
    },
    .aarch64 => extern struct {
        dev: u64,
        ino: u64,
        mode: u32,
        nlink: u32,
        uid: u32,
        gid: u32,
        rdev: u64,
        pad0: u64,
        size: i64,
        blksize: i32,
        pad1: i32,
        blocks: i64,
        atime: [2]i64,
        mtime: [2]i64,
        ctime: [2]i64,
        unused: [2]i32,
    },
    else => @compileError("no struct stat for this processor"),
};

const at_fdcwd: usize = @bitCast(@as(isize, linux.AT.FDCWD));

fn statAt(fd: usize, path: [*:0]const u8, flags: usize) files.Error!Stat {
    var raw: RawStat = undefined;
    const number = if (@hasField(linux.SYS, "fstatat64")) .fstatat64 else .newfstatat;
    _ = try files.check(linux.syscall4(number, fd, @intFromPtr(path), @intFromPtr(&raw), flags));
    return .{
        .kind = shared.kindOf(raw.mode),
        .mode = shared.permissions(raw.mode),
        .uid = raw.uid,
        .size = @intCast(raw.size),
        .mtime = raw.mtime[0],
        .dev = raw.dev,
        .ino = raw.ino,
    };
}

/// Facts of the path itself: a link as its last component is not followed.
pub fn lstat(path: [*:0]const u8) files.Error!Stat {
    return statAt(at_fdcwd, path, linux.AT.SYMLINK_NOFOLLOW);
}

pub fn stat(path: [*:0]const u8) files.Error!Stat {
    return statAt(at_fdcwd, path, 0);
}

pub fn fstat(fd: files.Handle) files.Error!Stat {
    return statAt(@intCast(fd), "", 0x1000); // AT_EMPTY_PATH
}

/// Whether nothing can be executed from the file system that holds `path`; false where the kernel does not say.
pub fn isNoexec(path: [*:0]const u8) files.Error!bool {
    // struct statfs of 64-bit kernels, in words: flags is the eleventh after the 8-byte fsid.
    var raw: [15]u64 = @splat(0);
    _ = try files.check(linux.syscall2(.statfs, @intFromPtr(path), @intFromPtr(&raw)));
    const flags = raw[10];
    return flags & 0x20 != 0 and flags & 0x8 != 0; // ST_VALID, ST_NOEXEC
}

pub fn canWrite(path: [*:0]const u8) files.Error!void {
    _ = try files.check(linux.faccessat(linux.AT.FDCWD, path, 2, 0)); // W_OK
}
