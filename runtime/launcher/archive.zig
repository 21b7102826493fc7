//! The archive in the bundle's own file: its end records and central directory, as FORMAT.md lays them out. Nothing that the
//! document does not allow is read: no gaps, no overlaps, no sizes that do not add up.

const std = @import("std");
const os = @import("os.zig");
const say = @import("say.zig");
const certificates = @import("certificates.zig");
const member = @import("member.zig");
const sha256 = @import("sha256.zig");

const comment_prefix = "solofile 1 ";
const comment_size = comment_prefix.len + 64;
const end_size = 22 + comment_size;
const locator_size = 20;
const zip64_end_size = 56;
const tail_size = zip64_end_size + locator_size + end_size;
const directory_limit = 4 << 20;
const manifest_limit = 4 << 20;
const saturated = 0xffff_ffff;

pub const Entry = struct {
    name: []const u8,
    deflated: bool,
    crc: u32,
    /// Bytes in the file, and bytes that they unpack to.
    stored: u64,
    size: u64,
    /// Where the local header lies. The data follows it, and the next member's header the data.
    header: u64,
    mode: u32,

    /// The local header has an extra field only for sizes that its own fields cannot hold.
    pub fn isLarge(self: Entry) bool {
        return self.stored >= saturated or self.size >= saturated;
    }

    pub fn headerSize(self: Entry) u64 {
        return 30 + self.name.len + @as(u64, if (self.isLarge()) 20 else 0);
    }

    /// Null where it would lie behind the end of any file.
    pub fn end(self: Entry) ?u64 {
        const data = std.math.add(u64, self.header, self.headerSize()) catch return null;
        return std.math.add(u64, data, self.stored) catch null;
    }
};

pub const Archive = struct {
    file: os.files.Handle,
    /// The bundle's own path, for messages.
    path: []const u8,
    entries: []const Entry,
    /// The one in the file's comment, which stands for the whole file.
    digest: [64]u8,

    pub fn find(self: Archive, name: []const u8) ?Entry {
        for (self.entries) |entry| {
            if (std.mem.eql(u8, entry.name, name)) return entry;
        }
        return null;
    }

    pub fn damaged(self: Archive, part: []const u8, what: []const u8) say.Refusal {
        return refuseDamaged(self.path, part, what);
    }
};

const Failure = say.Refusal || error{OutOfMemory};

fn refuseDamaged(path: []const u8, part: []const u8, what: []const u8) say.Refusal {
    return say.refuse(say.bad_input, "{s} is damaged: {s} {s}; copy or download it again.", .{ path, part, what });
}

/// Reads and checks the directory; the manifest is checked with it, the members when they are read.
pub fn open(arena: std.mem.Allocator, self: os.self.Self) Failure!Archive {
    os.files.adviseRandom(self.handle);
    const whole = (os.files.fstat(self.handle) catch |err| return unreadable(self.path, err)).size;
    const size = certificates.archiveEnd(self.handle, whole) catch |err| return unreadable(self.path, err);
    var tail: [tail_size]u8 = undefined;
    const place = try findDirectory(self, size, &tail);
    const directory = try arena.alloc(u8, place.size);
    try readExactly(self, directory, place.offset);
    const archive: Archive = .{
        .file = self.handle,
        .path = self.path,
        .entries = try readDirectory(arena, self.path, directory, place),
        .digest = tail[tail_size - 64 ..].*,
    };
    try checkDigest(arena, archive, directory);
    return archive;
}

/// Whether the file ends as a bundle does.
pub fn hasEnd(self: os.self.Self) bool {
    var end: [end_size]u8 = undefined;
    const size = (os.files.fstat(self.handle) catch return false).size;
    if (size < end_size) return false;
    const n = os.files.readAt(self.handle, &end, size - end_size) catch return false;
    return n == end_size and u32At(&end, 0) == 0x06054b50 and std.mem.startsWith(u8, end[22..], comment_prefix);
}

fn unreadable(path: []const u8, err: os.files.Error) say.Refusal {
    return say.refuse(say.failure, "{s} cannot be read ({s}); check the disk that it is on.", .{ path, os.files.why(err) });
}

fn readExactly(self: os.self.Self, buffer: []u8, offset: u64) say.Refusal!void {
    const n = os.files.readAt(self.handle, buffer, offset) catch |err| return unreadable(self.path, err);
    if (n != buffer.len) return refuseDamaged(self.path, "its end", "is missing, the file was cut short");
}

const Place = struct { offset: u64, size: u64, count: u64 };

