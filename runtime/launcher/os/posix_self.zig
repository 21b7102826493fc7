//! Paths and files by their names, as all Unix systems have them.

const std = @import("std");
const files = @import("../os.zig").files;

pub const Self = struct {
    handle: files.Handle,
    /// Absolute, without links.
    path: [:0]const u8,
};

pub const Failure = files.Error || error{OutOfMemory};

/// Opens the file of that name.
pub fn openNamed(arena: std.mem.Allocator, name: []const u8) Failure!Self {
    const path = try resolve(arena, name);
    return .{ .handle = try files.openRead(path), .path = path };
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
