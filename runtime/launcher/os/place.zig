//! A folder that the cache may be in.

pub const Source = enum { explicit, personal, shared };

pub const Candidate = struct {
    path: [:0]const u8,
    source: Source,
    /// The home folder that it lies in, which is never made.
    home: ?[]const u8 = null,
};
