//! DEFLATE (RFC 1951), strict: what a sound compressor does not write is damage, padding bits that are not zero included. Zig's own
//! inflate is not used because it stops the program on some damaged input in place of saying so.

const std = @import("std");
const Code = @import("huffman.zig").Code;

const history = 32 << 10;
const longest_match = 258;
/// Matches are copied in pieces of this size, over the end of the match.
const piece = 16;

// One stream is inflated at a time.
var buffer: [history + (128 << 10)]u8 = undefined;
var literals: Code = undefined;
var distances: Code = undefined;

/// Inflates all of `source`, which has `fn next() ![]const u8` (empty at its end), into `sink`, which has `fn take([]const u8) !void`.
pub fn inflate(source: anytype, sink: anytype) !void {
    var stream: Stream(@TypeOf(source), @TypeOf(sink)) = .{ .source = source, .sink = sink };
    try stream.run();
}

fn Stream(comptime Source: type, comptime Sink: type) type {
    return struct {
        source: Source,
        sink: Sink,
        /// Input that is not in `hold` yet.
        input: []const u8 = "",
        /// The next `count` bits, the first lowest; zeros above.
        hold: u64 = 0,
        count: u7 = 0,
        /// `buffer[0..flushed]` is with the sink, `buffer[flushed..end]` not yet.
        end: usize = 0,
        flushed: usize = 0,

        const Self = @This();

        fn run(self: *Self) !void {
            var last = false;
            while (!last) {
                last = try self.take(1) == 1;
                switch (try self.take(2)) {
                    0 => try self.stored(),
                    1 => {
                        try fixedCodes();
                        try self.compressed();
                    },
                    2 => {
                        try self.readCodes();
                        try self.compressed();
                    },
                    else => return error.Damaged,
                }
            }
            try self.toByte();
            if (self.count > 0 or self.input.len > 0 or (try self.source.next()).len > 0) return error.Damaged;
            try self.flush();
        }

        /// At least 56 bits in `hold`, or all that is left.
        fn refill(self: *Self) !void {
            if (self.input.len >= 8) {
                const bytes = (63 - self.count) >> 3;
                const word = std.mem.readInt(u64, self.input[0..8], .little);
                const wanted = word & (@as(u64, 1) << @intCast(bytes * 8)) - 1;
                self.hold |= wanted << @intCast(self.count);
                self.input = self.input[bytes..];
                self.count += bytes * 8;
                return;
            }
            while (self.count <= 56) {
                if (self.input.len == 0) self.input = try self.source.next();
                if (self.input.len == 0) return;
                self.hold |= @as(u64, self.input[0]) << @intCast(self.count);
                self.input = self.input[1..];
                self.count += 8;
            }
        }

        fn drop(self: *Self, bits: u6) error{Damaged}!void {
            if (bits > self.count) return error.Damaged;
            self.hold >>= bits;
            self.count -= bits;
        }

        /// A number of up to 16 bits.
        fn take(self: *Self, bits: u6) !u32 {
            if (self.count < bits) try self.refill();
            return self.taken(bits);
        }

        /// The same from what is in `hold`.
        fn taken(self: *Self, bits: u6) error{Damaged}!u32 {
            const value: u32 = @intCast(self.hold & ((@as(u64, 1) << bits) - 1));
            try self.drop(bits);
            return value;
        }

        fn symbol(self: *Self, code: *const Code) error{Damaged}!u16 {
            const found = try code.read(self.hold);
            try self.drop(found.bits);
            return found.value;
        }

        /// Skips to the next whole byte; the bits between are zero.
        fn toByte(self: *Self) !void {
            if (try self.take(@intCast(self.count & 7)) != 0) return error.Damaged;
        }

        fn stored(self: *Self) !void {
            try self.toByte();
            const size = try self.take(16);
            if (try self.take(16) != size ^ 0xffff) return error.Damaged;
            var left: usize = size;
            while (left > 0) {
                try self.makeRoom();
                if (self.count > 0) { // read ahead
                    buffer[self.end] = @intCast(try self.taken(8));
                    self.end += 1;
                    left -= 1;
                    continue;
                }
                if (self.input.len == 0) self.input = try self.source.next();
                if (self.input.len == 0) return error.Damaged;
                const n = @min(left, self.input.len, buffer.len - self.end);
                @memcpy(buffer[self.end..][0..n], self.input[0..n]);
                self.input = self.input[n..];
                self.end += n;
                left -= n;
            }
        }

        fn readCodes(self: *Self) !void {
            const literal_count = try self.take(5) + 257;
            const distance_count = try self.take(5) + 1;
            const length_count = try self.take(4) + 4;
            if (literal_count > 286 or distance_count > 30) return error.Damaged;
            var lengths: [19]u4 = @splat(0);
            for (length_order[0..length_count]) |place| lengths[place] = @intCast(try self.take(3));
            try literals.build(&lengths, .refused);
            var all: [286 + 30]u4 = @splat(0);
            const wanted = all[0 .. literal_count + distance_count];
            try self.readLengths(wanted);
            if (all[256] == 0) return error.Damaged; // the block could not end
            try literals.build(wanted[0..literal_count], .one_word);
            try distances.build(wanted[literal_count..], .one_word);
        }

        /// The lengths of both codes as one list, compressed by the code that is in `literals`.
        fn readLengths(self: *Self, lengths: []u4) !void {
            var at: usize = 0;
            while (at < lengths.len) {
                try self.refill();
                const word = try self.symbol(&literals);
                if (word < 16) {
                    lengths[at] = @intCast(word);
                    at += 1;
                    continue;
                }
                if (word == 16 and at == 0) return error.Damaged;
                const value = if (word == 16) lengths[at - 1] else 0;
                const repeats = switch (word) {
                    16 => try self.taken(2) + 3,
                    17 => try self.taken(3) + 3,
                    else => try self.taken(7) + 11,
                };
                if (repeats > lengths.len - at) return error.Damaged;
                @memset(lengths[at..][0..repeats], value);
                at += repeats;
            }
        }

        fn compressed(self: *Self) !void {
            while (true) {
                try self.makeRoom();
                if (self.count < 48) try self.refill(); // a match takes 48 bits at most
                const word = try self.symbol(&literals);
                if (word < 256) {
                    buffer[self.end] = @intCast(word);
                    self.end += 1;
                } else if (word == 256) {
                    return;
                } else {
                    if (word > 285) return error.Damaged;
                    const length = length_base[word - 257] + try self.taken(length_extra[word - 257]);
                    const place = try self.symbol(&distances);
                    if (place > 29) return error.Damaged;
                    try self.copy(distance_base[place] + try self.taken(distance_extra[place]), length);
                }
            }
        }

        fn copy(self: *Self, distance: usize, length: usize) error{Damaged}!void {
            if (distance > self.end) return error.Damaged;
            var to = self.end;
            self.end += length;
            if (distance >= piece) {
                while (to < self.end) : (to += piece) {
                    const bytes: @Vector(piece, u8) = buffer[to - distance ..][0..piece].*;
                    buffer[to..][0..piece].* = bytes;
                }
            } else {
                while (to < self.end) : (to += 1) buffer[to] = buffer[to - distance];
            }
        }

        /// Room for the longest match; the sink gets what is in the way, the history stays.
        fn makeRoom(self: *Self) !void {
            if (buffer.len - self.end >= longest_match + piece) return;
            try self.flush();
            @memmove(buffer[0..history], buffer[self.end - history .. self.end]);
            self.end = history;
            self.flushed = history;
        }

        fn flush(self: *Self) !void {
            if (self.end > self.flushed) try self.sink.take(buffer[self.flushed..self.end]);
            self.flushed = self.end;
        }
    };
}

