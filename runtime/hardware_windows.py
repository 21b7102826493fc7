"""Windows: the machine as its API and its registry tell it."""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable, Mapping
from typing import Any

from solofile.runtime import cpuid
from solofile.runtime.cpuid import Processor
from solofile.runtime.hardware import Gpu, Hardware, target
from solofile.runtime.windows_processors import (
    Cpus,
    Memory,
    Processors,
    allowed_cpus,
    parse_cpu_rate,
    parse_job_memory,
    parse_memory,
    parse_processors,
)

_FEATURES = {
    19: "asimd", 30: "aes", 31: "crc32", 34: "atomics", 37: "sse4_1", 38: "sse4_2", 39: "avx", 40: "avx2",
    41: "avx512f", 43: "asimddp", 44: "jscvt", 45: "lrcpc", 46: "sve", 47: "sve2", 57: "svei8mm", 66: "i8mm",
    67: "asimdhp", 68: "bf16", 70: "sme", 71: "sme2",
}  # fmt: skip
"""Numbers of ``IsProcessorFeaturePresent`` (PF_… of ``winnt.h``) and what Linux calls the same."""

_MAKERS = {
    "VEN_10DE": "NVIDIA",
    "VEN_1002": "AMD",
    "VEN_8086": "Intel",
    "VEN_QCOM": "Qualcomm",
    "VEN_1414": "Microsoft",
}

_ALL = 0xFFFF  # RelationAll
_JOB_LIMITS, _JOB_CPU_RATE, _JOB_USAGE = 9, 15, 28  # JobObject…Information


class Job:
    """What a job object says: buffers of ``QueryInformationJobObject``, empty outside of a job."""

    def __init__(self, limits: bytes = b"", cpu_rate: bytes = b"", usage: bytes = b"") -> None:
        self.limits, self.cpu_rate, self.usage = limits, cpu_rate, usage

    @property
    def memory_limit(self) -> int | None:
        """The smaller of what one process and all together may have."""
        return min((limit for limit in parse_job_memory(self.limits) if limit is not None), default=None)

    @property
    def memory_left(self) -> int | None:
        """What the job's processes have not taken yet."""
        limit = self.memory_limit
        used = struct.unpack_from("<Q", self.usage)[0] if len(self.usage) >= 8 else 0
        return None if limit is None else max(0, limit - used)


def detect(root: str = "/", cpu: Callable[[], str] | None = None) -> Hardware:  # noqa: ARG001 - one signature for all
    """Read this machine; ``cpu`` as for `hardware.detect`."""
    system = _System()
    processor = (cpuid.decode(cpu()) if cpu else None) or system.processor()
    processors = parse_processors(system.processor_information())
    groups, mask = system.affinity()
    allowed = allowed_cpus(processors.cpus, groups, mask)
    return interpret(processor, processors, allowed, parse_memory(system.memory()), system.job(), system.gpus())


def interpret(
    processor: Processor, processors: Processors, allowed: Cpus, memory: Memory, job: Job, gpus: tuple[Gpu, ...] = ()
) -> Hardware:
    """The machine that all this describes."""
    fast = processors.fast
    usable = [core for core in fast if core.cpus & allowed] or [
        core for core in processors.cores if core.cpus & allowed
    ]
    left, limit = job.memory_left, job.memory_limit
    return Hardware(
        target=target(),
        cpu=processor.name,
        vendor=processor.vendor,
        features=processor.features,
        sockets=max(1, processors.packages),
        cores=max(1, len(processors.cores)),
        logical=max(1, len(processors.cpus)),
        performance_cores=max(1, len(fast)),
        efficiency_cores=len(processors.cores) - len(fast),
        caches=processors.caches,
        numa=processors.nodes,
        allowed=max(1, len(allowed)),
        allowed_cores=max(1, len(usable)),
        quota=parse_cpu_rate(job.cpu_rate, len(processors.cpus)),
        memory_total=memory.total,
        memory=memory.available if left is None else min(memory.available, left),
        memory_limit=limit if limit is not None and limit < memory.total else None,
        swap_free=memory.swap_free,
        gpus=gpus,
    )


def interpret_gpu(instance: str, device: Mapping[str, Any], driver: Mapping[str, Any]) -> Gpu:
    """A display adapter from its instance (``PCI\\\\VEN_10DE&DEV_2504&…``) and the registry's keys of the device and of
    its driver."""
    vendor = next(
        (maker for mark, maker in _MAKERS.items() if mark in instance.upper()), str(driver.get("ProviderName", ""))
    )
    name = str(driver.get("DriverDesc", "")) or vendor
    service = str(device.get("Service", ""))
    return Gpu(name, vendor, service, str(driver.get("DriverVersion", "")), _kind(vendor, name), _node(device))


def _kind(vendor: str, name: str) -> str:
    """By the name: what is a part of the processor is called "Graphics" or after it, and cards have models."""
    words = name.replace("(TM)", "").replace("(R)", "").split()
    if vendor == "NVIDIA":
        return "discrete"
    if vendor == "AMD":
        card = words[-1:] != ["Graphics"] and {"RX", "Pro", "PRO", "VII", "Instinct"} & set(words)
        return "discrete" if card else "integrated"
    if vendor == "Intel":
        # Arc A770, Arc Pro B50, Iris Xe MAX, Data Center GPU Flex 170; but Arc 140V is a part of a processor.
        model = any(word[0] in "AB" and word[1:].isdecimal() for word in words)
        return "discrete" if model or {"MAX", "Max", "Flex"} & set(words) else "integrated"
    return "integrated" if vendor == "Qualcomm" else ""


