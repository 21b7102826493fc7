//! Processes on Windows. The runtime is in a job of the launcher's, which the system ends when the launcher ends, however it does.
//! It shares the console, so Ctrl-C reaches it without help; here a handler only takes note.

const std = @import("std");
const api = @import("windows_api.zig");
const files = @import("windows_files.zig");
const command_line = @import("windows_command.zig");
const Allocator = std.mem.Allocator;

pub const Process = u32;

/// The exit code of a process that the system ended.
pub const Signal = u32;

pub const arguments = command_line.arguments;
pub const environment = command_line.environment;

/// The ending of a program's file name.
pub const program_suffix = ".exe";

var stop_event: ?api.Handle = null;
var stop_flag: std.atomic.Value(bool) = .init(false);
var child_handle: ?api.Handle = null;

/// First call of the program: from here on Ctrl-C is taken note of and does not end the launcher.
pub fn takeSignals() void {
    stop_event = api.CreateEventW(null, 0, 0, null);
    _ = api.SetConsoleCtrlHandler(onControl, 1);
    // No window of the system's about a crash or a missing disk may wait for an answer; the runtime inherits this.
    const no_critical_box = 1;
    const no_crash_box = 2;
    const no_open_box = 0x8000;
    _ = api.SetErrorMode(no_critical_box | no_crash_box | no_open_box);
}

const ctrl_close = 2;

/// What the system grants a program whose window was closed, less a margin.
const closing_ms = 4500;

/// Runs on a thread of the system's. After a closed window or a log-off it ends this process as soon as we return.
fn onControl(kind: u32) callconv(.winapi) i32 {
    stop_flag.store(true, .seq_cst);
    if (stop_event) |event| _ = api.SetEvent(event);
    if (kind >= ctrl_close) {
        if (child_handle) |child| _ = api.WaitForSingleObject(child, closing_ms);
    }
    return 1;
}

/// Whether somebody has asked the launcher to end.
pub fn stopRequested() bool {
    return stop_flag.load(.seq_cst);
}

/// End as a program without any of this would.
pub fn obeyStop() void {
    api.ExitProcess(ended_by_control);
}

pub const StartError = files.Error || error{ ExecDenied, ExecNotFound, OutOfMemory };

/// Starts `path` in a job that ends it when the launcher ends. Programs that it starts on purpose to outlive it (a browser) may
/// leave the job.
pub fn start(
    arena: Allocator,
    path: [:0]const u8,
    argv: [*:null]const ?[*:0]const u8,
    envp: [*:null]const ?[*:0]const u8,
) StartError!Process {
    const words = try command_line.join(arena, std.mem.span(argv));
    const block = try command_line.block(arena, std.mem.span(envp));
    const made = for (try command_line.programPaths(arena, path)) |name| {
        if (create(name, words, block)) |made| break made;
    } else return switch (files.failure()) {
        error.AccessDenied => error.ExecDenied,
        else => |err| err,
    };
    const job = makeJob() catch |err| return giveUp(made, err);
    if (api.AssignProcessToJobObject(job, made.process) == 0) return giveUp(made, files.failure());
    child_handle = made.process;
    _ = api.ResumeThread(made.thread);
    _ = api.CloseHandle(made.thread);
    return made.pid;
}

fn create(name: api.Wide, words: [*:0]u16, block: []const u16) ?api.ProcessInfo {
    var startup: api.StartupInfo = .{};
    var made: api.ProcessInfo = undefined;
    const suspended_with_unicode = 0x4 | 0x400;
    const done = api.CreateProcessW(name, words, null, null, 1, suspended_with_unicode, block.ptr, null, &startup, &made);
    return if (done != 0) made else null;
}

fn giveUp(made: api.ProcessInfo, err: files.Error) files.Error {
    _ = api.TerminateProcess(made.process, 1);
    return err;
}

/// Its handle stays open until the launcher ends: that is what ends the job.
fn makeJob() files.Error!api.Handle {
    const job = api.CreateJobObjectW(null, null) orelse return files.failure();
    const breakaway_allowed = 0x800;
    const ends_with_handle = 0x2000;
    const limits: api.JobLimits = .{ .flags = ends_with_handle | breakaway_allowed };
    const extended = 9;
    if (api.SetInformationJobObject(job, extended, &limits, @sizeOf(api.JobLimits)) == 0) return files.failure();
    return job;
}

pub const Event = union(enum) { exited: u8, killed: Signal, asked_to_stop, other };

const forever = 0xffff_ffff;

