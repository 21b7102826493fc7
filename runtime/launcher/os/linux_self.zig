//! Where the launcher's own file lies, on Linux.

const std = @import("std");
const linux = std.os.linux;
const files = @import("linux_files.zig");

pub const Self = struct {
    handle: files.Handle,
    /// Absolute, without links.
    path: [:0]const u8,
};

const Failure = files.Error || error{OutOfMemory};

/// Opens the running program's file. Without /proc the name it was started by leads to it.
pub fn open(arena: std.mem.Allocator, argv0: []const u8) Failure!Self {
    var buffer: [4096]u8 = undefined;
    if (files.openRead("/proc/self/exe")) |handle| {
        const path = try arena.dupeZ(u8, try files.readLink("/proc/self/exe", &buffer));
        const there = files.stat(path) catch return error.NotFound;
        const here = try files.fstat(handle);
        if (there.dev != here.dev or there.ino != here.ino) return error.NotFound;
        return .{ .handle = handle, .path = path };
    } else |_| {}
    return openNamed(arena, startedAs(argv0));
}

/// Opens the file of that name.
pub fn openNamed(arena: std.mem.Allocator, name: []const u8) Failure!Self {
    const path = try resolve(arena, name);
    return .{ .handle = try files.openRead(path), .path = path };
}

fn startedAs(argv0: []const u8) []const u8 {
    const given = linux.getauxval(std.elf.AT_EXECFN);
    return if (given != 0) std.mem.span(@as([*:0]const u8, @ptrFromInt(given))) else argv0;
}

/// Absolute, and links as the last component followed.
fn resolve(arena: std.mem.Allocator, name: []const u8) Failure![:0]const u8 {
    var buffer: [4096]u8 = undefined;
    var path = try joined(arena, try files.currentFolder(&buffer), name);
    for (0..40) |_| {
        const target = files.readLink(path, &buffer) catch return path;
        path = try joined(arena, std.fs.path.dirnamePosix(path) orelse "/", target);
    }
    return error.SymbolicLink;
}

/// Absolute and without "." parts. A ".." stays: what it means depends on links.
pub fn absolute(arena: std.mem.Allocator, name: []const u8) error{OutOfMemory}![:0]const u8 {
    var buffer: [4096]u8 = undefined;
    return joined(arena, files.currentFolder(&buffer) catch "/", name);
}

fn joined(arena: std.mem.Allocator, folder: []const u8, name: []const u8) error{OutOfMemory}![:0]const u8 {
    const whole = if (std.fs.path.isAbsolutePosix(name)) name else try std.fs.path.join(arena, &.{ folder, name });
    var result: std.ArrayList(u8) = .empty;
    var parts = std.mem.tokenizeScalar(u8, whole, '/');
    while (parts.next()) |part| {
        if (!std.mem.eql(u8, part, ".")) try result.print(arena, "/{s}", .{part});
    }
    if (result.items.len == 0) try result.append(arena, '/');
    return result.toOwnedSliceSentinel(arena, 0);
}
