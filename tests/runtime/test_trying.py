"""What is tried before a start and while idle: each thing once, and nothing where all is known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from choice_support import BOTH, CPU_ONLY, MODEL, RTX, ZEN4, chosen, listing, machine, measured
from solofile.runtime import findings, other_load, probe_plan, trying
from solofile.runtime.choice import Known, Offer, Outcome, Wishes
from solofile.runtime.errors import InputError
from solofile.runtime.kernel_path import CRASHED, HUNG, MISSING, OK, UNTRIED
from solofile.runtime.probe_plan import Probe

PC = machine(gpus=(RTX,))
FORCED = Wishes(gpu="vulkan")
CRASH = Outcome(CRASHED, "SIGSEGV")
Answer = Outcome | Callable[[Probe], Outcome]


@pytest.fixture(autouse=True)
def undisturbed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever this machine does besides."""
    monkeypatch.setattr(other_load.Watch, "share", lambda _: 0.0)


class Lab:
    """Answers probes by their keys, and notes what was asked for and said."""

    def __init__(self, **answers: Answer) -> None:
        self.answers = {key.replace("__", ":").replace("_", "-"): answer for key, answer in answers.items()}
        self.asked: list[Probe] = []
        self.said: list[str] = []

    def run(self, probe: Probe) -> Outcome:
        self.asked.append(probe)
        answer = self.answers.get(probe.key, measured(100, 10))
        return answer if isinstance(answer, Outcome) else answer(probe)

    @property
    def keys(self) -> list[str]:
        return [probe.key for probe in self.asked]

    def settle(self, known: Known | None = None, wishes: Wishes | None = None, offer: Offer = CPU_ONLY,
               on: object = None) -> tuple[Known, dict[str, Outcome]]:  # fmt: skip
        return probe_plan.settle(
            on or machine(), MODEL, offer, wishes or Wishes(), known or Known(), self.run, self.said.append
        )


def test_the_first_start_tries_the_variant() -> None:
    lab = Lab()
    known, new = lab.settle()
    (probe,) = lab.asked
    assert (probe.key, probe.variant, probe.timeout, probe.threads) == ("haswell", "haswell", 5, 8)
    assert probe.spec("m")["bytes"] == 8 << 20
    assert new["haswell"].status == OK and new["haswell"].result is None  # too short to compare anything with
    assert new["haswell"].date.count("-") == 2
    assert lab.said == []
    again = Lab()
    assert again.settle(known) == (known, {}) and again.keys == []


def test_a_variant_that_crashes_is_followed_by_the_next() -> None:
    lab = Lab(zen4=CRASH, cooperlake=CRASH, icelake=Outcome("failed", "it computes wrongly"))
    known, new = lab.settle(on=machine(ZEN4))
    assert lab.keys == ["zen4", "cooperlake", "icelake", "cascadelake"]
    assert chosen(machine(ZEN4), known=known).path.variant == "cascadelake"
    assert set(new) == set(lab.keys)


def test_after_a_hang_only_the_plainest() -> None:
    lab = Lab(zen4=Outcome(HUNG, "no answer within 5 s"), x64=Outcome(HUNG, "no answer within 5 s"))
    known, _ = lab.settle(on=machine(ZEN4))
    assert lab.keys == ["zen4", "x64"]
    assert chosen(machine(ZEN4), known=known).path.variant == "zen4"


def test_children_that_cannot_be_started() -> None:
    lab = Lab(**{name: Outcome(UNTRIED, "no child process") for name in ("haswell", "piledriver", "ivybridge")})
    lab.answers |= dict.fromkeys(("sandybridge", "sse42", "x64"), Outcome(UNTRIED, "no child process"))
    known, _ = lab.settle()
    assert chosen(known=known).path.variant == "haswell"


GPU = {"vulkan": listing(("Vulkan0", "RTX", 12.0), ("Vulkan1", "old", 4.0)), "vulkan__Vulkan0": measured(2000, 50)}


