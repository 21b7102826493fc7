//! One member of the archive, read as a stream: its local header checked against the directory, its bytes inflated.

const std = @import("std");
const os = @import("os.zig");
const say = @import("say.zig");
const archives = @import("archive.zig");
const inflate = @import("inflate.zig").inflate;

const local_header_size = 30;

// One member is read at a time.
var input: [256 << 10]u8 = undefined;

/// The member's bytes as they lie in the file.
const Source = struct {
    file: os.files.Handle,
    at: u64,
    end: u64,

    /// The next bytes, none at the end.
    pub fn next(self: *Source) error{Damaged}![]const u8 {
        const size: usize = @intCast(@min(input.len, self.end - self.at));
        const n = os.files.readAt(self.file, input[0..size], self.at) catch return error.Damaged;
        if (n != size) return error.Damaged;
        self.at += n;
        return input[0..n];
    }
};

/// Hands the bytes on as long as there are not more than the directory says.
fn Counted(comptime Sink: type) type {
    return struct {
        sink: Sink,
        left: u64,

        pub fn take(self: *@This(), bytes: []const u8) !void {
            if (bytes.len > self.left) return error.Damaged;
            self.left -= bytes.len;
            try self.sink.take(bytes);
        }
    };
}

/// Reads the whole member into `sink`, which has `fn take([]const u8) !void`. It gets exactly as many bytes as the directory says.
pub fn read(archive: archives.Archive, entry: archives.Entry, sink: anytype) !void {
    try checkHeader(archive, entry);
    var source: Source = .{
        .file = archive.file,
        .at = entry.header + entry.headerSize(),
        .end = entry.header + entry.headerSize() + entry.stored,
    };
    var counted: Counted(@TypeOf(sink)) = .{ .sink = sink, .left = entry.size };
    const done = if (entry.deflated) inflate(&source, &counted) else copy(&source, &counted);
    done catch |err| return if (err == error.Damaged) archive.damaged(entry.name, "is not what was written") else err;
    if (counted.left > 0) return archive.damaged(entry.name, "is shorter than the directory says");
}

fn copy(source: *Source, sink: anytype) !void {
    while (true) {
        const bytes = try source.next();
        if (bytes.len == 0) return;
        try sink.take(bytes);
    }
}

/// The local header says what the directory says, byte for byte but for the time.
fn checkHeader(archive: archives.Archive, entry: archives.Entry) say.Refusal!void {
    const wrong = archive.damaged(entry.name, "has a header that the directory contradicts");
    var header: [local_header_size + 65535 + 20]u8 = undefined;
    const size: usize = @intCast(entry.headerSize());
    const n = os.files.readAt(archive.file, header[0..size], entry.header) catch 0;
    if (n != size or archives.u32At(&header, 0) != 0x04034b50 or archives.u16At(&header, 6) != 0x800) return wrong;
    if (archives.u16At(&header, 8) != @as(u16, if (entry.deflated) 8 else 0)) return wrong;
    if (archives.u32At(&header, 14) != entry.crc) return wrong;
    if (archives.u16At(&header, 26) != entry.name.len) return wrong;
    if (archives.u16At(&header, 28) != size - local_header_size - entry.name.len) return wrong;
    if (!std.mem.eql(u8, header[local_header_size..][0..entry.name.len], entry.name)) return wrong;
    var stored: u64 = archives.u32At(&header, 18);
    var unpacked: u64 = archives.u32At(&header, 22);
    archives.widen(header[local_header_size + entry.name.len .. size], &.{ &unpacked, &stored }) orelse return wrong;
    if (stored != entry.stored or unpacked != entry.size) return wrong;
}

const Memory = struct {
    bytes: []u8,
    at: usize = 0,

    pub fn take(self: *Memory, bytes: []const u8) error{}!void {
        @memcpy(self.bytes[self.at..][0..bytes.len], bytes);
        self.at += bytes.len;
    }
};

/// A small member as a whole; the caller has bounded `entry.size`.
pub fn readAll(
    arena: std.mem.Allocator,
    archive: archives.Archive,
    entry: archives.Entry,
) (say.Refusal || error{OutOfMemory})![]u8 {
    var memory: Memory = .{ .bytes = try arena.alloc(u8, entry.size) };
    read(archive, entry, &memory) catch |err| switch (err) {
        error.Refused => return error.Refused,
        error.Damaged => unreachable, // said by `read`
    };
    return memory.bytes;
}
