//! Words and variables between processes: Windows hands over one text of UTF-16 each.

const std = @import("std");
const api = @import("windows_api.zig");
const Allocator = std.mem.Allocator;

const Words = []const [*:0]const u8;
const Variables = []const ?[*:0]const u8;

/// The words of the command line, as UTF-8.
pub fn arguments(arena: Allocator, init: std.process.Init.Minimal) error{OutOfMemory}!Words {
    var words: std.ArrayList([*:0]const u8) = .empty;
    var rest = try init.args.iterateAllocator(arena);
    while (rest.next()) |word| try words.append(arena, (try arena.dupeZ(u8, word)).ptr);
    return words.items;
}

/// The process' environment, as UTF-8.
pub fn environment(arena: Allocator, _: std.process.Init.Minimal) error{OutOfMemory}!Variables {
    var variables: std.ArrayList(?[*:0]const u8) = .empty;
    var rest: [*:0]const u16 = std.os.windows.peb().ProcessParameters.Environment;
    while (rest[0] != 0) {
        const text = std.mem.span(rest);
        try variables.append(arena, (try api.narrow(arena, text)).ptr);
        rest += text.len + 1;
    }
    return variables.items;
}

/// The path of a program in the forms in which CreateProcess may take it: plain as long as it is short enough, so that the program
/// sees it as anybody would write it; else for long paths, and last plain again, for systems that need no such form.
pub fn programPaths(arena: Allocator, path: [:0]const u8) error{OutOfMemory}![]const api.Wide {
    const plain = try wideText(arena, path);
    for (plain) |*unit| if (unit.* == '/') {
        unit.* = '\\';
    };
    var forms: std.ArrayList(api.Wide) = .empty;
    const buffer = try arena.create([api.longest]u16);
    const max_path = 260;
    if (plain.len >= max_path - 12) { // files beside it have names too
        try forms.append(arena, api.widePath(buffer, path) catch return error.OutOfMemory);
    }
    try forms.append(arena, plain);
    return forms.items;
}

fn wideText(arena: Allocator, text: []const u8) error{OutOfMemory}![:0]u16 {
    return std.unicode.wtf8ToWtf16LeAllocZ(arena, text) catch |err| switch (err) {
        error.OutOfMemory => error.OutOfMemory,
        error.InvalidWtf8 => unreachable, // it came from UTF-16
    };
}

/// The words as one command line, quoted as the C library and CommandLineToArgvW take them apart.
pub fn join(arena: Allocator, words: Variables) error{OutOfMemory}![*:0]u16 {
    var line: std.ArrayList(u8) = .empty;
    for (words, 0..) |word, i| {
        if (i > 0) try line.append(arena, ' ');
        try quote(arena, &line, std.mem.span(word.?));
    }
    return (try wideText(arena, line.items)).ptr;
}

fn quote(arena: Allocator, line: *std.ArrayList(u8), word: []const u8) error{OutOfMemory}!void {
    if (word.len > 0 and std.mem.indexOfAny(u8, word, " \t\n\x0b\"") == null) return line.appendSlice(arena, word);
    try line.append(arena, '"');
    var backslashes: usize = 0;
    for (word) |byte| {
        switch (byte) {
            '\\' => backslashes += 1,
            // Backslashes count double before a quote, and only there.
            '"' => {
                try line.appendNTimes(arena, '\\', backslashes + 1);
                backslashes = 0;
            },
            else => backslashes = 0,
        }
        try line.append(arena, byte);
    }
    try line.appendNTimes(arena, '\\', backslashes);
    try line.append(arena, '"');
}

/// Variables as one text, sorted by their names in capitals, as Windows wants them.
pub fn block(arena: Allocator, variables: Variables) error{OutOfMemory}![]const u16 {
    const sorted = try arena.alloc([]const u8, variables.len);
    for (sorted, variables) |*text, variable| text.* = std.mem.span(variable.?);
    std.mem.sort([]const u8, sorted, {}, isBefore);
    var result: std.ArrayList(u16) = .empty;
    for (sorted) |text| {
        try result.appendSlice(arena, try wideText(arena, text));
        try result.append(arena, 0);
    }
    if (sorted.len == 0) try result.append(arena, 0);
    try result.append(arena, 0);
    return result.items;
}

fn isBefore(_: void, one: []const u8, other: []const u8) bool {
    return std.ascii.lessThanIgnoreCase(nameOf(one), nameOf(other));
}

/// A name may begin with "=": those keep the current folders of drives.
fn nameOf(text: []const u8) []const u8 {
    return text[0 .. std.mem.indexOfScalarPos(u8, text, @min(1, text.len), '=') orelse text.len];
}
