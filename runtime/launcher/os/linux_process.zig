//! Processes and signals on Linux. The launcher blocks the signals it cares for from its first line on and takes them one by one
//! with `nextEvent`: no handler runs, so no signal can fall between two steps.

const std = @import("std");
const linux = std.os.linux;
const failures = @import("posix_failure.zig");
const files = @import("linux_files.zig");
const check = files.check;

pub const Process = linux.pid_t;

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

var inherited_mask: linux.sigset_t = undefined;
var inherited_chld: linux.Sigaction = undefined;
var taken_set: linux.sigset_t = undefined;
var stop_set: linux.sigset_t = undefined;

/// First call of the program: from here on signals wait until they are asked for.
pub fn takeSignals() void {
    taken_set = linux.sigemptyset();
    for (taken) |signal| linux.sigaddset(&taken_set, signal);
    _ = linux.sigprocmask(linux.SIG.BLOCK, &taken_set, &inherited_mask);
    stop_set = linux.sigemptyset();
    for ([_]Signal{ .INT, .QUIT, .TERM, .HUP }) |signal| {
        var action: linux.Sigaction = undefined;
        _ = linux.sigaction(signal, null, &action);
        if (action.handler.handler != linux.SIG.IGN) linux.sigaddset(&stop_set, signal);
    }
    // A parent may have left SIGCHLD ignored; then the kernel would throw the child's status away.
    const default: linux.Sigaction = .{ .handler = .{ .handler = linux.SIG.DFL }, .mask = linux.sigemptyset(), .flags = 0 };
    _ = linux.sigaction(.CHLD, &default, &inherited_chld);
}

/// Whether somebody has asked the launcher to end (Ctrl-C, SIGTERM, SIGHUP) and the request still waits.
pub fn stopRequested() bool {
    var pending = linux.sigemptyset();
    _ = linux.syscall2(.rt_sigpending, @intFromPtr(&pending), linux.NSIG / 8);
    for (pending, stop_set) |waiting, stops| {
        if (waiting & stops != 0) return true;
    }
    return false;
}

/// Die of the waiting signal, as a program without any of this would.
pub fn obeyStop() void {
    _ = linux.sigprocmask(linux.SIG.SETMASK, &inherited_mask, null);
}

pub const StartError = files.Error || error{ ExecDenied, ExecNotFound, OutOfMemory };

/// Starts `path` as a child in the same process group that is told to end (SIGTERM) when the launcher dies.
pub fn start(
    _: std.mem.Allocator,
    path: [*:0]const u8,
    argv: [*:null]const ?[*:0]const u8,
    envp: [*:null]const ?[*:0]const u8,
) StartError!Process {
    var pipe: [2]i32 = undefined;
    _ = try check(linux.pipe2(&pipe, .{ .CLOEXEC = true }));
    const parent = linux.getpid();
    const child: Process = @intCast(@as(isize, @bitCast(try check(linux.fork()))));
    if (child == 0) becomeChild(parent, path, argv, envp, pipe[1]);
    _ = linux.close(pipe[1]);
    defer _ = linux.close(pipe[0]);
    return if (try execFailure(pipe[0], child)) |failure| failure else child;
}

fn becomeChild(
    parent: Process,
    path: [*:0]const u8,
    argv: [*:null]const ?[*:0]const u8,
    envp: [*:null]const ?[*:0]const u8,
    report: i32,
) noreturn {
    _ = linux.prctl(@intFromEnum(linux.PR.SET_PDEATHSIG), @intFromEnum(Signal.TERM), 0, 0, 0);
    // The launcher may have died before the line above: nobody would tell.
    if (linux.getppid() != parent) linux.exit_group(1);
    _ = linux.sigaction(.CHLD, &inherited_chld, null);
    _ = linux.sigprocmask(linux.SIG.SETMASK, &inherited_mask, null);
    const code: u16 = @intFromEnum(linux.errno(linux.execve(path, argv, envp)));
    _ = linux.write(report, @ptrCast(&code), @sizeOf(u16));
    linux.exit_group(127);
}

/// The pipe is closed by a successful exec, and carries the error number of a failed one.
fn execFailure(pipe: i32, child: Process) StartError!?StartError {
    var code: u16 = 0;
    while (true) {
        const n = check(linux.read(pipe, @ptrCast(&code), @sizeOf(u16))) catch |err| switch (err) {
            error.Interrupted => continue,
            else => return err,
        };
        if (n != @sizeOf(u16)) return null;
        break;
    }
    var status: u32 = 0;
    _ = linux.waitpid(child, &status, 0);
    return switch (failures.failure(@enumFromInt(code))) {
        error.AccessDenied => error.ExecDenied,
        error.NotFound => error.ExecNotFound,
        else => |err| err,
    };
}

/// Waits for what happens next to the launcher or its child. Signals from other processes are handed on to the child here;
/// Ctrl-C and Ctrl-\ are not: the terminal gives them to the whole foreground group, the child included.
pub fn nextEvent(child: Process) Event {
    var info: linux.siginfo_t = undefined;
    const result = linux.syscall4(.rt_sigtimedwait, @intFromPtr(&taken_set), @intFromPtr(&info), 0, linux.NSIG / 8);
    if (linux.errno(result) != .SUCCESS) return .other;
    const signal: Signal = @enumFromInt(result);
    switch (signal) {
        .CHLD => return ended(child),
        .PIPE => return .other,
        .INT, .QUIT => if (info.code <= 0) { // SI_USER and its like: kill, not the terminal
            _ = linux.kill(child, signal);
        },
        else => _ = linux.kill(child, signal),
    }
    return if (linux.sigismember(&stop_set, signal)) .asked_to_stop else .other;
}

/// Collects every child that has ended (as process 1 of a container the launcher inherits strangers too).
fn ended(child: Process) Event {
    var event: Event = .other;
    while (true) {
        var status: u32 = 0;
        const pid: isize = @bitCast(linux.waitpid(-1, &status, linux.W.NOHANG));
        if (pid <= 0) return event;
        if (pid != child) continue;
        event = if (linux.W.IFEXITED(status))
            .{ .exited = linux.W.EXITSTATUS(status) }
        else
            .{ .killed = @enumFromInt(status & 0x7f) };
    }
}

pub const Terminal = ?linux.termios;

/// The terminal's settings before the child changes them; null where standard input is none.
pub fn terminal() Terminal {
    var settings: linux.termios = undefined;
    return if (linux.errno(linux.tcgetattr(0, &settings)) == .SUCCESS) settings else null;
}

/// After a crash: echo and line editing as they were. Not from the background, where asking would stop the launcher.
pub fn restoreTerminal(before: Terminal) void {
    var group: linux.pid_t = 0;
    if (linux.errno(linux.tcgetpgrp(0, &group)) != .SUCCESS or group != linux.getpgid(0)) return;
    if (before) |settings| _ = linux.tcsetattr(0, .NOW, &settings);
}

/// A terminal stays when a program ends.
pub fn holdWindow() void {}

pub fn isAlive(process: Process) bool {
    return linux.errno(linux.kill(process, @enumFromInt(0))) != .SRCH;
}

pub fn ownProcess() Process {
    return linux.getpid();
}

/// The user whose rights count (effective).
pub fn user() u32 {
    return linux.geteuid();
}

pub fn exit(code: u8) noreturn {
    linux.exit_group(code);
}
