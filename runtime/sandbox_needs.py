"""What a start needs of the machine once its model is about to load: a pure decision, made of names of paths.

Everything else is out of reach from then on. What the user names on the command line is added: a file or folder that
an option reads or writes is opened to it, and no more of its surroundings.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import NamedTuple

    from solofile.runtime.options import Given
    from solofile.runtime.server_settings import ServerSettings
else:
    from solofile.runtime.record import NamedTuple

SYSTEM = (
    *("/lib", "/lib32", "/lib64", "/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/local/lib", "/usr/libexec"),
    *("/nix/store", "/gnu/store", "/run/current-system", "/etc/ld.so.cache"),
    *("/etc/localtime", "/usr/share/zoneinfo", "/etc/passwd", "/etc/group", "/etc/nsswitch.conf", "/etc/mime.types"),
    *("/etc/ssl/openssl.cnf", "/etc/pki/tls/openssl.cnf", "/etc/crypto-policies"),
    *("/dev/urandom", "/dev/random", "/dev/zero"),
    *("/sys/devices", "/sys/fs/cgroup", "/sys/kernel/mm", "/sys/dev", "/sys/class", "/sys/bus"),
)
"""Read by the C library, by Python, and by what looks at the hardware."""

KERNEL = (
    *("/proc/self", "/proc/meminfo", "/proc/stat", "/proc/cpuinfo", "/proc/loadavg", "/proc/locks"),
    *("/proc/filesystems", "/proc/sys", "/proc/pressure", "/proc/uptime", "/proc/version"),
)
"""The same of /proc, other processes' left out."""

NAMES = ("/etc/hosts", "/etc/host.conf", "/etc/resolv.conf", "/run/systemd/resolve", "/etc/gai.conf")
"""Read to find the address of a peer that the user names."""

WRITABLE = ("/dev/null", "/dev/full")

GPU_READ = (
    *("/usr", "/opt", "/etc/vulkan", "/etc/xdg", "/etc/OpenCL", "/etc/drirc", "/etc/glvnd", "/etc/egl", "/etc/nvidia"),
    *("/run/opengl-driver", "/run/udev", "/var/lib/dkms", "/sys"),
)
GPU_KERNEL = ("/proc",)
GPU_DEVICES = ("/dev/dri", "/dev/kfd", "/dev/dxg", "/dev/udmabuf", "/dev/mali0", "/dev/shm")

READ_OPTIONS = frozenset({
    "--lora", "--lora-scaled", "--control-vector", "--control-vector-scaled", "--grammar-file", "-jf", "-lcs", "-mm",
    "--ui-config-file", "--chat-template-file", "--spec-draft-model", "--media-path",
})  # fmt: skip
"""Options of the core that name what it reads."""

WRITE_OPTIONS = frozenset({"--log-file", "-lcd"})
"""Those that name a file that it writes."""

FOLDER_OPTIONS = frozenset({"--slot-save-path", "--log-prompts-dir"})
"""Those that name a folder in which it makes files."""

_SCALED = frozenset({"--lora-scaled", "--control-vector-scaled"})


class Needs(NamedTuple):
    """Paths by what is done with them: read, written to where they are there, files made in them.

    ``kept`` are read as well and are of /proc; ``devices`` of GPUs; ``ports`` are those of peers that the user names.
    """

    read: tuple[str, ...]
    kept: tuple[str, ...] = KERNEL
    write: tuple[str, ...] = WRITABLE
    make: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    ports: tuple[int, ...] = ()

    @property
    def gpu(self) -> bool:
        """Are drivers of a GPU at work?"""
        return bool(self.devices)


class Place(NamedTuple):
    """Where the bundle's own things are: the files that are read in place, the program's folders, the cache."""

    files: tuple[str, ...]
    program: tuple[str, ...]
    cache: str


def of_child(place: Place, *, gpu: bool) -> Needs:
    """What a child process needs that measures: nothing that lasts, but what drivers compile."""
    own = (*place.files, *place.program, *(f"{place.cache}/{name}" for name in ("kernels", "models")))
    if not gpu:
        return Needs((*SYSTEM, *own))
    return Needs(
        (*SYSTEM, *GPU_READ, *own), GPU_KERNEL, WRITABLE, (f"{place.cache}/drivers",), devices=GPU_DEVICES
    )  # fmt: skip


def of_start(
    place: Place, given: Iterable[Given], server: ServerSettings | None, *, gpu: bool, copies: bool = False,
    works: bool = False, ports: tuple[int, ...] = (),
) -> Needs:  # fmt: skip
    """What a start needs. ``copies``: it puts a copy of the model into the cache. ``works``: for other machines, whose
    weights it keeps there. ``ports``: where its workers listen, which llama.cpp is connected to while it loads."""
    base = of_child(place, gpu=gpu)
    named = list(given)
    own = ("state", *(("models",) if copies else ()), *(("rpc",) if works else ()))
    make = (*(f"{place.cache}/{name}" for name in own), *_values(named, FOLDER_OPTIONS))
    return base._replace(
        read=(*base.read, *_values(named, READ_OPTIONS), *_of_server(server), *(NAMES if ports else ())),
        write=(*base.write, *_values(named, WRITE_OPTIONS)),
        make=(*base.make, *make),
        ports=ports,
    )


def _values(given: Iterable[Given], keys: frozenset[str]) -> Iterator[str]:
    for one in given:
        if one.option.key in keys:
            yield from _paths(one.option.key, one.values[0])


def _paths(key: str, value: str) -> Iterator[str]:
    """llama.cpp takes several files with commas, and a scale behind a colon; a name may hold a comma all the same."""
    yield value
    for item in value.split(","):
        yield item.rpartition(":")[0] if key in _SCALED else item


def _of_server(server: ServerSettings | None) -> Iterator[str]:
    if server is not None:
        named = (server.static_folder, server.ssl_cert_file, server.ssl_key_file)
        yield from (str(one) for one in named if one is not None)
