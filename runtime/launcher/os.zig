//! The operating system, one file set each. Another system is another branch here with the same names.

const builtin = @import("builtin");

const system = switch (builtin.os.tag) {
    .linux => struct {
        pub const files = @import("os/linux_files.zig");
        pub const process = @import("os/linux_process.zig");
        pub const self = @import("os/linux_self.zig");
        const name = "linux";
    },
    else => @compileError("no launcher for this system yet"),
};

pub const files = system.files;
pub const process = system.process;
pub const self = system.self;

/// The name of what this launcher was built for, as the bundle spells it.
pub const target = system.name ++ "-" ++ @tagName(builtin.cpu.arch);
