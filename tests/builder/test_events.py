"""--progress in its forms, and the events for other programs."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from solofile.builder import displays
from solofile.builder.cli import main
from solofile.builder.progress import Progress, show_as, ticking
from solofile.runtime.errors import UnknownName

FIGURES = ["event", "step", "done", "total", "unit", "rate", "eta_seconds", "message"]


@pytest.fixture
def model(gguf_path: Path, tmp_path: Path) -> Path:
    path = tmp_path / "model.gguf"
    path.write_bytes(gguf_path.read_bytes() + os.urandom(12 << 20))
    return path


def events(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def every_update(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(displays.Events, "interval", 0)


@pytest.mark.parametrize("option", ["--json", "--progress=json"])
@pytest.mark.usefixtures("every_update", "folder")
def test_build(option: str, model: Path, pack_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["build", str(model), "--pack", str(pack_path), "-o", "x.exe", option]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    *shown, result = events(out)
    first, *middle, last = (one for one in shown if one["step"] == "Writing x.exe")
    assert [list(one) for one in (first, *middle, last)] == [FIGURES] * (len(middle) + 2)
    assert (first["event"], first["step"], first["done"], first["unit"]) == ("start", "Writing x.exe", 0, "B")
    assert {one["event"] for one in middle} == {"progress"}
    done = [one["done"] for one in middle]
    assert done == sorted(done)
    size = Path("x.exe").stat().st_size
    assert (last["event"], last["done"], last["total"]) == ("end", size, size)
    assert result == {
        "event": "result", "exit_code": 0, "message": result["message"], "output": "x.exe", "size": size,
    }  # fmt: skip
    assert result["message"].startswith("x.exe: 12.7 MB, ")


@pytest.mark.usefixtures("folder")
def test_every_command_that_writes(model: Path, pack_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["build", str(model), "--pack", str(pack_path), "-o", "x.exe"]) == 0
    assert main(["keygen", "-o", "k.key", "--unencrypted"]) == 0
    for words, steps, facts in (
        ("set x.exe --title T -o y.exe", ["Writing y.exe"], {"output": "y.exe"}),
        (f"upgrade x.exe --pack {pack_path} -o z.exe", ["Writing z.exe"], {"output": "z.exe"}),
        ("extract x.exe parts", ["Extracting"], {"folder": "parts", "files": 11}),
        ("sign x.exe --key k.key", ["Verifying", "Signing"], {"signature": "x.exe.minisig"}),
    ):
        capsys.readouterr()
        assert main([*words.split(), "--json"]) == 0
        *seen, result = events(capsys.readouterr().out)
        assert [one["step"] for one in seen if one["event"] == "end"] == steps
        assert result.items() >= {"event": "result", "exit_code": 0, **facts}.items()


@pytest.mark.usefixtures("folder")
def test_verify_keeps_its_own_json(model: Path, pack_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["build", str(model), "--pack", str(pack_path), "-o", "x.exe"]) == 0
    capsys.readouterr()
    assert main(["verify", "x.exe", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert main(["verify", "x.exe", "--progress", "json"]) == 0
    *_, result = events(capsys.readouterr().out)
    assert result == {"event": "result", "exit_code": 0, "message": result["message"], **document}
    with Path("x.exe").open("r+b") as file:
        file.seek(-5_000_000, os.SEEK_END)
        file.write(b"?")
    assert main(["verify", "x.exe", "--progress=json"]) == 2
    *_, error = events(capsys.readouterr().out)
    assert (error["event"], error["exit_code"], error["ok"]) == ("error", 2, False)
    assert error["damaged"][0]["path"] == "models/model.gguf"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("build none.gguf --json", "none.gguf"),
        ("build --json", "required"),
        ("build m.gguf --progress json --titel x", "did you mean --title"),
        ("verify none.exe --progress=json", "cannot be opened"),
    ],
)
def test_errors(words: str, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words.split()) == 2
    out, err = capsys.readouterr()
    *_, error = events(out)
    assert (error["event"], error["exit_code"]) == ("error", 2)
    assert says in error["message"]
    assert err == f"solofile: {error['message']}\n"


def test_unknown_form(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["build", "m.gguf", "--progress", "jsn"]) == 2
    out, err = capsys.readouterr()
    assert (out, err) == ("", "solofile: Unknown form of progress jsn: did you mean json?\n")
    with pytest.raises(UnknownName), show_as("bars"):
        pass


def test_notes_and_stops(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="x"), show_as("json"), Progress("a", 10, "steps") as shown:
        shown.note("hear")
        raise ValueError("x")
    start, note, stop = events(capsys.readouterr().out)
    assert (start["event"], stop["event"], stop["total"], stop["rate"]) == ("start", "stop", 10, None)
    assert note == {"event": "message", "step": "a", "message": "hear"}


def test_rate_and_time_left() -> None:
    figures = displays._figures(displays.State("a", 25, 100, "files", 5.0))
    assert (figures["rate"], figures["eta_seconds"]) == (5.0, 15.0)
    assert figures["message"] == "a: 25 % of 100 files, 15 s left"
    assert displays._figures(displays.State("a", 7, None, "s", 7.0))["rate"] is None


@pytest.mark.parametrize("form", ["plain", "bar", "none"])
def test_forms_for_people(form: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(displays.Plain, "interval", 0)
    with show_as(form), Progress("a", 10) as shown:
        shown.update(5)
        shown.note("hear")
    out, err = capsys.readouterr()
    assert out == ""
    assert ("a: 50 % of 10 B" in err) == (form != "none")
    assert ("\r" in err) == (form == "bar")
    assert "hear\n" in err


def test_ticking(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody can measure says at least how long it has run."""
    monkeypatch.setattr("solofile.builder.progress.TICK", 0.01)
    with show_as("json"), ticking("waits"):
        time.sleep(0.4)
    first, *_, last = events(capsys.readouterr().out)
    assert (first["event"], first["unit"], first["done"]) == ("start", "s", 0)
    assert last["event"] == "end"
