//! The environment: what the launcher reads from it, and what of it the runtime gets to see.

const std = @import("std");
const Allocator = std.mem.Allocator;

pub const Block = []const ?[*:0]const u8;

/// The value of a variable; null where it is unset or empty.
pub fn get(block: Block, name: []const u8) ?[]const u8 {
    for (block) |item| {
        const text = std.mem.span(item orelse continue);
        if (!std.mem.eql(u8, nameOf(text), name) or text.len <= name.len + 1) continue;
        return text[name.len + 1 ..];
    }
    return null;
}

fn nameOf(text: []const u8) []const u8 {
    return text[0 .. std.mem.indexOfScalar(u8, text, '=') orelse text.len];
}

/// Would put foreign code or settings into the runtime: preloaded libraries, Python's, PyInstaller's and llama.cpp's own variables.
const dropped = [_][]const u8{
    "LD_PRELOAD",      "LD_AUDIT",       "GGML_BACKEND_PATH",  "LLAMA_API_KEY",         "_MEIPASS2",
    "SOLOFILE_BUNDLE", "SOLOFILE_CRASH", "SOLOFILE_CACHE_DIR", "SOLOFILE_LAUNCHER_PID",
};
const dropped_prefixes = [_][]const u8{ "LLAMA_ARG_", "_PYI_", "PYTHON" };

fn isDropped(name: []const u8) bool {
    for (dropped) |other| if (std.mem.eql(u8, name, other)) return true;
    for (dropped_prefixes) |prefix| if (std.mem.startsWith(u8, name, prefix)) return true;
    return false;
}

/// What the runtime is told; `crash` names the signal that ended its first try.
pub const Facts = struct {
    bundle: []const u8,
    cache: []const u8,
    launcher_pid: i64,
    crash: ?[]const u8 = null,
};

/// The environment of the runtime, in the form that exec takes.
pub fn forRuntime(arena: Allocator, block: Block, facts: Facts) error{OutOfMemory}![*:null]const ?[*:0]const u8 {
    var result: std.ArrayList(?[*:0]const u8) = .empty;
    for (block) |item| {
        const text = std.mem.span(item orelse continue);
        const name = nameOf(text);
        if (isDropped(name)) continue;
        if (std.mem.eql(u8, name, "LD_LIBRARY_PATH")) {
            if (try absoluteOnly(arena, text)) |kept| try result.append(arena, kept);
        } else {
            try result.append(arena, item);
        }
    }
    try result.append(arena, try print(arena, "SOLOFILE_BUNDLE={s}", .{facts.bundle}));
    try result.append(arena, try print(arena, "SOLOFILE_CACHE_DIR={s}", .{facts.cache}));
    try result.append(arena, try print(arena, "SOLOFILE_LAUNCHER_PID={d}", .{facts.launcher_pid}));
    if (facts.crash) |signal| try result.append(arena, try print(arena, "SOLOFILE_CRASH={s}", .{signal}));
    return (try result.toOwnedSliceSentinel(arena, null)).ptr;
}

fn print(arena: Allocator, comptime format: []const u8, arguments: anytype) error{OutOfMemory}![:0]const u8 {
    return std.fmt.allocPrintSentinel(arena, format, arguments, 0);
}

/// LD_LIBRARY_PATH without what depends on the current folder (an empty element does too); null where nothing is left.
/// The loader takes ";" for ":" as well.
fn absoluteOnly(arena: Allocator, text: []const u8) error{OutOfMemory}!?[:0]const u8 {
    const start = "LD_LIBRARY_PATH=".len;
    if (text.len < start) return null;
    var kept: std.ArrayList(u8) = .empty;
    var elements = std.mem.tokenizeAny(u8, text[start..], ":;");
    while (elements.next()) |element| {
        if (element[0] != '/') continue;
        try kept.append(arena, if (kept.items.len == 0) '=' else ':');
        try kept.appendSlice(arena, element);
    }
    if (kept.items.len == 0) return null;
    return try print(arena, "LD_LIBRARY_PATH{s}", .{kept.items});
}
