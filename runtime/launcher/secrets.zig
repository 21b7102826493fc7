//! Keys that stand on the command line, where every user of the machine can read them in the list of processes. The launcher
//! writes stars over its own words, and the runtime gets the keys in its environment, which its own user alone can read.

const std = @import("std");
const signature = @import("signature.zig");
const Allocator = std.mem.Allocator;

const option = "--api-key";
const star = "*";

pub const variable = "SOLOFILE_GIVEN_KEYS";

/// Between two values in the variable; no key holds a control character.
pub const separator = "\x1f";

pub const Taken = struct {
    /// The command line with a star in the place of each value.
    arguments: []const [*:0]const u8,
    /// The values in their order; null where there are none.
    keys: ?[]const u8,
};

/// Takes the values of `--api-key VALUE` and `--api-key=VALUE` away.
pub fn take(arena: Allocator, arguments: []const [*:0]const u8) error{OutOfMemory}!Taken {
    const result = try arena.dupe([*:0]const u8, arguments);
    var keys: std.ArrayList(u8) = .empty;
    var found = false;
    var i: usize = 1;
    while (i < arguments.len) : (i += 1) {
        const word = std.mem.span(arguments[i]);
        const rest = signature.afterOption(word, option) orelse continue;
        const value = if (rest.len > 0) rest[1..] else if (i + 1 < arguments.len) std.mem.span(arguments[i + 1]) else continue;
        if (found) try keys.appendSlice(arena, separator);
        try keys.appendSlice(arena, value);
        found = true;
        if (rest.len > 0) {
            result[i] = option ++ "=" ++ star;
        } else {
            i += 1;
            result[i] = star;
        }
        @memset(@constCast(value), star[0]);
    }
    return .{ .arguments = result, .keys = if (found) keys.items else null };
}
