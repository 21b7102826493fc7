//! Facts about files, as all Unix systems have them.

pub const Kind = enum { file, folder, link, other };

pub const Stat = struct {
    kind: Kind,
    /// Permission bits, set-id and sticky included.
    mode: u32,
    uid: u32,
    size: u64,
    /// Seconds since 1970, UTC.
    mtime: i64,
    dev: u64,
    ino: u64,
};

/// The kind in a system's file mode.
pub fn kindOf(mode: u32) Kind {
    return switch (mode & 0o170000) {
        0o100000 => .file,
        0o040000 => .folder,
        0o120000 => .link,
        else => .other,
    };
}

/// The bits of it that `chmod` sets.
pub fn permissions(mode: u32) u32 {
    return mode & 0o7777;
}
