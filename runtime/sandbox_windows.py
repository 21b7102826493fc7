"""The sandbox of Windows: a job object and the process mitigation policies (SetProcessMitigationPolicy, winnt.h).

They say nothing of files and connections: what a user may do, the process still may. The job keeps it from the desktop
and the clipboard of others, and the policies keep out libraries from elsewhere and code that is made.
"""

from __future__ import annotations

import ctypes
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from solofile.runtime.sandbox_needs import Needs

# PROCESS_MITIGATION_POLICY, and the flags of each policy's structure of 4 bytes.
DYNAMIC_CODE, EXTENSION_POINTS, FONTS, IMAGE_LOAD = 2, 6, 9, 10
PROHIBIT_DYNAMIC_CODE = 1
DISABLE_EXTENSION_POINTS = 1
DISABLE_OTHER_FONTS = 1
NO_REMOTE_IMAGES, NO_LOW_LABEL_IMAGES, PREFER_SYSTEM_IMAGES = 1, 2, 4

# JOBOBJECT_BASIC_UI_RESTRICTIONS: handles, reading and writing the clipboard, system parameters, display settings,
# global atoms, desktop, ending the session.
UI_LIMITS = 0xFF
_UI_RESTRICTIONS = 4

NO_FILES = "Windows lets a program keep its user's rights to files and connections"


def early_policies() -> tuple[tuple[int, int], ...]:
    """(policy, flags) that hold from before the model is read."""
    images = NO_REMOTE_IMAGES | NO_LOW_LABEL_IMAGES | PREFER_SYSTEM_IMAGES
    return (EXTENSION_POINTS, DISABLE_EXTENSION_POINTS), (FONTS, DISABLE_OTHER_FONTS), (IMAGE_LOAD, images)


def late_policies(*, gpu: bool) -> tuple[tuple[int, int], ...]:
    """Those that hold when the model is loaded: drivers of GPUs make code all the time."""
    return () if gpu else ((DYNAMIC_CODE, PROHIBIT_DYNAMIC_CODE),)


def enter(_needs: Needs) -> str:
    """Step 1; returns what is lacking."""
    refused = [f"policy {policy}" for policy, flags in early_policies() if not _set_policy(policy, flags)]
    if not _enter_job():
        refused.append("a job object")
    return "; ".join([NO_FILES, *([f"Windows refuses {', '.join(refused)}"] if refused else [])])


def seal(*, gpu: bool) -> str:
    """Step 2; returns what is lacking, or nothing."""
    refused = [f"policy {policy}" for policy, flags in late_policies(gpu=gpu) if not _set_policy(policy, flags)]
    return f"Windows refuses {', '.join(refused)}" if refused else ""


def level() -> int:
    """There is no Landlock here."""
    return 0


def trial(needs: Needs) -> tuple[str, str]:
    """What a start would come to. Nothing can be tried in a copy of this process, so this is what is known."""
    return NO_FILES, "" if not needs.gpu else "the drivers of GPUs make code"


def _set_policy(policy: int, flags: int) -> bool:
    value = ctypes.c_uint32(flags)
    return bool(_kernel32().SetProcessMitigationPolicy(policy, ctypes.byref(value), ctypes.sizeof(value)))


def _enter_job() -> bool:
    """The handle stays open to the end of the process."""
    kernel = _kernel32()
    job = kernel.CreateJobObjectW(None, None)
    limits = ctypes.c_uint32(UI_LIMITS)
    return bool(
        job
        and kernel.SetInformationJobObject(job, _UI_RESTRICTIONS, ctypes.byref(limits), ctypes.sizeof(limits))
        and kernel.AssignProcessToJobObject(job, kernel.GetCurrentProcess())
    )


def _kernel32() -> Any:
    if sys.platform != "win32":
        raise OSError("this is not Windows")
    kernel = ctypes.WinDLL("kernel32")
    kernel.CreateJobObjectW.restype = kernel.GetCurrentProcess.restype = ctypes.c_void_p
    kernel.CreateJobObjectW.argtypes = [ctypes.c_void_p, ctypes.c_wchar_p]
    kernel.SetInformationJobObject.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p, ctypes.c_uint32]
    kernel.AssignProcessToJobObject.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
    kernel.SetProcessMitigationPolicy.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t]
    return kernel
