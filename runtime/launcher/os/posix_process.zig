//! Processes, signals and clocks as all Unix systems have them.

const std = @import("std");
const builtin = @import("builtin");
const posix = std.posix;

/// The ending of a program's file name.
pub const program_suffix = "";

/// The words of the command line.
pub fn arguments(_: std.mem.Allocator, init: std.process.Init.Minimal) error{OutOfMemory}![]const [*:0]const u8 {
    return init.args.vector;
}

pub fn environment(_: std.mem.Allocator, init: std.process.Init.Minimal) error{OutOfMemory}![]const ?[*:0]const u8 {
    return init.environ.block.slice;
}

pub const Signal = posix.SIG;

pub const Event = union(enum) { exited: u8, killed: Signal, asked_to_stop, other };

pub fn isCrash(signal: Signal) bool {
    return switch (signal) {
        .ILL, .SEGV, .BUS, .ABRT, .FPE => true,
        .TRAP => builtin.os.tag == .macos, // what a failed check of the compiler's raises there
        else => false,
    };
}

pub fn isKill(signal: Signal) bool {
    return signal == .KILL;
}

/// The signal's usual name, for example "SIGSEGV".
pub fn signalName(signal: Signal) []const u8 {
    return switch (signal) {
        .ILL => "SIGILL",
        .SEGV => "SIGSEGV",
        .BUS => "SIGBUS",
        .ABRT => "SIGABRT",
        .FPE => "SIGFPE",
        .TRAP => "SIGTRAP",
        .KILL => "SIGKILL",
        else => "a signal",
    };
}

pub fn exitCodeOf(signal: Signal) u8 {
    return @intCast(128 + (@intFromEnum(signal) & 0x7f));
}

/// Seconds since 1970, UTC.
pub fn wallClock() u64 {
    return @intCast(clock(.REALTIME).sec);
}

/// Milliseconds of a clock that only goes forward.
pub fn ticks() u64 {
    const now = clock(.MONOTONIC);
    return @as(u64, @intCast(now.sec)) * 1000 + @as(u64, @intCast(now.nsec)) / 1_000_000;
}

fn clock(id: posix.clockid_t) posix.timespec {
    var now: posix.timespec = .{ .sec = 0, .nsec = 0 };
    _ = posix.system.clock_gettime(id, &now);
    return now;
}

pub fn sleep(milliseconds: u32) void {
    const time: posix.timespec = .{ .sec = milliseconds / 1000, .nsec = @as(isize, milliseconds % 1000) * 1_000_000 };
    _ = posix.system.nanosleep(&time, null);
}