def test_gpus_are_listed_then_each_is_tried() -> None:
    lab = Lab(**GPU, vulkan__Vulkan1=CRASH)
    known, new = lab.settle(offer=BOTH, on=PC)
    assert lab.keys == ["haswell", "vulkan", "vulkan:Vulkan0", "vulkan:Vulkan1"]
    assert [one.spec("m")["tokens"] for one in lab.asked[2:]] == [[1, 64, 512, 2048]] * 2
    assert [(one.timeout, one.comparable, one.measure > 0) for one in lab.asked] == [
        (5, True, True), (20, True, False), (20, True, True), (20, True, True),
    ]  # fmt: skip
    assert lab.said[0] == "Trying vulkan on this machine, which takes up to 20 s and is done once."
    assert lab.said[1].startswith("Trying Vulkan0 (vulkan) on this machine")
    assert new["vulkan:Vulkan0"].result is not None and new["vulkan:Vulkan0"].result["quick"]
    assert chosen(PC, BOTH, known=known).path.device == "Vulkan0"
    again = Lab()
    assert again.settle(known, offer=BOTH, on=PC) == (known, {})


def test_for_another_model_speeds_are_measured_again() -> None:
    lab = Lab(**GPU)
    ok = Outcome(OK)
    known = Known({"haswell": ok, "vulkan": GPU["vulkan"], "vulkan:Vulkan0": ok, "vulkan:Vulkan1": CRASH})
    lab.settle(known, offer=BOTH, on=PC)
    assert lab.keys == ["vulkan:Vulkan0", "haswell"]


@pytest.mark.parametrize("wishes", [Wishes(gpu="none"), Wishes(device="none"), Wishes(gpu_layers="0")])
def test_no_gpu_is_tried_when_none_is_wanted(wishes: Wishes) -> None:
    lab = Lab(**GPU)
    lab.settle(wishes=wishes, offer=BOTH, on=PC)
    assert lab.keys == ["haswell"]


def test_on_a_busy_machine_speeds_are_measured_at_a_later_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(other_load.Watch, "share", lambda _: 0.5)
    lab = Lab(**GPU)
    known, _ = lab.settle(offer=BOTH, on=PC)
    choice = chosen(PC, BOTH, known=known)
    assert choice.path.backend == ""
    assert choice.of("gpu").reason.startswith("Vulkan0 (RTX) has not been compared with the CPU: ")
    monkeypatch.setattr(other_load.Watch, "share", lambda _: 0.0)
    again = Lab(**GPU)
    known, _ = again.settle(known, offer=BOTH, on=PC)
    assert again.keys == ["vulkan:Vulkan0", "vulkan:Vulkan1", "haswell"]
    assert chosen(PC, BOTH, known=known).path.backend == "vulkan"


def test_no_gpu_is_tried_where_the_machine_shows_none() -> None:
    lab = Lab(**GPU)
    lab.settle(offer=BOTH)
    assert lab.keys == ["haswell"]


def test_a_gpu_that_crashed_in_use_is_not_tried_unless_forced() -> None:
    known = Known({"haswell": measured(100, 10), "vulkan": GPU["vulkan"]}, crashes={"vulkan:Vulkan0": "crashed"})
    lab = Lab()
    lab.settle(known, offer=BOTH, on=PC)
    assert lab.keys == ["vulkan:Vulkan1"]
    lab.settle(known, FORCED, BOTH, PC)
    assert lab.keys[1:] == ["vulkan:Vulkan0", "vulkan:Vulkan1"]


def test_nothing_is_tried_after_a_crash() -> None:
    lab = Lab()
    lab.settle(Known(crash="SIGSEGV"), FORCED, BOTH, PC)
    assert lab.keys == []