fn fixedCodes() error{Damaged}!void {
    var lengths: [288]u4 = @splat(8);
    @memset(lengths[144..256], 9);
    @memset(lengths[256..280], 7);
    try literals.build(&lengths, .refused);
    try distances.build(&@as([32]u4, @splat(5)), .refused);
}

const length_order = [19]u8{ 16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15 };

/// Extra bits of each length symbol, and the shortest match that it stands for. The last one is 258 alone.
const length_extra: [29]u6 = blk: {
    var extra: [29]u6 = @splat(0);
    for (8..28) |i| extra[i] = i / 4 - 1;
    break :blk extra;
};
const length_base: [29]u32 = blk: {
    var base = accumulated(29, length_extra, 3);
    base[28] = 258;
    break :blk base;
};
const distance_extra: [30]u6 = blk: {
    var extra: [30]u6 = @splat(0);
    for (4..30) |i| extra[i] = i / 2 - 1;
    break :blk extra;
};
const distance_base: [30]u32 = accumulated(30, distance_extra, 1);

/// Each base is the one before it and all that its extra bits reach.
fn accumulated(comptime size: usize, comptime extra: [size]u6, comptime start: u32) [size]u32 {
    var base: [size]u32 = undefined;
    base[0] = start;
    for (1..size) |i| base[i] = base[i - 1] + (1 << extra[i - 1]);
    return base;
}
