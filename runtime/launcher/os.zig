//! The operating system, one file set each. Another system is another branch here with the same names.

const builtin = @import("builtin");

const system = switch (builtin.os.tag) {
    .linux => struct {
        pub const files = @import("os/linux_files.zig");
        pub const places = @import("os/linux_places.zig");
        pub const process = @import("os/linux_process.zig");
        pub const self = @import("os/linux_self.zig");
        pub const trust = @import("os/posix_trust.zig");
        const name = "linux";
    },
    .macos => struct {
        pub const files = @import("os/macos_files.zig");
        pub const places = @import("os/macos_places.zig");
        pub const process = @import("os/macos_process.zig");
        pub const self = @import("os/macos_self.zig");
        pub const trust = @import("os/posix_trust.zig");
        const name = "macos";
    },
    .windows => struct {
        pub const files = @import("os/windows_files.zig");
        pub const places = @import("os/windows_places.zig");
        pub const process = @import("os/windows_process.zig");
        pub const self = @import("os/windows_self.zig");
        pub const trust = @import("os/windows_trust.zig");
        const name = "windows";
    },
    else => @compileError("no launcher for this system yet"),
};

pub const files = system.files;
pub const places = system.places;
pub const process = system.process;
pub const self = system.self;
pub const trust = system.trust;
pub const Candidate = @import("os/place.zig").Candidate;

/// The name of what this launcher was built for, as the bundle spells it.
pub const target = system.name ++ "-" ++ @tagName(builtin.cpu.arch);
