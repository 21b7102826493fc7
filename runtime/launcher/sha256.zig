//! SHA-256 that uses the processor's own instructions where it has them. Zig's library decides that when it is compiled; a bundle
//! runs on whatever it meets, so the decision is made at the first use.

const std = @import("std");
const builtin = @import("builtin");

pub const Digest = [32]u8;
const Words = @Vector(4, u32);

pub const Sha256 = struct {
    inner: std.crypto.hash.sha2.Sha256,

    pub fn init() Sha256 {
        return .{ .inner = .init(.{}) };
    }

    pub fn update(self: *Sha256, bytes: []const u8) void {
        if (builtin.cpu.arch != .x86_64 or !hasInstructions()) return self.inner.update(bytes);
        const pending: usize = self.inner.buf_len;
        const head = if (pending == 0) 0 else @min(64 - pending, bytes.len);
        self.inner.update(bytes[0..head]);
        const whole = if (self.inner.buf_len == 0) (bytes.len - head) / 64 * 64 else 0;
        compress(&self.inner.s, bytes[head..][0..whole]);
        self.inner.total_len += whole;
        self.inner.update(bytes[head + whole ..]);
    }

    pub fn final(self: *Sha256) Digest {
        var digest: Digest = undefined;
        self.inner.final(&digest);
        return digest;
    }
};

pub fn digestOf(bytes: []const u8) Digest {
    var hash: Sha256 = .init();
    hash.update(bytes);
    return hash.final();
}

var instructions: ?bool = null;

fn hasInstructions() bool {
    if (instructions == null) instructions = cpuid(0).eax >= 7 and cpuid(7).ebx & (1 << 29) != 0;
    return instructions.?;
}

const Leaf = struct { eax: u32, ebx: u32 };

fn cpuid(leaf: u32) Leaf {
    var eax: u32 = undefined;
    var ebx: u32 = undefined;
    asm volatile ("cpuid"
        : [eax] "={eax}" (eax),
          [ebx] "={ebx}" (ebx),
        : [leaf] "{eax}" (leaf),
          [subleaf] "{ecx}" (@as(u32, 0)),
        : .{ .ecx = true, .edx = true });
    return .{ .eax = eax, .ebx = ebx };
}

/// The round constants of FIPS 180-4: the fractional parts of the cube roots of the first 64 primes, found with whole numbers.
const constants: [16]Words = blk: {
    @setEvalBranchQuota(200_000);
    var result: [16]Words = undefined;
    var prime: u128 = 2;
    var found: usize = 0;
    while (found < 64) : (prime += 1) {
        var divisor: u128 = 2;
        while (divisor * divisor <= prime and prime % divisor != 0) divisor += 1;
        if (divisor * divisor <= prime) continue;
        var root: u128 = 0; // floor(cbrt(prime) * 2^32)
        var bit: u128 = 1 << 34;
        while (bit > 0) : (bit >>= 1) {
            const next = root | bit;
            if (next * next * next <= prime << 96) root = next;
        }
        result[found / 4][found % 4] = @truncate(root);
        found += 1;
    }
    break :blk result;
};

/// Whole blocks of 64 bytes. The instructions keep the state as (a b e f) and (c d g h), highest word first.
fn compress(state: *[8]u32, blocks: []const u8) void {
    var abef: Words = .{ state[5], state[4], state[1], state[0] };
    var cdgh: Words = .{ state[7], state[6], state[3], state[2] };
    var at: usize = 0;
    while (at < blocks.len) : (at += 64) {
        const before = .{ abef, cdgh };
        var message: [16]Words = undefined;
        inline for (0..16) |i| {
            message[i] = if (i < 4) load(blocks[at + 16 * i ..][0..16]) else schedule(message[i - 4 .. i]);
            const sum = message[i] +% constants[i];
            cdgh = twoRounds(cdgh, abef, sum);
            abef = twoRounds(abef, cdgh, @shuffle(u32, sum, sum, [4]i32{ 2, 3, 2, 3 }));
        }
        abef +%= before[0];
        cdgh +%= before[1];
    }
    state.* = .{ abef[3], abef[2], cdgh[3], cdgh[2], abef[1], abef[0], cdgh[1], cdgh[0] };
}

fn load(bytes: *const [16]u8) Words {
    var words: Words = undefined;
    inline for (0..4) |i| words[i] = std.mem.readInt(u32, bytes[4 * i ..][0..4], .big);
    return words;
}

/// The next four message words from the sixteen before them.
fn schedule(previous: *const [4]Words) Words {
    const partial = asm ("sha256msg1 %[source], %[result]"
        : [result] "=x" (-> Words),
        : [_] "0" (previous[0]),
          [source] "x" (previous[1]),
    );
    const shifted = @shuffle(u32, previous[2], previous[3], [4]i32{ 1, 2, 3, -1 });
    return asm ("sha256msg2 %[source], %[result]"
        : [result] "=x" (-> Words),
        : [_] "0" (partial +% shifted),
          [source] "x" (previous[3]),
    );
}

fn twoRounds(target: Words, other: Words, sum: Words) Words {
    return asm ("sha256rnds2 %[other], %[result]"
        : [result] "=x" (-> Words),
        : [_] "0" (target),
          [other] "x" (other),
          [sum] "{xmm0}" (sum),
    );
}
