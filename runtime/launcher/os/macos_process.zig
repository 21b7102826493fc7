//! Processes and signals on macOS. As on Linux the launcher blocks the signals it cares for from its first line on and takes them
//! one by one with `nextEvent`. This system does not tell where a signal is from, nor ends a child with its parent: of that the
//! runtime takes care (parent.py).

const std = @import("std");
const c = std.c;
const failures = @import("posix_failure.zig");
const files = @import("macos_files.zig");
const check = files.check;

pub const Process = c.pid_t;

const shared = @import("posix_process.zig");
pub const program_suffix = shared.program_suffix;
pub const arguments = shared.arguments;
pub const environment = shared.environment;
pub const Signal = shared.Signal;
pub const Event = shared.Event;
pub const isCrash = shared.isCrash;
pub const isKill = shared.isKill;
pub const signalName = shared.signalName;
pub const exitCodeOf = shared.exitCodeOf;
pub const wallClock = shared.wallClock;
pub const ticks = shared.ticks;
pub const sleep = shared.sleep;

const taken = [_]Signal{ .INT, .QUIT, .TERM, .HUP, .USR1, .USR2, .CHLD, .PIPE };

extern "c" fn sigpending(set: *c.sigset_t) c_int;
extern "c" fn tcgetpgrp(fd: c.fd_t) c.pid_t;
extern "c" fn getpgrp() c.pid_t;
extern "c" fn fork() c.pid_t;

var inherited_mask: c.sigset_t = undefined;
var inherited_chld: c.Sigaction = undefined;
var taken_set: c.sigset_t = 0;
var stop_set: c.sigset_t = 0;

fn bit(signal: Signal) c.sigset_t {
    return @as(c.sigset_t, 1) << @intCast(@intFromEnum(signal) - 1);
}

fn ignoreNothing(_: Signal) callconv(.c) void {}

/// First call of the program: from here on signals wait until they are asked for.
pub fn takeSignals() void {
    for (taken) |signal| taken_set |= bit(signal);
    _ = c.sigprocmask(Signal.BLOCK, &taken_set, &inherited_mask);
    for ([_]Signal{ .INT, .QUIT, .TERM, .HUP }) |signal| {
        var action: c.Sigaction = undefined;
        _ = c.sigaction(signal, null, &action);
        if (action.handler.handler != Signal.IGN) stop_set |= bit(signal);
    }
    // A signal that would be ignored is thrown away even where it is blocked; so this one gets a handler, which never runs.
    const handled: c.Sigaction = .{ .handler = .{ .handler = ignoreNothing }, .mask = 0, .flags = 0 };
    _ = c.sigaction(.CHLD, &handled, &inherited_chld);
}

/// Whether somebody has asked the launcher to end (Ctrl-C, SIGTERM, SIGHUP) and the request still waits.
pub fn stopRequested() bool {
    var pending: c.sigset_t = 0;
    return sigpending(&pending) == 0 and pending & stop_set != 0;
}

/// Die of the waiting signal, as a program without any of this would.
pub fn obeyStop() void {
    _ = c.sigprocmask(Signal.SETMASK, &inherited_mask, null);
}

pub const StartError = files.Error || error{ ExecDenied, ExecNotFound, OutOfMemory };

/// Starts `path` as a child in the same process group.
pub fn start(
    _: std.mem.Allocator,
    path: [*:0]const u8,
    argv: [*:null]const ?[*:0]const u8,
    envp: [*:null]const ?[*:0]const u8,
) StartError!Process {
    var pipe: [2]c.fd_t = undefined;
    _ = try check(c.pipe(&pipe));
    for (pipe) |end| _ = c.fcntl(end, c.F.SETFD, @as(c_int, c.FD_CLOEXEC));
    const child: Process = @intCast(try check(fork()));
    if (child == 0) becomeChild(path, argv, envp, pipe[1]);
    _ = c.close(pipe[1]);
    defer _ = c.close(pipe[0]);
    return if (try execFailure(pipe[0], child)) |failure| failure else child;
}

