//! What the launcher calls of Windows, and the two forms of text: UTF-8 in the launcher, UTF-16 in the system's calls.

const std = @import("std");

pub const Handle = *anyopaque;
pub const invalid: Handle = @ptrFromInt(std.math.maxInt(usize));
pub const Time = u64; // 100 ns since 1601
pub const Wide = [*:0]const u16;

pub const FileInfo = extern struct {
    attributes: u32,
    creation: Time align(4),
    access: Time align(4),
    write: Time align(4),
    volume: u32,
    size_high: u32,
    size_low: u32,
    links: u32,
    index_high: u32,
    index_low: u32,
};

pub const AttributeData = extern struct {
    attributes: u32,
    creation: Time align(4),
    access: Time align(4),
    write: Time align(4),
    size_high: u32,
    size_low: u32,
};

pub const FindData = extern struct {
    attributes: u32,
    creation: Time align(4),
    access: Time align(4),
    write: Time align(4),
    size_high: u32,
    size_low: u32,
    reserved: [2]u32,
    name: [260]u16,
    short_name: [14]u16,
};

/// FILE_BASIC_INFO; 0 leaves a time as it is.
pub const BasicInfo = extern struct { creation: Time = 0, access: Time = 0, write: Time = 0, change: Time = 0, attributes: u32 = 0 };

pub const Overlapped = extern struct {
    internal: usize = 0,
    internal_high: usize = 0,
    offset: u32 = 0,
    offset_high: u32 = 0,
    event: ?Handle = null,
};

pub const StartupInfo = extern struct {
    size: u32 = @sizeOf(StartupInfo),
    reserved: usize = 0,
    desktop: usize = 0,
    title: usize = 0,
    numbers: [8]u32 = @splat(0),
    show: u16 = 0,
    reserved_size: u16 = 0,
    reserved_bytes: usize = 0,
    handles: [3]?Handle = @splat(null),
};

pub const ProcessInfo = extern struct { process: Handle, thread: Handle, pid: u32, tid: u32 };

/// JOBOBJECT_EXTENDED_LIMIT_INFORMATION.
pub const JobLimits = extern struct {
    times: [2]u64 = @splat(0),
    flags: u32,
    sizes: [2]usize = @splat(0),
    processes: u32 = 0,
    affinity: usize = 0,
    classes: [2]u32 = @splat(0),
    io: [6]u64 = @splat(0),
    memory: [4]usize = @splat(0),
};

pub const Sid = *anyopaque;
pub const Acl = extern struct { revision: u8, pad: u8, size: u16, count: u16, pad2: u16 };
pub const Ace = extern struct { kind: u8, flags: u8, size: u16, mask: u32, sid: u32 };

