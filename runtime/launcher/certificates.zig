//! A signature that Windows looks for (Authenticode) is added behind the archive of a finished bundle; the archive ends before it.

const std = @import("std");
const os = @import("os.zig");
const archives = @import("archive.zig");

const header_size = 4096;

/// Signers begin their table at a multiple of 8.
const padding = 7;

/// Where the archive ends: at the end of the file, or where a PE file's header says that the certificates begin which fill the rest.
pub fn archiveEnd(file: os.files.Handle, size: u64) os.files.Error!u64 {
    var header: [header_size]u8 = undefined;
    const n = try os.files.readAt(file, &header, 0);
    const begin = tableBegin(header[0..n], size) orelse return size;
    var before: [padding]u8 = undefined;
    if (try os.files.readAt(file, &before, begin - padding) != padding) return size;
    return begin - padding + std.mem.trimEnd(u8, &before, "\x00").len;
}

/// Null where there are no certificates, or where they do not fill the file to its end.
fn tableBegin(header: []const u8, size: u64) ?u64 {
    if (!std.mem.startsWith(u8, header, "MZ") or header.len < 64) return null;
    const pe: usize = archives.u32At(header, 60);
    const magic = pe + 24;
    const entry = magic + 112 + 4 * 8; // the fifth of the data directories of a 64-bit file
    if (pe > header.len or entry + 8 > header.len) return null;
    if (!std.mem.eql(u8, header[pe..][0..4], "PE\x00\x00") or archives.u16At(header, magic) != 0x20b) return null;
    const begin: u64 = archives.u32At(header, entry);
    const length: u64 = archives.u32At(header, entry + 4);
    return if (length > 0 and begin > header_size and begin + length == size) begin else null;
}