def test_forced_lavapipe() -> None:
    lab = Lab(vulkan=listing(), vulkan_cpu=listing(("Vulkan0", "llvmpipe", 8.0)), vulkan_cpu__Vulkan0=measured(2, 0.55))
    known, _ = lab.settle(wishes=FORCED, offer=BOTH)
    assert lab.keys == ["haswell", "vulkan", "vulkan-cpu", "vulkan-cpu:Vulkan0"]
    assert [one.environment for one in lab.asked] == [(), ()] + 2 * [(("GGML_VK_VISIBLE_DEVICES", "0"),)]
    path = chosen(offer=BOTH, wishes=FORCED, known=known).path
    assert (path.gpu_key, path.environment) == ("vulkan:Vulkan0", (("GGML_VK_VISIBLE_DEVICES", "0"),))
    assert lab.asked[-1].spec("m")["tokens"] == [1, 64]  # its driver would compile for more on the CPU


def test_what_failed_is_tried_again_when_it_is_forced() -> None:
    known = Known({"haswell": CRASH, "sse42": CRASH, "vulkan": CRASH, "vulkan:Vulkan0": CRASH})
    assert set(probe_plan.retried(known, Wishes(kernel="haswell", gpu="Vulkan0")).probes) == {"sse42"}
    lab = Lab(vulkan=CRASH)
    with pytest.raises(InputError, match="vulkan crashed"):
        chosen(PC, BOTH, FORCED, lab.settle(known, FORCED, BOTH, PC)[0])
    assert lab.keys == ["piledriver", "vulkan"]


def test_what_cannot_be_had_is_an_error_at_once() -> None:
    lab = Lab()
    with pytest.raises(InputError, match="build it with --gpu vulkan"):
        lab.settle(wishes=FORCED)
    assert lab.keys == []


def test_a_missing_loader_needs_no_child(tmp_path: Path) -> None:
    lab = Lab()
    offer = Offer(("haswell",), ("vulkan",), {"vulkan": ("libnowhere.so.1",)})
    known, new = lab.settle(offer=offer, on=PC)
    assert lab.keys == ["haswell"]
    assert (new["vulkan"].status, new["vulkan"].detail) == (MISSING, "there is no libnowhere.so.1 here")
    assert "vulkan" not in findings.of_probes(new, "model")["probes"]  # looked for again at the next start
    reason = "vulkan cannot be loaded (there is no libnowhere.so.1 here): install the GPU's driver"
    assert chosen(PC, offer, known=known).of("gpu").reason == reason
    assert trying.lacking(("libnowhere.so.1",), str(tmp_path)) == ["libnowhere.so.1"]


def test_libraries_are_found_as_the_loader_finds_them(tmp_path: Path) -> None:
    assert trying.lacking(("libc.so.6", "libm.so.6")) == []
    for folder in ("etc", "usr/lib", "opt/deep"):
        (tmp_path / folder).mkdir(parents=True)
    listed = b"libcached.so.1\0/opt/deep/libcached.so.1\0libgone.so\0/usr/lib/libgone.so\0"
    (tmp_path / "etc/ld.so.cache").write_bytes(b"glibc-ld.so.cache1.1\0\0" + listed)
    (tmp_path / "usr/lib/libthere.so").touch()
    (tmp_path / "opt/deep/libcached.so.1").touch()
    names = ("libcached.so.1", "libthere.so", "libgone.so", "libcached.so", "libother.so")
    assert trying.lacking(names, str(tmp_path)) == ["libgone.so", "libcached.so", "libother.so"]


def test_windows_looks_in_one_folder(tmp_path: Path) -> None:
    (tmp_path / "vulkan-1.dll").touch()
    assert trying.absent_from(str(tmp_path), ("vulkan-1.dll", "cudart64_12.dll")) == ["cudart64_12.dll"]


def idle(known: Known, wishes: Wishes | None = None, on: object = None, offer: Offer = CPU_ONLY) -> list[Probe]:
    where, wishes = on or machine(ZEN4), wishes or Wishes()
    path = chosen(where, offer, wishes, known).path
    return probe_plan.idle(where, MODEL, offer, wishes, known, path)


