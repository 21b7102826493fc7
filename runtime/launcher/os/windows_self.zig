//! Where the launcher's own file lies, on Windows.

const std = @import("std");
const api = @import("windows_api.zig");
const files = @import("windows_files.zig");

pub const Self = struct {
    handle: files.Handle,
    /// Absolute.
    path: [:0]const u8,
};

/// Opens the running program's file.
pub fn open(arena: std.mem.Allocator, _: []const u8) (files.Error || error{OutOfMemory})!Self {
    const buffer = try arena.alloc(u16, api.longest);
    const n = api.GetModuleFileNameW(null, buffer.ptr, api.longest);
    if (n == 0 or n == api.longest) return files.failure();
    const path = try api.narrowPath(arena, buffer[0..n]);
    return .{ .handle = try files.openRead(path), .path = path };
}

/// Absolute, with backslashes and without "." and ".." parts.
pub fn absolute(arena: std.mem.Allocator, name: []const u8) error{OutOfMemory}![:0]const u8 {
    const given = std.unicode.wtf8ToWtf16LeAllocZ(arena, name) catch |err| switch (err) {
        error.OutOfMemory => return error.OutOfMemory,
        error.InvalidWtf8 => return arena.dupeZ(u8, name),
    };
    const buffer = try arena.alloc(u16, api.longest);
    const n = api.GetFullPathNameW(given, api.longest, buffer.ptr, null);
    return if (n == 0 or n >= api.longest) arena.dupeZ(u8, name) else api.narrowPath(arena, buffer[0..n]);
}
