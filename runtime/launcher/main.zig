//! The launcher: the first bytes of every bundle. It finds the runtime in its own file, has it in the cache, and runs it.

const std = @import("std");
const os = @import("os.zig");
const say = @import("say.zig");
const archive = @import("archive.zig");
const cache = @import("cache.zig");
const secrets = @import("secrets.zig");
const signature = @import("signature.zig");
const store = @import("store.zig");
const sums = @import("sums.zig");
const supervise = @import("supervise.zig");
const universal = @import("universal.zig");

// Zig's own start-up and panic code would bring its whole I/O layer; the launcher needs none of it.
pub const std_options: std.Options = .{ .enable_segfault_handler = false, .signal_stack_size = null };
pub const std_options_debug_threaded_io: ?*std.Io.Threaded = null;
pub const panic = std.debug.FullPanic(fault);

fn fault(message: []const u8, _: ?usize) noreturn {
    say.line("the launcher has a fault ({s}); please report it.", .{message});
    os.process.exit(say.failure);
}

pub fn main(init: std.process.Init.Minimal) u8 {
    os.process.takeSignals();
    const code = run(init) catch |err| switch (err) {
        error.Refused => refused(),
        error.OutOfMemory => outOfMemory(),
    };
    if (code != 0) os.process.holdWindow();
    return code;
}

fn refused() u8 {
    const code = say.refusal();
    if (os.process.stopRequested()) os.process.obeyStop();
    return code;
}

fn outOfMemory() u8 {
    say.line("no memory is left for the launcher; end other programs and start again.", .{});
    return say.failure;
}

fn run(init: std.process.Init.Minimal) (say.Refusal || error{OutOfMemory})!u8 {
    var arena_state: std.heap.ArenaAllocator = .init(std.heap.page_allocator);
    const arena = arena_state.allocator();
    const arguments = try os.process.arguments(arena, init);
    const block = try os.process.environment(arena, init);
    const taken = try secrets.take(arena, arguments);
    const self = try universal.bundleOf(arena, try openSelf(arena, arguments), block);
    const opened = try archive.open(arena, self);
    try signature.check(arena, opened, arguments);
    const pack = try sums.open(arena, opened);
    const folder = try cache.choose(arena, block, pack);
    const place: store.Store = try .init(arena, folder, pack);
    try place.acquire();
    return supervise.run(arena, .{
        .bundle = self.path,
        .cache = folder,
        .folder = place.folder,
        .arguments = taken.arguments,
        .keys = taken.keys,
        .block = block,
    });
}

fn openSelf(arena: std.mem.Allocator, arguments: []const [*:0]const u8) (say.Refusal || error{OutOfMemory})!os.self.Self {
    const argv0 = if (arguments.len > 0) std.mem.span(arguments[0]) else "";
    return os.self.open(arena, argv0) catch |err| switch (err) {
        error.OutOfMemory => error.OutOfMemory,
        else => |known| say.refuse(
            say.failure,
            "The bundle's own file ({s}) cannot be opened ({s}); start it by its full path from where it can be read.",
            .{ argv0, os.files.why(known) },
        ),
    };
}