def test_while_idle() -> None:
    probes = idle(Known({"zen4": Outcome(OK)}))
    assert [(one.key, one.attention, one.quick) for one in probes] == [
        ("zen4", True, False), ("zen4-norepack", False, False), ("cooperlake", False, False), ("icelake", False, False),
    ]  # fmt: skip
    assert {one.threads for one in probes} == {8}


def test_while_idle_only_what_is_not_known() -> None:
    slow = measured(1, 1)
    known = Known(
        {"zen4": measured(9, 9), "zen4-norepack": slow, "cooperlake": CRASH, "icelake": measured(1, 1, quick=True)},
        crashes={"cascadelake": "crashed"},
    )
    assert [one.key for one in idle(known)] == ["icelake", "cannonlake"]
    assert [one.key for one in idle(known, Wishes(kernel="zen4"))] == []
    assert [one.key for one in idle(Known(), Wishes(kernel="zen4", repack=False))] == ["zen4-norepack"]
    assert idle(known._replace(crash="SIGSEGV")) == []


def test_while_idle_nothing_of_what_a_quota_stops() -> None:
    assert idle(Known(), on=machine(ZEN4)._replace(quota=0.5)) == []
    assert idle(Known(), on=machine(ZEN4)._replace(quota=1.5)) != []


def test_while_idle_nothing_beside_a_gpu_that_has_all() -> None:
    known = Known({"haswell": measured(100, 10), **{key.replace("__", ":"): one for key, one in GPU.items()}})
    assert idle(known, on=PC, offer=BOTH) == []


def test_what_goes_wrong_is_said() -> None:
    lab = Lab(haswell=CRASH)
    lab.settle()
    today = findings.today()
    first = f"haswell crashed when it was tried on {today} (SIGSEGV): --kernel haswell tries it again."
    assert lab.said == [first]
    assert lab.keys == ["haswell", "piledriver"]
    lab = Lab(vulkan=Outcome(HUNG, "no answer within 20 s"))
    lab.settle(offer=BOTH, on=PC)
    assert lab.said[-1] == (
        f"vulkan gave no answer within 20 s when it was tried on {today}: --gpu vulkan tries it again."
    )


def test_what_the_user_insists_on_is_an_error_elsewhere() -> None:
    lab = Lab(haswell=CRASH)
    with pytest.raises(InputError, match="kernel variant haswell crashed when it was tried"):
        lab.settle(wishes=Wishes(kernel="haswell"))
    assert lab.said == []
    lab = Lab(vulkan=CRASH)
    lab.settle(offer=BOTH, wishes=FORCED)
    assert len(lab.said) == 1 and lab.said[0].startswith("Trying vulkan")


def test_a_library_that_is_not_there_is_no_news(tmp_path: Path) -> None:
    said: list[str] = []
    offer = Offer(BOTH.variants, BOTH.gpus, {"vulkan": ("libnowhere.so.1",)})
    probe_plan.settle(PC, MODEL, offer, Wishes(), Known(), Lab().run, said.append, str(tmp_path))
    assert said == []


def test_a_kernel_without_repacking_that_crashes_is_passed_over() -> None:
    lab = Lab(haswell_norepack=CRASH)
    wishes = Wishes(repack=False)
    known, _ = lab.settle(wishes=wishes)
    assert lab.keys == ["haswell-norepack", "piledriver-norepack"]
    assert chosen(wishes=wishes, known=known).path.variant == "piledriver"


def test_the_reason_names_the_better_one_that_failed() -> None:
    known = Known({"haswell": Outcome(CRASHED, "SIGILL", None, "2025-01-31")})
    choice = chosen(offer=Offer(("x64", "haswell")), known=known)
    assert choice.of("kernel").reason == (
        "the fastest of the 2 in this bundle that works here, since haswell crashed when it was tried on 2025-01-31 "
        "(SIGILL): --kernel haswell tries it again; it uses no more than every CPU of its kind has"
    )
