"""What is measured is kept, whatever becomes of the file, and never in the way of a start."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from choice_support import listing, machine, measured
from solofile.runtime import findings, remembered
from solofile.runtime.kernel_path import KernelPath, Known, Outcome

MODEL = "0123456789abcdef"
PROBES = {
    "haswell": measured(100, 10),
    "vulkan": listing(("Vulkan0", "RTX", 12.0)),
    "vulkan:Vulkan0": Outcome("crashed", "SIGSEGV", None, "2025-01-31"),
    "x64": Outcome("ok", "", None, "2025-01-31"),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return remembered.file_path(tmp_path, "0011223344556677", "f" * 64)


def kept(path: Path, **more: Any) -> Known:
    document, sentence = remembered.read(path)
    assert sentence == ""
    return remembered.known(document, MODEL, **more)


def add(path: Path, changes: dict[str, Any]) -> None:
    assert remembered.add(path, changes) == ""


def test_nothing_yet(path: Path) -> None:
    assert path.name == "choice-0011223344556677-ffffffffffffffff.json"
    assert kept(path) == Known()


def test_probes(path: Path) -> None:
    add(path, findings.of_probes(PROBES, MODEL))
    assert kept(path).probes == PROBES
    assert oct(path.parent.stat().st_mode & 0o777) == "0o700"


def test_speeds_are_the_models_and_the_rest_is_the_machines(path: Path) -> None:
    add(path, findings.of_probes(PROBES, MODEL))
    document, _ = remembered.read(path)
    other = remembered.known(document, "another").probes
    assert other == {**PROBES, "haswell": PROBES["haswell"]._replace(result=None)}


def test_bad_luck_is_not_remembered() -> None:
    outcomes = {
        "haswell": Outcome("hung", "no answer within 5 s"), "haswell-norepack": Outcome("hung", "no answer within 5 s"),
        "x64": Outcome("untried", "no child process"), "vulkan": Outcome("hung", "no answer within 20 s"),
    }  # fmt: skip
    assert list(findings.of_probes(outcomes, MODEL)["probes"]) == ["vulkan"]
    assert findings.of_probes({}, MODEL) == {}


def test_a_newer_outcome_replaces_the_older_as_a_whole(path: Path) -> None:
    add(path, findings.of_probes({"haswell": Outcome("crashed", "SIGILL", None, "2025-01-30")}, MODEL))
    add(path, findings.of_probes({"haswell": Outcome("ok", "", None, "2025-01-31")}, MODEL))
    assert kept(path).probes == {"haswell": Outcome("ok", "", None, "2025-01-31")}


def test_a_calibration(path: Path) -> None:
    result = {"interrupted": False, "decode": {"1": 5.0, "2": 9.0}, "prompt": {"2": 50.0}}
    add(path, findings.of_calibration(result, MODEL, KernelPath("haswell", repack=False)))
    calibration = kept(path).calibration
    assert calibration is not None
    assert calibration.items() >= {**result, "path": "haswell-norepack"}.items()
    add(path, findings.of_calibration({"decode": {"2": 8.0}}, MODEL, KernelPath("haswell")))
    assert (kept(path).calibration or {})["decode"] == {"2": 8.0}
    assert findings.of_calibration({"interrupted": True, "decode": {"1": 5.0}}, MODEL, KernelPath("haswell")) == {}
    assert findings.of_calibration(result, MODEL, KernelPath("haswell"), others=0.4) == {}


def test_a_crash(path: Path) -> None:
    add(path, findings.of_crash("vulkan:Vulkan0", "crashed (SIGSEGV)", "4711"))
    today = findings.today()
    assert kept(path).crashes == {"vulkan:Vulkan0": f"crashed (SIGSEGV) on {today}"}
    assert kept(path, launcher="4711").ran == ""
    assert kept(path, launcher="4711", crash="SIGABRT").ran == "vulkan:Vulkan0"
    assert kept(path, launcher="4712", crash="SIGABRT").ran == ""


def test_whose_fault_a_crash_is() -> None:
    assert findings.of_crash("haswell", "crashed (SIGSEGV)", "1", signal="SIGSEGV") == {}
    assert findings.of_crash("", "crashed (SIGILL)", "1", signal="SIGILL") == {}
    assert set(findings.of_crash("haswell", "crashed (SIGILL)", "1", signal="SIGILL")["crashes"]) == {"haswell"}
    assert set(findings.of_crash("vulkan:Vulkan0", "crashed (SIGSEGV)", "1", signal="SIGSEGV")["crashes"]) == {
        "vulkan:Vulkan0"
    }


def test_calibrating_anew_forgets_all_but_crashes(path: Path) -> None:
    add(path, findings.of_probes(PROBES, MODEL))
    add(path, findings.of_crash("vulkan:Vulkan0", "crashed (SIGSEGV)", "1"))
    known = kept(path, anew=True)
    assert (known.probes, known.calibration, len(known.crashes)) == ({}, None, 1)


def test_what_others_keep_stays(path: Path) -> None:
    add(path, {"models": {MODEL: {"estimate": {"kv": 5, "old": 1}}}})
    add(path, findings.of_probes(PROBES, MODEL))
    add(path, {"models": {MODEL: {"estimate": {"kv": 6, "old": None}, "speed": 30.5}}})
    document, _ = remembered.read(path)
    assert document["models"][MODEL]["estimate"] == {"kv": 6}
    assert document["models"][MODEL]["speed"] == 30.5


def test_use_is_noted_once_a_day(path: Path) -> None:
    add(path, findings.of_use({}, MODEL, machine()))
    document, _ = remembered.read(path)
    assert document["machine"] == {"cpu": "A CPU", "cores": 8}
    assert findings.of_use(document, MODEL, machine()) == {}
    assert findings.of_use(document, "another", machine()) != {}


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "null", "[]", "7", '"x"', "\0\0\0", "\xff\xfe", "[" * 100_000, '{"format": 2}', '{"format": "1"}',
        '{"probes": {}}', '{"format": 1, "more": "' + "x" * (1 << 20) + '"}',
        *(
            '{"format": 1, ' + section + "}"
            for section in (
                '"probes": []', '"probes": {"x64": 5}', '"probes": {"x64": {}}', '"probes": {"x64": {"status": 0}}',
                '"probes": {"x64": {"status": []}}', '"probes": {"x64": {"status": "ok", "date": 5}}',
                '"probes": {"x64": {"status": "ok", "result": []}}', '"models": {"a": []}', '"models": 5',
                '"models": {"a": {"probes": 5}}', '"models": {"a": {"calibration": 5}}', '"crashes": {"a": "b"}',
                '"crashes": {"a": {"what": 5}}', '"crashes": null',
            )
        ),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_used_is_made_anew(path: Path, text: str) -> None:
    path.parent.mkdir()
    path.write_bytes(text.encode("latin-1"))
    document, sentence = remembered.read(path)
    assert (document, sentence) == (
        {},
        f"{path} is not as it was written, so what earlier starts measured is found out again.",
    )
    add(path, findings.of_probes(PROBES, MODEL))
    assert kept(path).probes == PROBES


@pytest.mark.parametrize(
    ("one", "other"),
    [('"ok"', '"hung"'), ("Vulkan0", "Vulkan7"), ('"format": 1', '"format": 1, "more": 0'), ("\n", "")],
)
def test_any_change_shows(path: Path, one: str, other: str) -> None:
    add(path, findings.of_probes(PROBES, MODEL))
    text = path.read_text()
    path.write_text(text.replace(one, other, 1))
    assert (remembered.read(path)[1] == "") is (one == "\n")  # but for what is only its looks
    path.write_text(text)
    assert kept(path).probes == PROBES


def test_odd_numbers_do_no_harm(path: Path) -> None:
    from choice_support import chosen

    seconds = {"1": float("nan"), "64": -1, "x": None}
    outcome = {"seconds": seconds, "attention": 5, "repacked": "much"}
    path.parent.mkdir()
    document = {
        "format": 1,
        "probes": {"haswell": {"status": "ok"}, "vulkan": {"status": "ok", "result": {"devices": [5, {"name": 3}]}}},
        "models": {MODEL: {"probes": {"haswell": outcome}, "calibration": {"path": "haswell", "decode": {"2": "x"}}}},
    }
    path.write_text(json.dumps({**document, "check": remembered._checksum(document)}))
    assert chosen(known=kept(path)).path.variant == "haswell"


@pytest.mark.parametrize("kind", ["folder", "link", "pipe"])
def test_what_is_no_file(path: Path, tmp_path: Path, kind: str) -> None:
    path.parent.mkdir()
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        (tmp_path / "other").write_text('{"format": 1}')
        path.symlink_to(tmp_path / "other")
    document, sentence = remembered.read(path)
    assert document == {} and sentence.endswith(".")
    sentence = remembered.add(path, findings.of_probes(PROBES, MODEL))
    assert bool(sentence) is (kind == "folder")
    assert (tmp_path / "other").read_text() == '{"format": 1}' if kind == "link" else True


def test_a_cache_that_cannot_be_written() -> None:
    path = remembered.file_path(Path("/proc/self"), "0" * 16, "f" * 64)
    sentence = remembered.add(path, findings.of_probes(PROBES, MODEL))
    assert sentence.startswith(f"What was measured cannot be kept in {path} (")
    assert remembered.read(path) == ({}, "")


def test_what_is_no_number_is_not_written(path: Path) -> None:
    sentence = remembered.add(path, {"models": {MODEL: {"speed": float("nan")}}})
    assert sentence.startswith("What was measured cannot be kept")
    assert [one.name for one in path.parent.iterdir() if not one.name.endswith(".lock")] == []


def test_the_file_stays_small(path: Path) -> None:
    for number in range(remembered.KEPT_MODELS + 4):
        model = {f"{number:016x}": {"used": f"2025-01-{number + 1:02}"}}
        crash = {f"vulkan:Vulkan{number}": {"what": "crashed", "date": f"2025-01-{number + 1:02}"}}
        add(path, {"models": model, "crashes": crash})
    document, _ = remembered.read(path)
    assert len(document["models"]) == remembered.KEPT_MODELS
    assert min(document["models"]) == f"{4:016x}"
    assert len(document["crashes"]) == remembered.KEPT_CRASHES


def test_old_files_go(path: Path) -> None:
    path.parent.mkdir()
    for number in range(remembered.KEPT_FILES + 3):
        old = path.with_name(f"choice-{number:016x}-{'0' * 16}.json")
        old.write_text("{}")
        old.with_name(old.name + ".lock").touch()
        os.utime(old, (number, number))
    (path.parent / "crash-20250131T000000Z.txt").touch()
    add(path, findings.of_probes(PROBES, MODEL))
    left = sorted(one.name for one in path.parent.glob("choice-*.json"))
    assert len(left) == remembered.KEPT_FILES and path.name in left
    assert left[0].startswith(f"choice-{4:016x}") or left[0] == path.name
    assert len(list(path.parent.glob("*.lock"))) == remembered.KEPT_FILES
    assert (path.parent / "crash-20250131T000000Z.txt").exists()


def test_many_at_once(path: Path) -> None:
    """Four processes write what each of them alone knows, again and again; all of it is there in the end."""
    code = f"""
import sys
sys.path[:0] = {sys.path!r}
from pathlib import Path
from solofile.runtime import remembered
name, path = sys.argv[1], Path(sys.argv[2])
for round in range(15):
    assert not remembered.add(path, {{"models": {{name: {{"used": "2025-01-31", "round": round}}}},
                                      "probes": {{f"{{name}}-{{round}}": {{"status": "ok"}}}}}})
    assert remembered.read(path)[1] == ""
"""
    names = [f"process{number}" for number in range(4)]
    running = [subprocess.Popen([sys.executable, "-c", code, name, str(path)]) for name in names]
    assert [one.wait(60) for one in running] == [0, 0, 0, 0]
    document, sentence = remembered.read(path)
    assert sentence == ""
    assert {name: document["models"][name]["round"] for name in names} == dict.fromkeys(names, 14)
    assert len(document["probes"]) == 60
    assert [one.name for one in path.parent.iterdir() if one.name.startswith(".")] == []
