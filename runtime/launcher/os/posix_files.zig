//! What is done with open files in the same way on all Unix systems.

const std = @import("std");
const files = @import("../os.zig").files;
const system = std.posix.system;

/// macOS refuses to read or write more at once; Linux does less.
pub const most = 1 << 30;

/// Fills `buffer` from `offset`; the count is smaller only at the end of the file.
pub fn readAt(fd: files.Handle, buffer: []u8, offset: u64) files.Error!usize {
    var done: usize = 0;
    while (done < buffer.len) {
        const rest = buffer[done..];
        const n = files.check(system.pread(fd, rest.ptr, @min(rest.len, most), @intCast(offset + done))) catch |err| switch (err) {
            error.Interrupted => continue,
            else => return err,
        };
        if (n == 0) break;
        done += n;
    }
    return done;
}

pub fn writeAll(fd: files.Handle, bytes: []const u8) files.Error!void {
    var rest = bytes;
    while (rest.len > 0) {
        const n = files.check(system.write(fd, rest.ptr, @min(rest.len, most))) catch |err| switch (err) {
            error.Interrupted => continue,
            else => return err,
        };
        if (n == 0) return error.NoSpace;
        rest = rest[n..];
    }
}

pub const error_output: files.Handle = 2;

/// Writes to standard error, which may be gone.
pub fn say(text: []const u8) void {
    writeAll(error_output, text) catch {};
}

/// Whether the path leads to the very file that is open.
pub fn isSame(fd: files.Handle, path: [*:0]const u8) bool {
    const held = files.fstat(fd) catch return true;
    const named = files.lstat(path) catch return false;
    return held.dev == named.dev and held.ino == named.ino;
}

/// Whether it has the mode that a cached file or folder must have.
pub fn hasMode(found: files.Stat, mode: u32) bool {
    return found.mode == mode;
}
