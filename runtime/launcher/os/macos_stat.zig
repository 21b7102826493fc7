//! Facts about files and file systems on macOS.

const std = @import("std");
const builtin = @import("builtin");
const c = std.c;
const files = @import("macos_files.zig");

const shared = @import("posix_stat.zig");
pub const Stat = shared.Stat;

fn facts(raw: c.Stat) Stat {
    return .{
        .kind = shared.kindOf(raw.mode),
        .mode = shared.permissions(raw.mode),
        .uid = raw.uid,
        .size = @intCast(raw.size),
        .mtime = raw.mtimespec.sec,
        .dev = @as(u32, @bitCast(raw.dev)),
        .ino = raw.ino,
    };
}

/// Facts of the path itself: a link as its last component is not followed.
pub fn lstat(path: [*:0]const u8) files.Error!Stat {
    var raw: c.Stat = undefined;
    _ = try files.check(c.fstatat(c.AT.FDCWD, path, &raw, c.AT.SYMLINK_NOFOLLOW));
    return facts(raw);
}

pub fn stat(path: [*:0]const u8) files.Error!Stat {
    var raw: c.Stat = undefined;
    _ = try files.check(c.fstatat(c.AT.FDCWD, path, &raw, 0));
    return facts(raw);
}

pub fn fstat(fd: files.Handle) files.Error!Stat {
    var raw: c.Stat = undefined;
    _ = try files.check(c.fstat(fd, &raw));
    return facts(raw);
}

/// struct statfs of sys/mount.h, as it is since its inode numbers have 64 bits.
const FileSystem = extern struct {
    block_size: u32,
    io_size: i32,
    counts: [5]u64,
    id: [2]i32,
    owner: u32,
    kind: u32,
    flags: u32,
    rest: [2100]u8,
};

const statfs = @extern(
    *const fn ([*:0]const u8, *FileSystem) callconv(.c) c_int,
    .{ .name = if (builtin.cpu.arch == .x86_64) "statfs$INODE64" else "statfs" },
);

/// Whether nothing can be executed from the file system that holds `path`.
pub fn isNoexec(path: [*:0]const u8) files.Error!bool {
    var raw: FileSystem = undefined;
    _ = try files.check(statfs(path, &raw));
    return raw.flags & 0x4 != 0; // MNT_NOEXEC
}

pub fn canWrite(path: [*:0]const u8) files.Error!void {
    _ = try files.check(c.access(path, 2)); // W_OK
}

comptime {
    std.debug.assert(@offsetOf(FileSystem, "flags") == 64 and @sizeOf(FileSystem) == 2168);
}