/// Waits for what happens next to the launcher or its child.
pub fn nextEvent(_: Process) Event {
    const child = child_handle.?;
    const both = [_]api.Handle{ child, stop_event orelse child };
    const count: u32 = if (stop_event != null) 2 else 1;
    if (api.WaitForMultipleObjects(count, &both, 0, forever) == 1) return .asked_to_stop;
    var code: u32 = 1;
    _ = api.GetExitCodeProcess(child, &code);
    child_handle = null;
    _ = api.CloseHandle(child);
    return if (code > 0xff or code == aborted) .{ .killed = code } else .{ .exited = @intCast(code) };
}

/// How the C library's abort() ends a process where there is no fast fail; nothing else here does.
const aborted = 3;
const ended_by_control = 0xc000_013a;

/// The exit codes of crashes, and the names by which they are known everywhere.
const crashes = [_]struct { code: u32, name: []const u8 }{
    .{ .code = 0xc000_0005, .name = "SIGSEGV" }, // access violation
    .{ .code = 0xc000_00fd, .name = "SIGSEGV" }, // stack overflow
    .{ .code = 0xc000_0374, .name = "SIGABRT" }, // heap corruption
    .{ .code = 0xc000_0409, .name = "SIGABRT" }, // fast fail
    .{ .code = aborted, .name = "SIGABRT" },
    .{ .code = 0xc000_001d, .name = "SIGILL" }, // illegal instruction
    .{ .code = 0xc000_0096, .name = "SIGILL" }, // privileged instruction
    .{ .code = 0xc000_0006, .name = "SIGBUS" }, // a mapped file could not be read
    .{ .code = 0x8000_0002, .name = "SIGBUS" }, // misaligned
    .{ .code = 0xc000_0094, .name = "SIGFPE" }, // division by zero
    .{ .code = 0xc000_008e, .name = "SIGFPE" },
};

pub fn isCrash(signal: Signal) bool {
    return !std.mem.eql(u8, signalName(signal), "a signal");
}

/// Windows does not tell who ended a process.
pub fn isKill(_: Signal) bool {
    return false;
}

pub fn signalName(signal: Signal) []const u8 {
    for (crashes) |crash| if (crash.code == signal) return crash.name;
    return "a signal";
}

pub fn exitCodeOf(signal: Signal) u8 {
    return if (signal == ended_by_control) 130 else 1;
}

const input: u32 = @bitCast(@as(i32, -10));

pub const Terminal = ?u32;

/// The console's settings before the child changes them; null where standard input is none.
pub fn terminal() Terminal {
    var mode: u32 = 0;
    const console = api.GetStdHandle(input) orelse return null;
    return if (api.GetConsoleMode(console, &mode) != 0) mode else null;
}

/// After a crash: echo and line editing as they were.
pub fn restoreTerminal(before: Terminal) void {
    const console = api.GetStdHandle(input) orelse return;
    if (before) |mode| _ = api.SetConsoleMode(console, mode);
}

/// A window that was opened for us alone goes with us, and with it what we said: wait until it was read.
pub fn holdWindow() void {
    var processes: [2]u32 = undefined;
    if (terminal() == null or !files.errorsAreSeen()) return;
    if (api.GetConsoleProcessList(&processes, processes.len) != 1 or stopRequested()) return;
    files.say("solofile: press Enter to close this window.\n");
    var byte: [64]u8 = undefined;
    var n: u32 = 0;
    _ = api.ReadFile(api.GetStdHandle(input).?, &byte, byte.len, &n, null);
}

pub fn isAlive(process: Process) bool {
    const synchronize = 0x10_0000;
    const handle = api.OpenProcess(synchronize, 0, process) orelse return api.GetLastError() == 5;
    defer _ = api.CloseHandle(handle);
    return api.WaitForSingleObject(handle, 0) != 0;
}

pub fn ownProcess() Process {
    return api.GetCurrentProcessId();
}

/// Files have owners of another kind here (windows_trust.zig).
pub fn user() u32 {
    return 0;
}

/// Seconds since 1970, UTC.
pub fn wallClock() u64 {
    var now: api.Time = 0;
    api.GetSystemTimeAsFileTime(&now);
    return now / 10_000_000 - 11_644_473_600;
}

/// Milliseconds of a clock that only goes forward.
pub fn ticks() u64 {
    return api.GetTickCount64();
}

pub fn sleep(milliseconds: u32) void {
    api.Sleep(milliseconds);
}

pub fn exit(code: u8) noreturn {
    api.ExitProcess(code);
}
