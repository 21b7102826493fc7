//! The error numbers of Unix systems.

const builtin = @import("builtin");
const Code = @import("std").posix.E;
pub const Error = @import("failure.zig").Error;

var last: Code = .SUCCESS;

/// The error of a call that has failed with this number.
pub fn failure(code: Code) Error {
    last = code;
    return switch (code) {
        .NOENT => error.NotFound,
        .EXIST => error.Exists,
        .ACCES, .PERM => error.AccessDenied,
        .ROFS => error.ReadOnly,
        .NOSPC, .DQUOT => error.NoSpace,
        .NOTDIR => error.NotADirectory,
        .NOTEMPTY => error.NotEmpty,
        .LOOP => error.SymbolicLink,
        .AGAIN => error.WouldBlock,
        .NOLCK, .NOSYS, .OPNOTSUPP => error.NoLocks,
        .INTR => error.Interrupted,
        else => error.Failed,
    };
}

/// The error in the words of a sentence.
pub fn why(err: Error) []const u8 {
    return switch (err) {
        error.NotFound => "no such file or folder",
        error.Exists => "it exists already",
        error.AccessDenied => "permission denied",
        error.ReadOnly => "read-only file system",
        error.NoSpace => "no space left",
        error.NotADirectory => "a part of its path is not a folder",
        error.NotEmpty => "the folder is not empty",
        error.SymbolicLink => "a symbolic link",
        error.WouldBlock => "in use",
        error.NoLocks => "not supported by the file system",
        error.Interrupted => "interrupted",
        error.Failed => switch (last) {
            .IO => "input/output error",
            .NAMETOOLONG => "the name is too long",
            .MFILE, .NFILE => "too many open files",
            .FBIG => "the file is too large for this file system or limit",
            .NOMEM => "out of memory",
            .NOEXEC => not_a_program,
            .STALE => "stale network file handle",
            else => if (builtin.os.tag == .macos and (last == .BADARCH or last == .BADEXEC)) not_a_program else "the system refused",
        },
    };
}

const not_a_program = "not a program for this machine";
