"""GPUs tried in child processes: lavapipe, and a Vulkan loader that is missing, crashes or hangs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from solofile.runtime import gpu_devices, other_load, probe_plan, probing, trying
from solofile.runtime.choice import Known, Offer, Outcome, Wishes, choose
from solofile.runtime.engine import Member
from solofile.runtime.errors import InputError
from solofile.runtime.hardware import Gpu, detect
from solofile.runtime.kernel_path import CRASHED, FAILED, HUNG, MISSING, OK
from solofile.runtime.manifest import Model
from solofile.runtime.probe_plan import Probe
from stub_loader import StubLoader
from tiny_model import write_tiny_model

MACHINE = detect()._replace(gpus=(Gpu("a GPU"),))
OFFER = Offer(("x64",), ("vulkan",), {"vulkan": ("libvulkan.so.1",)})
FORCED = Wishes(gpu="vulkan")

Settle = Callable[..., tuple[Known, dict[str, Outcome]]]


@pytest.fixture(autouse=True)
def undisturbed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever this machine does besides."""
    monkeypatch.setattr(other_load.Watch, "share", lambda _: 0.0)


@pytest.fixture(scope="module")
def member(tmp_path_factory: pytest.TempPathFactory) -> Member:
    path = write_tiny_model(tmp_path_factory.mktemp("model") / "tiny.gguf")
    return Member("models/tiny.gguf", path, 0, path.stat().st_size)


@pytest.fixture(scope="module")
def model(member: Member) -> Model:
    return Model(member.name, "tiny", "llama", 1_000_000, "F32", 2048, True, None, member.size)


@pytest.fixture
def settle(vulkan_library: Path, member: Member, model: Model) -> Settle:
    """Tries what a start would try, with ``prefix`` before the command of each child."""
    libraries = {"": "libggml-cpu-x64.so", "vulkan": "libggml-vulkan.so"}

    def settle(
        wishes: Wishes | None = None, prefix: list[str] | None = None, timeout: float = 60, known: Known | None = None
    ) -> tuple[Known, dict[str, Outcome]]:
        def run(probe: Probe) -> Outcome:
            names = dict.fromkeys((libraries[""], libraries[probe.backend]))
            job = probing.job(probe, vulkan_library.parent, [vulkan_library.parent / name for name in names], member)
            return probing.run(job, timeout, command=[*(prefix or []), sys.executable, "-m", "solofile.runtime"])

        return probe_plan.settle(MACHINE, model, OFFER, wishes or Wishes(), known or Known(), run, lambda _: None)

    return settle


@pytest.mark.usefixtures("lavapipe")
def test_lavapipe_is_not_shown_unless_it_is_forced(settle: Settle, model: Model) -> None:
    known, new = settle()
    assert list(new) == ["x64", "vulkan"]
    assert new["vulkan"].status == OK
    devices = gpu_devices.listed(new["vulkan"])
    if devices:
        pytest.skip("there is a GPU here")
    choice = choose(MACHINE, model, OFFER, Wishes(), known)
    assert choice.of("gpu").reason.startswith("vulkan finds no GPU: install its driver")


@pytest.mark.usefixtures("lavapipe")
def test_lavapipe_forced(settle: Settle, model: Model) -> None:
    known, new = settle(FORCED)
    assert list(new) == ["x64", "vulkan", "vulkan-cpu", "vulkan-cpu:Vulkan0"]
    (device,) = gpu_devices.listed(new["vulkan-cpu"])
    assert "llvmpipe" in device["description"]
    probe = new["vulkan-cpu:Vulkan0"]
    assert probe.status == OK, probe
    assert probe.result is not None and probe.result["seconds"]["1"] > 0
    path = choose(MACHINE, model, OFFER, FORCED, known).path
    assert (path.gpu_key, path.environment) == ("vulkan:Vulkan0", (("GGML_VK_VISIBLE_DEVICES", "0"),))
    unforced = choose(MACHINE, model, OFFER, Wishes(), known)
    assert (unforced.path.backend, unforced.of("gpu").value) == ("", "none")
    assert settle(FORCED, known=known) == (known, {})


def test_no_loader(settle: Settle, model: Model, no_loader: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trying, "lacking", lambda *_: [])  # as if the system's list of libraries were out of date
    known, new = settle(prefix=no_loader)
    assert (new["vulkan"].status, new["x64"].status) == (MISSING, OK)
    assert "libvulkan.so.1: cannot open shared object file" in new["vulkan"].detail
    assert choose(MACHINE, model, OFFER, Wishes(), known).of("gpu").reason.startswith("vulkan cannot be loaded (lib")


@pytest.mark.usefixtures("lavapipe")
def test_no_drivers(settle: Settle, model: Model, no_drivers: list[str]) -> None:
    known, new = settle(FORCED, no_drivers)
    assert new["vulkan"].status in (OK, FAILED), new
    with pytest.raises(InputError, match=r"^The GPU vulkan cannot be used, since vulkan "):
        choose(MACHINE, model, OFFER, FORCED, known)


@pytest.mark.parametrize(
    ("when", "what", "key", "status", "detail"),
    [
        ("load", "crash", "vulkan", CRASHED, "SIGSEGV"),
        ("load", "hang", "vulkan", HUNG, "no answer within 8 s"),
        ("create", "crash", "vulkan", CRASHED, "SIGSEGV"),
        ("create", "abort", "vulkan", CRASHED, "SIGABRT"),
        ("create", "hang", "vulkan", HUNG, "no answer within 8 s"),
        ("submit", "crash", "vulkan-cpu:Vulkan0", CRASHED, "SIGSEGV"),
        ("submit", "hang", "vulkan-cpu:Vulkan0", HUNG, "no answer within 8 s"),
        ("submit", "fail", "vulkan-cpu:Vulkan0", (CRASHED, FAILED), ""),
    ],
)
def test_a_loader_that_misbehaves(
    settle: Settle, model: Model, stub_loader: StubLoader, when: str, what: str, key: str,
    status: str | tuple[str, ...], detail: str,
) -> None:  # fmt: skip
    stub_loader.tell(when, what)
    known, new = settle(FORCED, stub_loader.prefix, 8)
    assert new["x64"].status == OK
    assert new[key].status in status, new
    assert detail in new[key].detail
    assert choose(MACHINE, model, OFFER, Wishes(), known).path.backend == ""
    with pytest.raises(
        InputError, match=r"^The GPU vulkan cannot be used, since .*(crashed|no answer|failed).* when it was"
    ):
        choose(MACHINE, model, OFFER, FORCED, known)
    stub_loader.calm()
    again, new = settle(FORCED, stub_loader.prefix, 60, known)
    assert new[key].status == OK  # what is forced is tried again
    assert choose(MACHINE, model, OFFER, FORCED, again).path.device == "Vulkan0"