fn becomeChild(
    path: [*:0]const u8,
    argv: [*:null]const ?[*:0]const u8,
    envp: [*:null]const ?[*:0]const u8,
    report: c.fd_t,
) noreturn {
    _ = c.sigaction(.CHLD, &inherited_chld, null);
    _ = c.sigprocmask(Signal.SETMASK, &inherited_mask, null);
    _ = c.execve(path, argv, envp);
    const code: u16 = @intCast(c._errno().*);
    _ = c.write(report, @ptrCast(&code), @sizeOf(u16));
    c._exit(127);
}

/// The pipe is closed by a successful exec, and carries the error number of a failed one.
fn execFailure(pipe: c.fd_t, child: Process) StartError!?StartError {
    var code: u16 = 0;
    while (true) {
        const n = check(c.read(pipe, @ptrCast(&code), @sizeOf(u16))) catch |err| switch (err) {
            error.Interrupted => continue,
            else => return err,
        };
        if (n != @sizeOf(u16)) return null;
        break;
    }
    var status: c_int = 0;
    _ = c.waitpid(child, &status, 0);
    return switch (failures.failure(@enumFromInt(code))) {
        error.AccessDenied => error.ExecDenied,
        else => |err| err,
    };
}

/// Waits for what happens next to the launcher or its child. Signals from other processes are handed on to the child here;
/// Ctrl-C and Ctrl-\ are not: the terminal gives them to the whole foreground group, the child included.
pub fn nextEvent(child: Process) Event {
    var number: c_int = 0;
    if (c.sigwait(&taken_set, &number) != 0) return .other;
    const signal: Signal = @enumFromInt(number);
    switch (signal) {
        .CHLD => return ended(child),
        .PIPE => return .other,
        .INT, .QUIT => if (!isInForeground()) {
            _ = c.kill(child, signal);
        },
        else => _ = c.kill(child, signal),
    }
    return if (stop_set & bit(signal) != 0) .asked_to_stop else .other;
}

/// Whether a terminal gives its signals to this process.
fn isInForeground() bool {
    const terminal_file = files.openRead("/dev/tty") catch return false;
    defer files.close(terminal_file) catch {};
    return tcgetpgrp(terminal_file) == getpgrp();
}

/// Collects every child that has ended.
fn ended(child: Process) Event {
    var event: Event = .other;
    while (true) {
        var status: c_int = 0;
        const pid = c.waitpid(-1, &status, c.W.NOHANG);
        if (pid <= 0) return event;
        if (pid != child) continue;
        const word: u32 = @bitCast(status);
        event = if (c.W.IFEXITED(word))
            .{ .exited = @intCast(c.W.EXITSTATUS(word)) }
        else
            .{ .killed = @enumFromInt(word & 0x7f) };
    }
}

pub const Terminal = ?c.termios;

/// The terminal's settings before the child changes them; null where standard input is none.
pub fn terminal() Terminal {
    var settings: c.termios = undefined;
    return if (c.tcgetattr(0, &settings) == 0) settings else null;
}

/// After a crash: echo and line editing as they were. Not from the background, where asking would stop the launcher.
pub fn restoreTerminal(before: Terminal) void {
    if (tcgetpgrp(0) != getpgrp()) return;
    if (before) |settings| _ = c.tcsetattr(0, .NOW, &settings);
}

/// Terminal keeps its window when a program ends.
pub fn holdWindow() void {}

pub fn isAlive(process: Process) bool {
    return c.kill(process, @enumFromInt(0)) == 0 or c._errno().* != @intFromEnum(c.E.SRCH);
}

pub fn ownProcess() Process {
    return c.getpid();
}

/// The user whose rights count (effective).
pub fn user() u32 {
    return c.geteuid();
}

pub fn exit(code: u8) noreturn {
    c._exit(code);
}