pub extern "kernel32" fn GetLastError() callconv(.winapi) u32;
pub extern "kernel32" fn CreateFileW(Wide, u32, u32, ?*anyopaque, u32, u32, ?Handle) callconv(.winapi) Handle;
pub extern "kernel32" fn CloseHandle(Handle) callconv(.winapi) i32;
pub extern "kernel32" fn ReadFile(Handle, [*]u8, u32, *u32, ?*Overlapped) callconv(.winapi) i32;
pub extern "kernel32" fn WriteFile(Handle, [*]const u8, u32, *u32, ?*Overlapped) callconv(.winapi) i32;
pub extern "kernel32" fn LockFileEx(Handle, u32, u32, u32, u32, *Overlapped) callconv(.winapi) i32;
pub extern "kernel32" fn UnlockFileEx(Handle, u32, u32, u32, *Overlapped) callconv(.winapi) i32;
pub extern "kernel32" fn GetFileInformationByHandle(Handle, *FileInfo) callconv(.winapi) i32;
pub extern "kernel32" fn SetFileInformationByHandle(Handle, i32, *const anyopaque, u32) callconv(.winapi) i32;
pub extern "kernel32" fn GetFileAttributesExW(Wide, i32, *AttributeData) callconv(.winapi) i32;
pub extern "kernel32" fn SetFileAttributesW(Wide, u32) callconv(.winapi) i32;
pub extern "kernel32" fn CreateDirectoryW(Wide, ?*anyopaque) callconv(.winapi) i32;
pub extern "kernel32" fn RemoveDirectoryW(Wide) callconv(.winapi) i32;
pub extern "kernel32" fn DeleteFileW(Wide) callconv(.winapi) i32;
pub extern "kernel32" fn MoveFileExW(Wide, Wide, u32) callconv(.winapi) i32;
pub extern "kernel32" fn FindFirstFileW(Wide, *FindData) callconv(.winapi) Handle;
pub extern "kernel32" fn FindNextFileW(Handle, *FindData) callconv(.winapi) i32;
pub extern "kernel32" fn FindClose(Handle) callconv(.winapi) i32;
pub extern "kernel32" fn GetCurrentDirectoryW(u32, [*]u16) callconv(.winapi) u32;
pub extern "kernel32" fn GetFullPathNameW(Wide, u32, [*]u16, ?*usize) callconv(.winapi) u32;
pub extern "kernel32" fn GetModuleFileNameW(?Handle, [*]u16, u32) callconv(.winapi) u32;
pub extern "kernel32" fn GetSystemTimeAsFileTime(*Time) callconv(.winapi) void;
pub extern "kernel32" fn GetTickCount64() callconv(.winapi) u64;
pub extern "kernel32" fn Sleep(u32) callconv(.winapi) void;
pub extern "kernel32" fn GetStdHandle(u32) callconv(.winapi) ?Handle;
pub extern "kernel32" fn GetConsoleMode(Handle, *u32) callconv(.winapi) i32;
pub extern "kernel32" fn SetConsoleMode(Handle, u32) callconv(.winapi) i32;
pub extern "kernel32" fn WriteConsoleW(Handle, [*]const u16, u32, *u32, ?*anyopaque) callconv(.winapi) i32;
pub extern "kernel32" fn GetConsoleProcessList([*]u32, u32) callconv(.winapi) u32;
pub extern "kernel32" fn SetConsoleCtrlHandler(*const fn (u32) callconv(.winapi) i32, i32) callconv(.winapi) i32;
pub extern "kernel32" fn SetErrorMode(u32) callconv(.winapi) u32;
pub extern "kernel32" fn CreateEventW(?*anyopaque, i32, i32, ?Wide) callconv(.winapi) ?Handle;
pub extern "kernel32" fn SetEvent(Handle) callconv(.winapi) i32;
pub extern "kernel32" fn CreateProcessW(?Wide, [*:0]u16, ?*anyopaque, ?*anyopaque, i32, u32, ?[*]const u16, ?Wide, *StartupInfo, *ProcessInfo) callconv(.winapi) i32;
pub extern "kernel32" fn ResumeThread(Handle) callconv(.winapi) u32;
pub extern "kernel32" fn TerminateProcess(Handle, u32) callconv(.winapi) i32;
pub extern "kernel32" fn WaitForMultipleObjects(u32, [*]const Handle, i32, u32) callconv(.winapi) u32;
pub extern "kernel32" fn WaitForSingleObject(Handle, u32) callconv(.winapi) u32;
pub extern "kernel32" fn GetExitCodeProcess(Handle, *u32) callconv(.winapi) i32;
pub extern "kernel32" fn OpenProcess(u32, i32, u32) callconv(.winapi) ?Handle;
pub extern "kernel32" fn GetCurrentProcess() callconv(.winapi) Handle;
pub extern "kernel32" fn GetCurrentProcessId() callconv(.winapi) u32;
pub extern "kernel32" fn ExitProcess(u32) callconv(.winapi) noreturn;
pub extern "kernel32" fn CreateJobObjectW(?*anyopaque, ?Wide) callconv(.winapi) ?Handle;
pub extern "kernel32" fn SetInformationJobObject(Handle, i32, *const anyopaque, u32) callconv(.winapi) i32;
pub extern "kernel32" fn AssignProcessToJobObject(Handle, Handle) callconv(.winapi) i32;
pub extern "kernel32" fn LocalFree(?*anyopaque) callconv(.winapi) ?*anyopaque;
pub extern "advapi32" fn OpenProcessToken(Handle, u32, *Handle) callconv(.winapi) i32;
pub extern "advapi32" fn GetTokenInformation(Handle, i32, *anyopaque, u32, *u32) callconv(.winapi) i32;
pub extern "advapi32" fn GetNamedSecurityInfoW(Wide, i32, u32, *?Sid, ?*?Sid, *?*Acl, ?*?*Acl, *?*anyopaque) callconv(.winapi) u32;
pub extern "advapi32" fn GetAce(*Acl, u32, *?*Ace) callconv(.winapi) i32;
pub extern "advapi32" fn EqualSid(Sid, Sid) callconv(.winapi) i32;
pub extern "advapi32" fn ConvertSidToStringSidW(Sid, *?[*:0]u16) callconv(.winapi) i32;

pub const longest = 32_768; // UTF-16 units of a path, the closing zero included

const first_part = "\\\\?\\";

/// A path as the calls take it, in `buffer`: with the prefix that lifts the limit of 260 characters where it is absolute.
pub fn widePath(buffer: *[longest]u16, path: [*:0]const u8) error{NameTooLong}!Wide {
    const text = std.mem.span(path);
    var used: usize = 0;
    const kind = kindOf(text);
    const prefix = switch (kind) {
        .drive => first_part,
        .share => first_part ++ "UNC\\",
        .other => "",
    };
    for (prefix) |byte| {
        buffer[used] = byte;
        used += 1;
    }
    const rest = if (kind == .share) text[2..] else text;
    if (used + rest.len + 1 > buffer.len) return error.NameTooLong;
    used += std.unicode.wtf8ToWtf16Le(buffer[used..], rest) catch return error.NameTooLong;
    buffer[used] = 0;
    for (buffer[0..used]) |*unit| if (unit.* == '/') {
        unit.* = '\\';
    };
    return buffer[0..used :0];
}

fn kindOf(path: []const u8) enum { drive, share, other } {
    if (path.len >= 3 and path[1] == ':' and (path[2] == '\\' or path[2] == '/')) return .drive;
    if (path.len >= 3 and isSlash(path[0]) and isSlash(path[1]) and path[2] != '?' and path[2] != '.') return .share;
    return .other;
}

fn isSlash(byte: u8) bool {
    return byte == '\\' or byte == '/';
}

/// UTF-16 as UTF-8; an unpaired half, which file names may hold, survives the way there and back.
pub fn narrow(arena: std.mem.Allocator, text: []const u16) error{OutOfMemory}![:0]const u8 {
    return std.unicode.wtf16LeToWtf8AllocZ(arena, text);
}

/// A path that the system said, without the prefix of long ones.
pub fn narrowPath(arena: std.mem.Allocator, text: []const u16) error{OutOfMemory}![:0]const u8 {
    const path = try narrow(arena, text);
    if (std.mem.startsWith(u8, path, first_part ++ "UNC\\")) return std.fmt.allocPrintSentinel(arena, "\\\\{s}", .{path[8..]}, 0);
    if (!std.mem.startsWith(u8, path, first_part) or path.len < 6 or path[5] != ':') return path;
    return arena.dupeZ(u8, path[first_part.len..]);
}
