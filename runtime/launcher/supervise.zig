//! The runtime as a child: started, watched to its end, and started once more when it crashes, within limits.

const std = @import("std");
const os = @import("os.zig");
const say = @import("say.zig");
const crash = @import("crash.zig");
const environment = @import("environment.zig");
const Allocator = std.mem.Allocator;

pub const program = "solofile-runtime" ++ os.process.program_suffix;

/// What the kernel starts for a program that is linked with glibc.
const loader = switch (@import("builtin").cpu.arch) {
    .aarch64 => "/lib/ld-linux-aarch64.so.1",
    else => "/lib64/ld-linux-x86-64.so.2",
};

pub const Job = struct {
    bundle: [:0]const u8,
    cache: []const u8,
    /// The unpacked pack.
    folder: []const u8,
    /// As the launcher got them, the program's name first and without secrets.
    arguments: []const [*:0]const u8,
    /// The keys that stood among them (secrets.zig).
    keys: ?[]const u8 = null,
    block: environment.Block,
};

const Failure = say.Refusal || error{OutOfMemory};

/// A crash this soon after somebody asked the runtime to end came on its way out: not worth a second start.
const way_out_ms = 10_000;

const End = struct {
    event: os.process.Event,
    asked: bool,
};

/// How often a crash is followed by another start: always by one more; by further ones where each start before has lived for a
/// while, so that a server which crashes once a week goes on for years, and one that crashes in a loop ends.
const Budget = struct {
    const steady_ms = 10_000;
    const window_ms = 60 * 60 * 1000;
    const most = 5;

    times: [most]u64 = @splat(0),
    count: usize = 0,

    fn allows(budget: *Budget, now: u64, lived: u64) bool {
        const oldest = &budget.times[budget.count % most];
        if (budget.count > 0 and lived < steady_ms) return false;
        if (budget.count >= most and now - oldest.* < window_ms) return false;
        oldest.* = now;
        budget.count += 1;
        return true;
    }
};

/// Runs the job to its end; returns the exit code of the launcher.
pub fn run(arena: Allocator, job: Job) Failure!u8 {
    const terminal = os.process.terminal();
    var budget: Budget = .{};
    var crashed: ?[]const u8 = null;
    while (true) {
        const begun = os.process.ticks();
        const end = try watch(arena, job, crashed);
        const signal = switch (end.event) {
            .killed => |signal| signal,
            else => return exitCode(end.event),
        };
        os.process.restoreTerminal(terminal);
        const now = os.process.ticks();
        const killed = os.process.isKill(signal) and isServer(job) and now - begun >= Budget.steady_ms;
        if (!os.process.isCrash(signal) and !killed) return exitCode(end.event);
        const name = os.process.signalName(signal);
        const note = try crash.note(arena, job, name);
        if (end.asked) return exitCode(end.event);
        const what = if (killed) "was killed" else "crashed";
        if (!budget.allows(now, now - begun)) return say.refuse(
            say.failure,
            "The runtime {s} again ({s}){s}; start it with --doctor to see what it runs on.",
            .{ what, name, note },
        );
        say.line("the runtime {s} ({s}){s}; it is started once more.", .{ what, name, note });
        // What a kernel short of memory kills, or a person, is no fault of what computes.
        if (!killed) crashed = name;
    }
}

/// A server that the system killed (for example because memory ran out) is missed; whoever ended a chat so meant it.
fn isServer(job: Job) bool {
    for (job.arguments) |argument| {
        if (std.mem.eql(u8, std.mem.span(argument), "--server")) return true;
    }
    return false;
}

fn watch(arena: Allocator, job: Job, crashed: ?[]const u8) Failure!End {
    const envp = try environment.forRuntime(arena, job.block, .{
        .bundle = job.bundle,
        .cache = job.cache,
        .launcher_pid = os.process.ownProcess(),
        .crash = crashed,
        .keys = job.keys,
    });
    const path = try std.fs.path.joinZ(arena, &.{ job.folder, program });
    const child = os.process.start(arena, path, try argumentsOf(arena, job), envp) catch |err| return notStarted(path, err);
    var asked_at: ?u64 = null;
    while (true) switch (os.process.nextEvent(child)) {
        .asked_to_stop => asked_at = os.process.ticks(),
        .other => {},
        else => |event| return .{
            .event = event,
            .asked = if (asked_at) |at| os.process.ticks() - at < way_out_ms else false,
        },
    };
}

fn argumentsOf(arena: Allocator, job: Job) error{OutOfMemory}![*:null]const ?[*:0]const u8 {
    const count = @max(job.arguments.len, 1);
    const result = try arena.allocSentinel(?[*:0]const u8, count, null);
    result[0] = job.bundle;
    for (result[1..], 1..) |*argument, i| argument.* = job.arguments[i];
    return result.ptr;
}

fn notStarted(path: []const u8, err: os.process.StartError) Failure {
    return switch (err) {
        error.OutOfMemory => error.OutOfMemory,
        error.ExecDenied => say.refuse(
            say.failure,
            "{s} may not be executed (noexec or a security policy); set SOLOFILE_CACHE to a folder that programs can be started from.",
            .{path},
        ),
        error.ExecNotFound => say.refuse(
            say.failure,
            "This system has no glibc ({s} is missing), which the bundle needs: run it on a system with glibc, such as Debian, " ++
                "Ubuntu, Fedora or openSUSE, or in a container of one (Alpine and others with musl have none).",
            .{loader},
        ),
        else => |known| say.refuse(
            say.failure,
            "{s} cannot be started ({s}); free memory or processes and start again.",
            .{ path, os.files.why(known) },
        ),
    };
}

fn exitCode(event: os.process.Event) u8 {
    return switch (event) {
        .exited => |code| code,
        .killed => |signal| os.process.exitCodeOf(signal),
        .asked_to_stop, .other => unreachable,
    };
}