/// The three end records are the last bytes of the file and lie directly behind the directory.
fn findDirectory(self: os.self.Self, size: u64, tail: *[tail_size]u8) say.Refusal!Place {
    const cut = refuseDamaged(self.path, "its end records", "are missing or wrong, the file was cut short or changed");
    if (size < tail_size) return cut;
    try readExactly(self, tail, size - tail_size);
    const zip64 = tail[0..zip64_end_size];
    const locator = tail[zip64_end_size..][0..locator_size];
    const end = tail[zip64_end_size + locator_size ..][0..end_size];
    if (u32At(end, 0) != 0x06054b50 or u32At(end, 4) != 0 or u16At(end, 20) != comment_size) return cut;
    if (!std.mem.startsWith(u8, end[22..], comment_prefix)) return cut;
    if (u32At(locator, 0) != 0x07064b50 or u32At(locator, 4) != 0 or u32At(locator, 16) != 1) return cut;
    if (u64At(locator, 8) != size - tail_size) return cut;
    if (u32At(zip64, 0) != 0x06064b50 or u64At(zip64, 4) != zip64_end_size - 12) return cut;
    if (u32At(zip64, 16) != 0 or u32At(zip64, 20) != 0) return cut;
    const place: Place = .{ .count = u64At(zip64, 32), .size = u64At(zip64, 40), .offset = u64At(zip64, 48) };
    if (u64At(zip64, 24) != place.count or place.size > directory_limit) return cut;
    if (place.size > size - tail_size or place.offset != size - tail_size - place.size) return cut;
    // The short fields say the same as the long ones, as far as they can.
    if (u16At(end, 8) != @min(place.count, 0xffff) or u16At(end, 10) != @min(place.count, 0xffff)) return cut;
    if (u32At(end, 12) != @min(place.size, saturated) or u32At(end, 16) != @min(place.offset, saturated)) return cut;
    return place;
}

fn readDirectory(arena: std.mem.Allocator, path: []const u8, bytes: []const u8, place: Place) Failure![]Entry {
    const wrong = refuseDamaged(path, "its central directory", "does not add up");
    if (place.count == 0 or place.count > bytes.len / 46) return wrong;
    const entries = try arena.alloc(Entry, place.count);
    var rest = bytes;
    for (entries) |*entry| entry.* = takeEntry(&rest) orelse return wrong;
    if (rest.len != 0) return wrong;
    for (entries, 0..) |entry, i| {
        const next = if (i + 1 < entries.len) entries[i + 1].header else place.offset;
        if (entry.end() != next) return wrong;
    }
    return entries;
}

/// One record off the front of the directory; null where a field is not what solofile writes.
fn takeEntry(rest: *[]const u8) ?Entry {
    const bytes = rest.*;
    if (bytes.len < 46 or u32At(bytes, 0) != 0x02014b50) return null;
    const name_size: usize = u16At(bytes, 28);
    const extra_size: usize = u16At(bytes, 30);
    const total = 46 + name_size + extra_size;
    if (bytes.len < total or name_size == 0) return null;
    if (u16At(bytes, 8) != 0x800 or u16At(bytes, 32) != 0 or u16At(bytes, 34) != 0) return null;
    const method = u16At(bytes, 10);
    if (method != 0 and method != 8) return null;
    var entry: Entry = .{
        .name = bytes[46..][0..name_size],
        .deflated = method == 8,
        .crc = u32At(bytes, 16),
        .stored = u32At(bytes, 20),
        .size = u32At(bytes, 24),
        .mode = u32At(bytes, 38) >> 16,
        .header = u32At(bytes, 42),
    };
    widen(bytes[46 + name_size ..][0..extra_size], &.{ &entry.size, &entry.stored, &entry.header }) orelse return null;
    if (method == 0 and entry.size != entry.stored) return null;
    rest.* = bytes[total..];
    return entry;
}

/// Replaces the saturated ones of `fields` by their 64-bit values from the ZIP64 extra field; null where it lacks them.
pub fn widen(extra: []const u8, fields: []const *u64) ?void {
    var rest = extra;
    var long: []const u8 = "";
    while (rest.len > 0) {
        if (rest.len < 4 or rest.len - 4 < u16At(rest, 2)) return null;
        const size: usize = u16At(rest, 2);
        if (u16At(rest, 0) == 1) long = rest[4..][0..size];
        rest = rest[4 + size ..];
    }
    for (fields) |field| {
        if (field.* != saturated) continue;
        if (long.len < 8) return null;
        field.* = u64At(long, 0);
        long = long[8..];
    }
}

/// The comment holds the SHA-256 of the manifest followed by the directory.
fn checkDigest(arena: std.mem.Allocator, archive: Archive, directory: []const u8) Failure!void {
    const entry = archive.entries[archive.entries.len - 1];
    if (!std.mem.eql(u8, entry.name, "solofile.json") or entry.size > manifest_limit) {
        return archive.damaged("its central directory", "does not end with solofile.json");
    }
    const manifest = try member.readAll(arena, archive, entry);
    var hash: sha256.Sha256 = .init();
    hash.update(manifest);
    hash.update(directory);
    const found = std.fmt.bytesToHex(hash.final(), .lower);
    if (!std.mem.eql(u8, &found, &archive.digest)) {
        return archive.damaged("its solofile.json or its central directory", "is not what was written");
    }
}

pub fn u16At(bytes: []const u8, at: usize) u16 {
    return std.mem.readInt(u16, bytes[at..][0..2], .little);
}

pub fn u32At(bytes: []const u8, at: usize) u32 {
    return std.mem.readInt(u32, bytes[at..][0..4], .little);
}

pub fn u64At(bytes: []const u8, at: usize) u64 {
    return std.mem.readInt(u64, bytes[at..][0..8], .little);
}
