//! The note that a crash leaves in the cache: what ran, without anything that the user typed as a value.

const std = @import("std");
const os = @import("os.zig");
const supervise = @import("supervise.zig");
const Allocator = std.mem.Allocator;

/// Writes `state/crash-<UTC time>.txt`. Returns words for a sentence that say where it is, or why it is not.
pub fn note(arena: Allocator, job: supervise.Job, signal: []const u8) error{OutOfMemory}![]const u8 {
    const time = try utc(arena, os.process.wallClock());
    var text: std.ArrayList(u8) = .empty;
    try text.print(arena, "time: {s}\nsignal: {s}\nbundle: {s}\noptions:", .{ time, signal, job.bundle });
    for (job.arguments[@min(1, job.arguments.len)..]) |argument| {
        if (optionName(std.mem.span(argument))) |name| try text.print(arena, " {s}", .{name});
    }
    try text.append(arena, '\n');
    const path = write(arena, job.cache, time, text.items) catch |err| return switch (err) {
        error.OutOfMemory => error.OutOfMemory,
        else => |known| try std.fmt.allocPrint(arena, ", not noted in {s} ({s})", .{ job.cache, os.files.why(known) }),
    };
    return std.fmt.allocPrint(arena, ", noted in {s}", .{path});
}

fn write(arena: Allocator, cache: []const u8, time: []const u8, text: []const u8) (os.files.Error || error{OutOfMemory})![]const u8 {
    var number: u32 = 1;
    while (true) : (number += 1) {
        const suffix = if (number == 1) "" else try std.fmt.allocPrint(arena, "-{d}", .{number});
        const path = try std.fmt.allocPrintSentinel(arena, "{s}/state/crash-{s}{s}.txt", .{ cache, time, suffix }, 0);
        const handle = os.files.create(path) catch |err| if (err == error.Exists and number < 100) continue else return err;
        defer os.files.close(handle) catch {};
        try os.files.writeAll(handle, text);
        return path;
    }
}

/// `--name` of `--name` or `--name=value`, `-n` likewise; null for anything that may be a value.
fn optionName(argument: []const u8) ?[]const u8 {
    const name = argument[0 .. std.mem.indexOfScalar(u8, argument, '=') orelse argument.len];
    if (name.len < 2 or name.len > 40 or name[0] != '-') return null;
    const word = std.mem.trimStart(u8, name, "-");
    if (word.len == 0 or name.len - word.len > 2 or !std.ascii.isAlphabetic(word[0])) return null;
    for (word) |byte| if (!std.ascii.isAlphanumeric(byte) and byte != '-') return null;
    return name;
}

/// For example 20250131T235959Z.
fn utc(arena: Allocator, seconds: u64) error{OutOfMemory}![]const u8 {
    const epoch: std.time.epoch.EpochSeconds = .{ .secs = seconds };
    const year = epoch.getEpochDay().calculateYearDay();
    const month = year.calculateMonthDay();
    const day = epoch.getDaySeconds();
    return std.fmt.allocPrint(arena, "{d:0>4}{d:0>2}{d:0>2}T{d:0>2}{d:0>2}{d:0>2}Z", .{
        year.year,
        month.month.numeric(),
        month.day_index + 1,
        day.getHoursIntoDay(),
        day.getMinutesIntoHour(),
        day.getSecondsIntoMinute(),
    });
}
