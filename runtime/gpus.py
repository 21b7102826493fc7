"""GPUs on Linux, as ``/sys`` lists them: no library of theirs is loaded, so nothing of theirs can crash.

What listing finds need not work for this process (a container may lack the device files, a driver its other half): that
only trying tells.
"""

from __future__ import annotations

from collections.abc import Iterator

from solofile.runtime.hardware import Gpu
from solofile.runtime.system_files import link_name, names, parse_fields, read, read_bytes

_PCI = "sys/bus/pci/devices"
_DRM = "sys/class/drm"

MAKERS = {
    "10de": "NVIDIA", "1002": "AMD", "8086": "Intel", "1414": "Microsoft", "1af4": "virtio", "1ed5": "Moore Threads",
    "1d17": "Zhaoxin", "14c3": "MediaTek", "106b": "Apple",
}  # fmt: skip

_SCREENS = frozenset({"1a03", "102b", "1013", "1234", "1b36", "15ad", "18ca", "19e5", "1d0f", "80ee"})
"""Makers of controllers that show a picture and compute nothing: those of servers' boards and of virtual machines
(ASPEED, Matrox, Cirrus, QEMU, QXL, VMware, XGI, Huawei, Amazon, VirtualBox)."""

_DISPLAY, _ACCELERATOR, _SECURITY = "0x03", "0x1200", "0x1080"  # classes of PCI devices

_PLATFORM = {
    "v3d": ("Broadcom", "VideoCore"), "vc4": ("Broadcom", "VideoCore"), "panfrost": ("ARM", "Mali"),
    "panthor": ("ARM", "Mali"), "lima": ("ARM", "Mali"), "msm": ("Qualcomm", "Adreno"),
    "msm_mdss": ("Qualcomm", "Adreno"), "msm-mdss": ("Qualcomm", "Adreno"), "msm_dpu": ("Qualcomm", "Adreno"),
    "adreno": ("Qualcomm", "Adreno"), "etnaviv": ("Vivante", "GPU"), "etnaviv-gpu": ("Vivante", "GPU"),
    "asahi": ("Apple", "GPU"), "powervr": ("Imagination", "PowerVR"), "pvrsrvkm": ("Imagination", "PowerVR"),
    "tegra-drm": ("NVIDIA", "Tegra"), "drm": ("NVIDIA", "Tegra"), "tegra-host1x": ("NVIDIA", "Tegra"),
}  # fmt: skip
"""Drivers of GPUs that are a part of the processor, and whose they are."""

_FIRST_BUS = {"Intel": ":00:02", "AMD": ":00:01"}

_ID_FILES = ("usr/share/misc/pci.ids", "usr/share/hwdata/pci.ids", "usr/share/pci.ids")


def read_gpus(root: str = "/") -> tuple[Gpu, ...]:
    """Every GPU that the system knows of, those on the PCI bus first."""
    return (*_pci_gpus(root), *(tuple(_platform_gpus(root)) or _android_gpus(root)))


def _pci_gpus(root: str) -> Iterator[Gpu]:
    ids: bytes | None = None
    for node in names(root, _PCI):
        folder = f"{_PCI}/{node}"
        kind = read(root, f"{folder}/class")
        if not kind.startswith((_DISPLAY, _ACCELERATOR)):
            continue
        maker, device = (read(root, f"{folder}/{name}").strip().removeprefix("0x") for name in ("vendor", "device"))
        # AMD's large accelerators say that they are no displays; a virtual function is a share of a GPU listed already.
        known = maker not in _SCREENS if kind.startswith(_DISPLAY) else maker == "1002"
        if not known or link_name(root, f"{folder}/physfn"):
            continue
        driver = link_name(root, f"{folder}/driver")
        name = _own_name(root, node, driver)
        if not name:
            ids = _read_ids(root) if ids is None else ids
            name = pci_name(ids, maker, device)
        vendor = MAKERS.get(maker, f"PCI {maker}")
        version = driver_version(root, driver) if driver else ""
        yield Gpu(full_name(vendor, name, device), vendor, driver, version, _place(root, node, vendor), node)


def _own_name(root: str, node: str, driver: str) -> str:
    """The name that the driver knows, where it tells it."""
    if driver == "nvidia":
        fields = parse_fields(read(root, f"proc/driver/nvidia/gpus/{node}/information"))
        return fields.get("Model", "").removeprefix("NVIDIA ")
    if driver == "dxgkrnl":
        return "GPU of the Windows host"
    return read(root, f"{_PCI}/{node}/product_name").strip() if driver == "amdgpu" else ""


