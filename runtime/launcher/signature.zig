//! `--require-signature KEY`: the bundle starts only if the file `<bundle>.minisig` beside it says, signed with KEY, that this is the
//! one. What is signed there is the digest of the manifest and the directory (FORMAT.md), so no weights are read. `--public-key KEY`,
//! which goes with `--verify`, says so too. The cryptography is that of Zig's standard library.

const std = @import("std");
const os = @import("os.zig");
const say = @import("say.zig");
const archives = @import("archive.zig");
const Ed25519 = std.crypto.sign.Ed25519;

const Failure = say.Refusal || error{OutOfMemory};

const required = "--require-signature";
const public_key = "--public-key";
const trusted = "trusted comment: ";
const token = "solofile:";
const limit = 16 << 10;

/// Looks for the two options, and checks the signature for every one that is there.
pub fn check(arena: std.mem.Allocator, archive: archives.Archive, arguments: []const [*:0]const u8) Failure!void {
    for (arguments, 0..) |argument, i| {
        if (i == 0) continue;
        for ([_][]const u8{ required, public_key }) |option| {
            const rest = afterOption(std.mem.span(argument), option) orelse continue;
            const key = if (rest.len > 0) rest[1..] else if (i + 1 < arguments.len) std.mem.span(arguments[i + 1]) else "";
            const comment = try proven(arena, archive, option, key);
            if (option.ptr == public_key.ptr) say.line("signed with the given key: {s}.", .{comment});
        }
    }
}

/// What follows `option` in `word`: nothing, or `=` with the value; null for another word. The runtime takes `_` for `-` too.
pub fn afterOption(word: []const u8, option: []const u8) ?[]const u8 {
    if (word.len < option.len) return null;
    for (word[0..option.len], option) |is, wanted| {
        if (is != wanted and !(is == '_' and wanted == '-')) return null;
    }
    const rest = word[option.len..];
    return if (rest.len == 0 or rest[0] == '=') rest else null;
}

/// The trusted comment, once it is proven to be signed with `key` and to mean this file.
fn proven(arena: std.mem.Allocator, archive: archives.Archive, option: []const u8, key: []const u8) Failure![]const u8 {
    const public = decoded(42, key) orelse return badKey(option);
    if (!std.mem.startsWith(u8, &public, "Ed")) return badKey(option);
    const path = try std.fmt.allocPrintSentinel(arena, "{s}.minisig", .{archive.path}, 0);
    var lines = std.mem.splitScalar(u8, try contents(arena, path, option), '\n');
    _ = lines.next();
    const first = decoded(74, line(&lines)) orelse return noSignature(path);
    const commented = line(&lines);
    const over_comment = decoded(64, line(&lines)) orelse return noSignature(path);
    if (!std.mem.startsWith(u8, commented, trusted) or !std.mem.startsWith(u8, &first, "ED")) return noSignature(path);
    const comment = commented[trusted.len..];
    const message = try std.mem.concat(arena, u8, &.{ first[10..], comment });
    const same_key = std.mem.eql(u8, first[2..10], public[2..10]);
    if (!same_key or !isSigned(message, over_comment, public[10..42].*)) {
        return say.refuse(say.bad_input, "{s} was not made with the key that was given; do not start this bundle.", .{path});
    }
    const digest = digestIn(comment) orelse return say.refuse(
        say.bad_input,
        "{s} does not hold the digest by which a start can check it; check it with `solofile verify --public-key`.",
        .{path},
    );
    if (!std.mem.eql(u8, digest, &archive.digest)) {
        return say.refuse(say.bad_input, "{s} is of another file than this one; do not start this bundle.", .{path});
    }
    std.mem.replaceScalar(u8, @constCast(comment), '\t', ' ');
    return comment;
}

fn isSigned(message: []const u8, signature: [64]u8, key: [32]u8) bool {
    const public = Ed25519.PublicKey.fromBytes(key) catch return false;
    Ed25519.Signature.fromBytes(signature).verify(message, public) catch return false;
    return true;
}

fn digestIn(comment: []const u8) ?[]const u8 {
    var words = std.mem.splitScalar(u8, comment, '\t');
    while (words.next()) |word| {
        if (std.mem.startsWith(u8, word, token)) return word[token.len..];
    }
    return null;
}

fn line(lines: *std.mem.SplitIterator(u8, .scalar)) []const u8 {
    return std.mem.trimEnd(u8, lines.next() orelse "", "\r");
}

/// Exactly `size` bytes out of Base64; null for anything else.
fn decoded(comptime size: usize, text: []const u8) ?[size]u8 {
    const decoder = std.base64.standard.Decoder;
    if ((decoder.calcSizeForSlice(text) catch return null) != size) return null;
    var bytes: [size]u8 = undefined;
    decoder.decode(&bytes, text) catch return null;
    return bytes;
}

fn contents(arena: std.mem.Allocator, path: [:0]const u8, option: []const u8) Failure![]const u8 {
    const file = os.files.openRead(path) catch |err| return unreadable(path, option, err);
    defer os.files.close(file) catch {};
    const buffer = try arena.alloc(u8, limit);
    const n = os.files.readAt(file, buffer, 0) catch |err| return unreadable(path, option, err);
    return buffer[0..n];
}

fn unreadable(path: []const u8, option: []const u8, err: os.files.Error) say.Refusal {
    const format = "The signature {s} cannot be read ({s}); put it there, or start without {s}.";
    return say.refuse(say.bad_input, format, .{ path, os.files.why(err), option });
}

fn badKey(option: []const u8) say.Refusal {
    return say.refuse(say.bad_input, "{s} needs a public key of minisign; give the second line of the .pub file.", .{option});
}

fn noSignature(path: []const u8) say.Refusal {
    return say.refuse(say.bad_input, "{s} is no signature of minisign; have the bundle signed again.", .{path});
}
