//! A Huffman code of RFC 1951: from the lengths of its words to a table that reads most symbols in one step.

pub const max_bits = 15;
const fast_bits = 10;

pub const Symbol = struct { value: u16, bits: u6 };

pub const Code = struct {
    /// For the next `fast_bits` bits of input: symbol << 4 | bits, or 0 where the word is longer or there is none.
    fast: [1 << fast_bits]u16,
    /// Words of each length, and the symbols in the order of their words: what the slow way goes by.
    counts: [max_bits + 1]u16,
    symbols: [288]u16,

    pub const Gaps = enum { refused, one_word };

    /// `lengths[symbol]` is the length of its word, 0 for none. Damaged where they are no code: words that begin alike, or words
    /// left over. A code of one word, or of none, leaves some over by nature: `gaps` says whether it may.
    pub fn build(self: *Code, lengths: []const u4, gaps: Gaps) error{Damaged}!void {
        self.counts = @splat(0);
        for (lengths) |length| self.counts[length] += 1;
        self.counts[0] = 0;
        var left: i32 = 1;
        var words: u32 = 0;
        for (self.counts[1..]) |count| {
            left = left * 2 - count;
            if (left < 0) return error.Damaged;
            words += count;
        }
        const allowed = gaps == .one_word and words == self.counts[1] and words <= 1;
        if (left > 0 and !allowed) return error.Damaged;
        self.sort(lengths);
        self.fill();
    }

    fn sort(self: *Code, lengths: []const u4) void {
        var next: [max_bits + 2]u16 = @splat(0);
        for (1..max_bits + 1) |bits| next[bits + 1] = next[bits] + self.counts[bits];
        for (lengths, 0..) |length, symbol| {
            if (length == 0) continue;
            self.symbols[next[length]] = @intCast(symbol);
            next[length] += 1;
        }
    }

    fn fill(self: *Code) void {
        self.fast = @splat(0);
        var word: u16 = 0;
        var index: usize = 0;
        for (1..fast_bits + 1) |bits| {
            for (0..self.counts[bits]) |_| {
                // Words come highest bit first, and the input lowest bit first.
                var at: usize = @bitReverse(word) >> @intCast(16 - bits);
                while (at < self.fast.len) : (at += @as(usize, 1) << @intCast(bits)) {
                    self.fast[at] = self.symbols[index] << 4 | @as(u16, @intCast(bits));
                }
                word += 1;
                index += 1;
            }
            word <<= 1;
        }
    }

    /// The symbol whose word the bits begin with; Damaged where there is none.
    pub inline fn read(self: *const Code, bits: u64) error{Damaged}!Symbol {
        const entry = self.fast[@as(usize, @truncate(bits)) & (self.fast.len - 1)];
        if (entry != 0) return .{ .value = entry >> 4, .bits = @intCast(entry & 15) };
        return self.readSlowly(bits);
    }

    noinline fn readSlowly(self: *const Code, bits: u64) error{Damaged}!Symbol {
        var word: u32 = 0;
        var first: u32 = 0;
        var index: u32 = 0;
        for (1..max_bits + 1) |length| {
            word |= @intCast(bits >> @intCast(length - 1) & 1);
            const count = self.counts[length];
            if (word < first + count) return .{ .value = self.symbols[index + word - first], .bits = @intCast(length) };
            index += count;
            first = (first + count) << 1;
            word <<= 1;
        }
        return error.Damaged;
    }
};
