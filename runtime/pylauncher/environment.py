"""The environment that the runtime gets: without what names code to load (runtime/launcher/environment.zig)."""

from __future__ import annotations

from collections.abc import Mapping

DROPPED = frozenset(
    (
        *("LD_PRELOAD", "LD_AUDIT", "LD_LIBRARY_PATH", "LD_ORIGIN_PATH", "GCONV_PATH"),
        *("OPENSSL_CONF", "OPENSSL_ENGINES", "OPENSSL_MODULES"),
        *("LIBGL_DRIVERS_PATH", "GBM_BACKENDS_PATH", "LIBVA_DRIVERS_PATH", "AMD_SHADER_DISK_CACHE_PATH"),
        *("MESA_GLSL_CACHE_DIR", "MESA_SHADER_CACHE_DIR", "MESA_DISK_CACHE_READ_ONLY_FOZ_DBS"),
        *("__GL_SHADER_DISK_CACHE_PATH", "HIP_PATH", "HSA_TOOLS_LIB", "NVTX_INJECTION64_PATH", "ROCM_PATH"),
        *("ZE_ENABLE_ALT_DRIVERS", "LLAMA_API_KEY", "_MEIPASS2", "SOLOFILE_BUNDLE", "SOLOFILE_CACHE_DIR"),
        *("SOLOFILE_CHILD", "SOLOFILE_CRASH", "SOLOFILE_FILE", "SOLOFILE_GIVEN_KEYS", "SOLOFILE_LAUNCHER_PID"),
    )
)
DROPPED_PREFIXES = (
    *("LLAMA_ARG_", "_PYI_", "PYTHON", "GGML_", "VK_", "OCL_ICD_", "OPENCL_", "CUDA_", "__EGL_", "__GLX_"),
    *("DYLD_", "SOLOFILE_NATIVE_DIR"),
)
KEPT = frozenset({"GGML_VK_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"})
"""These only choose among the devices that there are."""

OWN_LIBRARIES = frozenset({"LD_LIBRARY_PATH"})
"""What the Python that starts the bundle may need to start once more."""


def for_runtime(environ: Mapping[str, str], facts: Mapping[str, str], *, same_python: bool) -> dict[str, str]:
    """The user's environment without these, and with what the runtime is told.

    ``same_python``: the runtime runs in the Python that the user has started.
    """
    kept = KEPT | OWN_LIBRARIES if same_python else KEPT
    return {name: value for name, value in environ.items() if name in kept or not _is_dropped(name)} | dict(facts)


def _is_dropped(name: str) -> bool:
    return name in DROPPED or name.startswith(DROPPED_PREFIXES)