def full_name(vendor: str, name: str, device: str) -> str:
    """Whose it is and what; without a name its number."""
    if not name:
        return f"{vendor} GPU {device}"
    return name if name.startswith(vendor) else f"{vendor} {name}"


def _place(root: str, node: str, vendor: str) -> str:
    """Is it a card of its own? Those that are a part of the processor have always had the same place on its first
    bus; AMD's newer ones share a slot with the processor's security processor instead."""
    if vendor not in ("NVIDIA", *_FIRST_BUS):
        return ""
    slot, _, _ = node.rpartition(".")
    beside = (f"{_PCI}/{slot}.{function}/class" for function in range(1, 8))
    inside = slot.endswith(_FIRST_BUS.get(vendor, "none")) or (
        vendor == "AMD" and any(read(root, path).startswith(_SECURITY) for path in beside)
    )
    return "integrated" if inside else "discrete"


def driver_version(root: str, driver: str) -> str:
    """The version of a kernel driver: its own, else that of the kernel which it is a part of."""
    if driver == "dxgkrnl":  # WSL: the driver is the one of Windows, whose files it shares
        return " ".join(names(root, "usr/lib/wsl/drivers"))
    own = parse_nvidia_version(read(root, "proc/driver/nvidia/version")) if driver == "nvidia" else ""
    module = driver.replace("-", "_")
    return own or read(root, f"sys/module/{module}/version").strip() or read(root, "proc/sys/kernel/osrelease").strip()


def parse_nvidia_version(text: str) -> str:
    """The first word of numbers with dots in ``NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.183.01  Sun …``."""
    words = text.partition("\n")[0].split()
    return next((word for word in words if "." in word and word.replace(".", "").isdecimal()), "")


def _read_ids(root: str) -> bytes:
    """The list of PCI devices' names, where the machine has one (1.5 MB: read when nothing else tells the name)."""
    return next((data for path in _ID_FILES if (data := read_bytes(root, path, 1 << 24, whole=True))), b"")


def pci_name(ids: bytes, maker: str, device: str) -> str:
    """The name of a device in ``pci.ids`` (lines ``10de  Maker``, below it ``<tab>2504  GA106 [GeForce RTX 3060]``):
    what it is sold as, in brackets, else what it is called."""
    start = ids.find(f"\n{maker}  ".encode())
    mark = f"\n\t{device}  ".encode()
    found = ids.find(mark, start + 1) if start >= 0 else -1
    if found < 0:
        return ""
    between = ids[start + 1 : found + 2]
    # Only lines of this maker's devices and remarks are to be in between. Counting is far faster than reading lines.
    if between.count(b"\n") != between.count(b"\n\t") + between.count(b"\n#"):
        return ""
    rest = ids[found + len(mark) : found + len(mark) + 256]
    line = rest.partition(b"\n")[0].decode("utf-8", "replace").strip()
    _, bracket, sold = line.partition("[")
    return sold.partition("]")[0] if bracket else line


def _platform_gpus(root: str) -> Iterator[Gpu]:
    """GPUs that are no PCI devices but parts of the processor."""
    for card in names(root, _DRM):
        if not card.startswith("renderD"):
            continue
        folder = f"{_DRM}/{card}/device"
        driver = link_name(root, f"{folder}/driver")
        if link_name(root, f"{folder}/subsystem") in ("platform", "host1x") and driver in _PLATFORM:
            vendor, family = _PLATFORM[driver]
            model = read(root, f"{folder}/of_node/compatible").split("\0", 1)[0]
            name = f"{vendor} {family} ({model})" if model else f"{vendor} {family}"
            node = link_name(root, folder)
            yield Gpu(name, vendor, driver, driver_version(root, driver), "integrated", node)


def _android_gpus(root: str) -> Iterator[Gpu]:
    """Those whose drivers are the makers' own, as Android's kernels have them."""
    for vendor, driver, path in (
        ("Qualcomm", "kgsl", "sys/class/kgsl/kgsl-3d0/gpu_model"),
        ("ARM", "mali", "sys/class/misc/mali0/device/gpuinfo"),
    ):
        # "Mali-G610 4 cores r0p0 0xA867", "Adreno740v2"
        words = read(root, path).split()
        if words:
            yield Gpu(f"{vendor} {words[0]}", vendor, driver, driver_version(root, driver), "integrated", driver)
