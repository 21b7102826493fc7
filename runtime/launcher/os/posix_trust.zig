//! The rule for a folder that programs are started from: no link, this user's own, and written by nobody else.

const std = @import("std");
const os = @import("../os.zig");
const files = os.files;
const process = os.process;
const Allocator = std.mem.Allocator;

/// Why the folder is not trusted, as the end of a sentence; null where it is.
pub fn fault(arena: Allocator, path: [:0]const u8) error{OutOfMemory}!?[]const u8 {
    const found = files.lstat(path) catch |err| return try print(arena, "it cannot be reached ({s})", .{files.why(err)});
    if (found.kind == .link) return try print(arena, "{s} is a symbolic link", .{path});
    if (found.kind != .folder) return try print(arena, "{s} is not a folder", .{path});
    if (found.uid != process.user()) {
        return try print(arena, "{s} belongs to user {d} and this is user {d}", .{ path, found.uid, process.user() });
    }
    if (found.mode & 0o022 != 0) {
        return try print(arena, "others can write to {s} (mode {o:0>4}, chmod go-w takes that away)", .{ path, found.mode });
    }
    return null;
}

fn print(arena: Allocator, comptime format: []const u8, arguments: anytype) error{OutOfMemory}![]const u8 {
    return std.fmt.allocPrint(arena, format, arguments);
}
