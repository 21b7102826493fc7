"""What this machine has, as far as choosing a kernel path and a number of threads needs it.

``detect`` reads the system; everything else here is a pure function of what it read. On systems other than Linux the
features stay empty for now, which means: only the kernels that run everywhere.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from typing import NamedTuple

_CPUINFO_BYTES = 16_384
_MACHINES = {"amd64": "x86_64", "x64": "x86_64", "arm64": "aarch64"}
_SYSTEMS = {"linux": "linux", "win32": "windows", "darwin": "macos"}


class Hardware(NamedTuple):
    """This machine.

    ``features`` are the names that Linux gives CPU features (``avx2``, ``avx512vbmi``, …), already without those that
    the system does not support. ``allowed`` counts the CPUs that this process may run on, ``cores`` the physical cores
    behind them (of the fast kind, where there are two), ``quota`` is a container's limit in CPUs, None without one.
    ``memory`` are the bytes that can be had without swapping, None where the system does not say.
    """

    target: str
    cpu: str
    features: frozenset[str]
    allowed: int
    cores: int
    quota: float | None
    memory: int | None = None

    @property
    def threads(self) -> int:
        """Threads that compute: more than there are cores to run them make each other wait."""
        limit = self.allowed if self.quota is None else min(self.allowed, int(self.quota))
        return max(1, min(self.cores, limit))


def detect(root: str = "/") -> Hardware:
    """Read this machine; ``root`` stands for ``/`` so that tests can show another one's ``proc`` and ``sys``."""
    cpu, features = parse_cpuinfo(_read(root, "proc/cpuinfo", _CPUINFO_BYTES))
    allowed = allowed_cpus()
    cores, memory = count_cores(allowed, root), read_memory(root)
    return Hardware(target(), cpu, features, len(allowed), cores, read_quota(root), memory)


def target() -> str:
    """The name of the system that this program was made for, such as ``linux-x86_64``."""
    name = os.uname().machine if hasattr(os, "uname") else os.environ.get("PROCESSOR_ARCHITECTURE", "")
    machine = name.lower()
    return f"{_SYSTEMS.get(sys.platform, sys.platform)}-{_MACHINES.get(machine, machine)}"


def allowed_cpus() -> frozenset[int]:
    """The numbers of the CPUs that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return frozenset(os.sched_getaffinity(0))
    return frozenset(range(os.cpu_count() or 1))


def parse_cpuinfo(text: str) -> tuple[str, frozenset[str]]:
    """The name and the features of the first processor in ``/proc/cpuinfo``."""
    fields = {}
    for line in text.split("\n\n", 1)[0].splitlines():
        key, colon, value = line.partition(":")
        if colon:
            fields[key.strip()] = value.strip()
    return fields.get("model name", ""), frozenset(fields.get("flags", fields.get("Features", "")).split())


def count_cores(allowed: Iterable[int], root: str = "/") -> int:
    """Physical cores behind the ``allowed`` CPUs.

    Two hardware threads of one core count once; where there are fast and slow cores, only the fast ones count (if any
    is allowed), since every layer waits for the slowest thread.
    """
    cpus = frozenset(allowed)
    fast = parse_cpu_list(_read(root, "sys/devices/cpu_core/cpus"))
    cpus = cpus & fast or cpus
    siblings = {_read(root, f"sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list") for cpu in cpus}
    # An empty text means that the system does not say; then each CPU counts.
    return len(siblings) if siblings and "" not in siblings else len(cpus)


def parse_cpu_list(text: str) -> frozenset[int]:
    """Read a list such as ``0-3,8`` of Linux; what is no such list gives nothing."""
    cpus: set[int] = set()
    for span in text.strip().split(","):
        first, _, last = span.partition("-")
        if first.isdigit() and (last or first).isdigit():
            cpus.update(range(int(first), int(last or first) + 1))
    return frozenset(cpus)


def read_quota(root: str = "/") -> float | None:
    """How many CPUs the control groups of this process allow it at most, None when they set no limit."""
    limits = []
    for first, folder in _control_groups(root, "cpu"):
        if first:
            quota, period = (_read(root, f"{folder}/cpu.cfs_{name}_us") for name in ("quota", "period"))
            limits.append(parse_cpu_max(f"{quota} {period}"))
        else:
            limits.append(parse_cpu_max(_read(root, f"{folder}/cpu.max")))
    return min((limit for limit in limits if limit is not None), default=None)


def read_memory(root: str = "/") -> int | None:
    """Bytes of memory that can be had without swapping, of the machine or of the control groups of this process."""
    _, _, rest = _read(root, "proc/meminfo").partition("MemAvailable:")
    words = rest.split(None, 1)
    amounts = [int(words[0]) * 1024] if words and words[0].isdigit() else []
    for first, folder in _control_groups(root, "memory"):
        text = _read(root, f"{folder}/{'memory.limit_in_bytes' if first else 'memory.max'}").strip()
        amounts += [int(text)] if text.isdigit() else []
    return min(amounts, default=None)


def _control_groups(root: str, controller: str) -> Iterator[tuple[bool, str]]:
    """Yield (of the first kind?, folder) of each control group of this process that may limit something."""
    for line in _read(root, "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if not controllers or controller in controllers.split(","):
            base = f"sys/fs/cgroup/{controllers}" if controllers else "sys/fs/cgroup"
            yield from ((bool(controllers), base + folder) for folder in _ancestors(path))


def parse_cpu_max(text: str) -> float | None:
    """Read ``200000 100000`` (2 CPUs) or ``max 100000`` (no limit), microseconds of a period."""
    words = text.split()
    if len(words) != 2 or not words[0].isdigit() or not words[1].isdigit() or int(words[1]) == 0:
        return None
    return int(words[0]) / int(words[1])


def _ancestors(path: str) -> Iterable[str]:
    """Yield ``/a/b``, ``/a`` and the empty path: a limit on any counts, and a container sees its own as root."""
    while path.strip("/"):
        yield path.rstrip("/")
        path = path.rstrip("/").rpartition("/")[0]
    yield ""


def _read(root: str, path: str, limit: int = 4096) -> str:
    """The start of a small system file, or an empty text. One read: ``/proc/cpuinfo`` of a large machine is slow."""
    try:
        descriptor = os.open(f"{root.rstrip('/')}/{path}", os.O_RDONLY)
    except OSError:
        return ""
    try:
        return os.read(descriptor, limit).decode("utf-8", "replace")
    except OSError:
        return ""
    finally:
        os.close(descriptor)
