//! The environment: what the launcher reads from it, and what of it the runtime gets to see.

const builtin = @import("builtin");
const std = @import("std");
const secrets = @import("secrets.zig");
const Allocator = std.mem.Allocator;

pub const Block = []const ?[*:0]const u8;

/// The value of a variable; null where it is unset or empty.
pub fn get(block: Block, name: []const u8) ?[]const u8 {
    for (block) |item| {
        const text = std.mem.span(item orelse continue);
        if (!sameName(nameOf(text), name) or text.len <= name.len + 1) continue;
        return text[name.len + 1 ..];
    }
    return null;
}

fn nameOf(text: []const u8) []const u8 {
    return text[0 .. std.mem.indexOfScalar(u8, text, '=') orelse text.len];
}

const any_case = builtin.os.tag == .windows;

fn sameName(one: []const u8, other: []const u8) bool {
    return if (any_case) std.ascii.eqlIgnoreCase(one, other) else std.mem.eql(u8, one, other);
}

fn beginsWith(name: []const u8, prefix: []const u8) bool {
    return if (any_case) std.ascii.startsWithIgnoreCase(name, prefix) else std.mem.startsWith(u8, name, prefix);
}

/// What names code or settings for the runtime: libraries to preload or to search, GPU drivers and layers to load, compiled code
/// of theirs, and Python's, PyInstaller's, llama.cpp's and our own variables. The runtime loads what it was packed with and what
/// the system is set up with. HOME and the XDG folders name GPU drivers and layers as well, but a browser needs them: the runtime
/// drops them where it loads a GPU's library (gpu_environment.py).
const dropped = [_][]const u8{
    "LD_PRELOAD",
    "LD_AUDIT",
    "LD_LIBRARY_PATH",
    "LD_ORIGIN_PATH",
    "GCONV_PATH",
    "OPENSSL_CONF",
    "OPENSSL_ENGINES",
    "OPENSSL_MODULES",
    "LIBGL_DRIVERS_PATH",
    "GBM_BACKENDS_PATH",
    "LIBVA_DRIVERS_PATH",
    "AMD_SHADER_DISK_CACHE_PATH",
    "MESA_GLSL_CACHE_DIR",
    "MESA_SHADER_CACHE_DIR",
    "MESA_DISK_CACHE_READ_ONLY_FOZ_DBS",
    "__GL_SHADER_DISK_CACHE_PATH",
    "HIP_PATH",
    "HSA_TOOLS_LIB",
    "NVTX_INJECTION64_PATH",
    "ROCM_PATH",
    "ZE_ENABLE_ALT_DRIVERS",
    "LLAMA_API_KEY",
    "_MEIPASS2",
    "SOLOFILE_BUNDLE",
    "SOLOFILE_CACHE_DIR",
    "SOLOFILE_CHILD",
    "SOLOFILE_CRASH",
    "SOLOFILE_FILE",
    "SOLOFILE_GIVEN_KEYS",
    "SOLOFILE_LAUNCHER_PID",
};
const dropped_prefixes = [_][]const u8{
    "LLAMA_ARG_", "_PYI_", "PYTHON", "GGML_", "VK_", "OCL_ICD_", "OPENCL_", "CUDA_", "__EGL_", "__GLX_", "DYLD_",
};
/// These only choose among the devices that there are.
const kept = [_][]const u8{ "GGML_VK_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER" };

fn isDropped(name: []const u8) bool {
    for (kept) |other| if (sameName(name, other)) return false;
    for (dropped) |other| if (sameName(name, other)) return true;
    for (dropped_prefixes) |prefix| if (beginsWith(name, prefix)) return true;
    return false;
}

/// What the runtime is told; `crash` names the signal that ended its first try, `keys` are those of the command line.
pub const Facts = struct {
    bundle: []const u8,
    cache: []const u8,
    launcher_pid: i64,
    crash: ?[]const u8 = null,
    keys: ?[]const u8 = null,
};

/// The environment of the runtime, in the form that exec takes.
pub fn forRuntime(arena: Allocator, block: Block, facts: Facts) error{OutOfMemory}![*:null]const ?[*:0]const u8 {
    var result: std.ArrayList(?[*:0]const u8) = .empty;
    for (block) |item| {
        const text = std.mem.span(item orelse continue);
        if (!isDropped(nameOf(text))) try result.append(arena, item);
    }
    try result.append(arena, try print(arena, "SOLOFILE_BUNDLE={s}", .{facts.bundle}));
    try result.append(arena, try print(arena, "SOLOFILE_CACHE_DIR={s}", .{facts.cache}));
    try result.append(arena, try print(arena, "SOLOFILE_LAUNCHER_PID={d}", .{facts.launcher_pid}));
    if (facts.crash) |signal| try result.append(arena, try print(arena, "SOLOFILE_CRASH={s}", .{signal}));
    if (facts.keys) |keys| try result.append(arena, try print(arena, secrets.variable ++ "={s}", .{keys}));
    return (try result.toOwnedSliceSentinel(arena, null)).ptr;
}

fn print(arena: Allocator, comptime format: []const u8, arguments: anytype) error{OutOfMemory}![:0]const u8 {
    return std.fmt.allocPrintSentinel(arena, format, arguments, 0);
}