def _node(device: Mapping[str, Any]) -> str:
    """``0000:01:00.0`` from a text such as ``@…;PCI bus %1, device %2, function %3;(1,0,0)``."""
    _, _, numbers = str(device.get("LocationInformation", "")).rpartition("(")
    parts = numbers.rstrip(")").split(",")
    if len(parts) != 3 or not all(part.isdecimal() for part in parts):
        return ""
    bus, slot, function = map(int, parts)
    return f"0000:{bus:02x}:{slot:02x}.{function}"


class _System:
    """The calls into Windows."""

    def __init__(self) -> None:
        import ctypes

        self._ctypes: Any = ctypes  # other systems' type stubs lack what only Windows has
        self._kernel = self._ctypes.WinDLL("kernel32", use_last_error=True)
        self._kernel.GetCurrentProcess.restype = ctypes.c_void_p

    def processor_information(self) -> bytes:
        """``GetLogicalProcessorInformationEx`` of everything."""
        size = self._ctypes.c_ulong(0)
        ask = self._kernel.GetLogicalProcessorInformationEx
        ask(_ALL, None, self._ctypes.byref(size))
        buffer = self._ctypes.create_string_buffer(size.value)
        return buffer.raw[: size.value] if ask(_ALL, buffer, self._ctypes.byref(size)) else b""

    def affinity(self) -> tuple[list[int], int]:
        """The processor groups of this process, and its mask."""
        ctypes = self._ctypes
        process = ctypes.c_void_p(self._kernel.GetCurrentProcess())
        count, groups = ctypes.c_ushort(64), (ctypes.c_ushort * 64)()
        if not self._kernel.GetProcessGroupAffinity(process, ctypes.byref(count), groups):
            count.value = 0
        mask, system = ctypes.c_size_t(0), ctypes.c_size_t(0)
        self._kernel.GetProcessAffinityMask(process, ctypes.byref(mask), ctypes.byref(system))
        return list(groups[: count.value]), mask.value

    def memory(self) -> bytes:
        """``GlobalMemoryStatusEx``."""
        buffer = self._ctypes.create_string_buffer(struct.pack("<I", 64), 64)
        self._kernel.GlobalMemoryStatusEx(buffer)
        return bytes(buffer.raw)

    def job(self) -> Job:
        """The innermost job of this process."""
        return Job(self._job(_JOB_LIMITS, 144), self._job(_JOB_CPU_RATE, 8), self._job(_JOB_USAGE, 16))

    def _job(self, kind: int, size: int) -> bytes:
        buffer = self._ctypes.create_string_buffer(size)
        known = self._kernel.QueryInformationJobObject(None, kind, buffer, size, None)
        return bytes(buffer.raw) if known else b""

    def processor(self) -> Processor:
        """The CPU as the registry names it, with the features that Windows knows of."""
        key = _registry("HARDWARE\\DESCRIPTION\\System\\CentralProcessor\\0")
        maker = str(key.get("VendorIdentifier", ""))
        present = self._kernel.IsProcessorFeaturePresent
        features = frozenset(name for number, name in _FEATURES.items() if present(number))
        return Processor(str(key.get("ProcessorNameString", "")).strip(), cpuid.MAKERS.get(maker, maker), features)

    def gpus(self) -> tuple[Gpu, ...]:
        """The display adapters that are there now (the registry also keeps those that were)."""
        found = []
        for instance in self._display_devices():
            device = _registry(f"SYSTEM\\CurrentControlSet\\Enum\\{instance}")
            driver = _registry(f"SYSTEM\\CurrentControlSet\\Control\\Class\\{device.get('Driver', '')}")
            found += [interpret_gpu(instance, device, driver)] if device.get("Driver") else []
        return tuple(found)

    def _display_devices(self) -> list[str]:
        """``CM_Get_Device_ID_List`` of what is present of the class of display adapters."""
        ctypes = self._ctypes
        manager = ctypes.WinDLL("cfgmgr32")
        display = ctypes.c_wchar_p("{4d36e968-e325-11ce-bfc1-08002be10318}")
        flags = ctypes.c_ulong(0x300)  # CM_GETIDLIST_FILTER_PRESENT | CM_GETIDLIST_FILTER_CLASS
        size = ctypes.c_ulong(0)
        if manager.CM_Get_Device_ID_List_SizeW(ctypes.byref(size), display, flags) or not size.value:
            return []
        buffer = ctypes.create_unicode_buffer(size.value)
        failed = manager.CM_Get_Device_ID_ListW(display, buffer, size, flags)
        return [] if failed else [one for one in buffer[: size.value].split("\0") if one]


def _registry(path: str) -> dict[str, Any]:
    """The values of a key of HKEY_LOCAL_MACHINE; nothing where there is no such key."""
    if sys.platform != "win32":
        return {}
    import winreg

    values = {}
    try:
        with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, path) as key:
            for index in range(winreg.QueryInfoKey(key)[1]):
                name, value, _ = winreg.EnumValue(key, index)
                values[name] = value
    except OSError:
        return {}
    return values
