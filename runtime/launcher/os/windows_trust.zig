//! The rule for a folder that programs are started from, in Windows' terms: this user owns it, and besides the system and its
//! administrators nobody else may write to it.

const std = @import("std");
const api = @import("windows_api.zig");
const files = @import("windows_files.zig");
const Allocator = std.mem.Allocator;

// The system, administrators, who makes a file, the rights of an owner, and the service that installs updates.
const trusted = [_][]const u8{
    "S-1-5-18",
    "S-1-5-32-544",
    "S-1-3-0",
    "S-1-3-4",
    "S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464",
};

/// To write or append (in a folder: to make files or folders), delete what is in it or itself, change its rights or owner; all.
const writing = 0x2 | 0x4 | 0x40 | 0x1_0000 | 0x4_0000 | 0x8_0000 | 0x1000_0000 | 0x4000_0000;

const inherit_only = 8;

/// Why the folder is not trusted, as the end of a sentence; null where it is.
pub fn fault(arena: Allocator, path: [:0]const u8) error{OutOfMemory}!?[]const u8 {
    const found = files.lstat(path) catch |err| return try print(arena, "it cannot be reached ({s})", .{files.why(err)});
    if (found.kind == .link) return try print(arena, "{s} is a link", .{path});
    if (found.kind != .folder) return try print(arena, "{s} is not a folder", .{path});
    var buffer: [api.longest]u16 = undefined;
    const name = api.widePath(&buffer, path) catch return "its name is too long";
    var owner: ?api.Sid = null;
    var rights: ?*api.Acl = null;
    var memory: ?*anyopaque = null;
    const file_object = 1;
    const owner_and_rights = 1 | 4;
    if (api.GetNamedSecurityInfoW(name, file_object, owner_and_rights, &owner, null, &rights, null, &memory) != 0) {
        return null; // a file system without owners, such as FAT: what is there can be changed by whoever holds the medium
    }
    defer _ = api.LocalFree(memory);
    const user = try ownSid(arena) orelse return "this user's name cannot be found out";
    if (owner) |sid| {
        const text = try sidText(arena, sid);
        if (!std.mem.eql(u8, text, user) and !isTrusted(text)) return try print(arena, "{s} belongs to {s} and this is {s}", .{ path, text, user });
    }
    return foreignWriter(arena, path, rights orelse return try print(arena, "everyone can write to {s}", .{path}), user);
}

fn foreignWriter(arena: Allocator, path: []const u8, rights: *api.Acl, user: []const u8) error{OutOfMemory}!?[]const u8 {
    for (0..rights.count) |i| {
        var found: ?*api.Ace = null;
        if (api.GetAce(rights, @intCast(i), &found) == 0) continue;
        const entry = found orelse continue;
        if (entry.kind != 0 or entry.flags & inherit_only != 0 or entry.mask & writing == 0) continue; // only "allowed" gives
        const text = try sidText(arena, @ptrCast(&entry.sid));
        if (std.mem.eql(u8, text, user) or isTrusted(text)) continue;
        return try print(arena, "others ({s}) can write to {s}", .{ text, path });
    }
    return null;
}

fn isTrusted(sid: []const u8) bool {
    for (trusted) |other| if (std.mem.eql(u8, sid, other)) return true;
    return false;
}

fn ownSid(arena: Allocator) error{OutOfMemory}!?[]const u8 {
    var token: api.Handle = undefined;
    const query = 8;
    if (api.OpenProcessToken(api.GetCurrentProcess(), query, &token) == 0) return null;
    defer _ = api.CloseHandle(token);
    var buffer: [256]u8 align(8) = undefined;
    var size: u32 = 0;
    const token_user = 1;
    if (api.GetTokenInformation(token, token_user, &buffer, buffer.len, &size) == 0) return null;
    const sid: *const api.Sid = @ptrCast(&buffer); // SID_AND_ATTRIBUTES begins with it
    return try sidText(arena, sid.*);
}

fn sidText(arena: Allocator, sid: api.Sid) error{OutOfMemory}![]const u8 {
    var text: ?[*:0]u16 = null;
    if (api.ConvertSidToStringSidW(sid, &text) == 0) return "an unknown user";
    const wide = text orelse return "an unknown user";
    defer _ = api.LocalFree(wide);
    return api.narrow(arena, std.mem.span(wide));
}

fn print(arena: Allocator, comptime format: []const u8, arguments: anytype) error{OutOfMemory}![]const u8 {
    return std.fmt.allocPrint(arena, format, arguments);
}
