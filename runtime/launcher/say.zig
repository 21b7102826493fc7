//! What the launcher says, always on standard error: one line, one sentence.

const std = @import("std");
const os = @import("os.zig");

/// A refusal is on its way up to `main`, which says the sentence kept here and exits with the code kept here.
pub const Refusal = error{Refused};

/// Exit codes: what the user gave cannot be used; a failure of ours or of the machine.
pub const bad_input: u8 = 2;
pub const failure: u8 = 1;

var sentence_buffer: [12 << 10]u8 = undefined;
var sentence: []const u8 = "";
var exit_code: u8 = failure;

/// Keeps the sentence and the exit code for `main`.
pub fn refuse(code: u8, comptime format: []const u8, arguments: anytype) Refusal {
    var writer: std.Io.Writer = .fixed(&sentence_buffer);
    writer.print(format, arguments) catch {}; // too long: what fits is said
    sentence = writer.buffered();
    exit_code = code;
    return error.Refused;
}

/// Says the kept sentence; returns the exit code.
pub fn refusal() u8 {
    line("{s}", .{sentence});
    return exit_code;
}

pub fn line(comptime format: []const u8, arguments: anytype) void {
    var buffer: [16 << 10]u8 = undefined;
    var writer: std.Io.Writer = .fixed(buffer[0 .. buffer.len - 1]);
    writer.print("solofile: " ++ format, arguments) catch {};
    const end = writer.buffered().len;
    buffer[end] = '\n';
    os.files.say(buffer[0 .. end + 1]);
}
