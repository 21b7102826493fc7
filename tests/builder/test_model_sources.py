"""Fetching models: what is fetched is checked, kept, and gone on with after an interruption."""

from __future__ import annotations

import hashlib
import http.server
import re
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from solofile.builder.errors import BadSource, ToolError
from solofile.builder.progress import SilentProgress
from solofile.builder.sources import PathSource, UrlSource, WheelSource, announced_size, fetch

DATA = bytes(range(256)) * 20_000
SHA = hashlib.sha256(DATA).hexdigest()


class Server(http.server.ThreadingHTTPServer):
    """Serves DATA; ``cut`` breaks the first answer off after so many bytes."""

    cut = 0
    ranges = True
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.seen: list[str | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/some/Tiny%20Model.gguf?download=1"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        wanted = self.headers["Range"]
        self.server.seen.append(wanted)
        start = int(wanted[6:-1]) if wanted and self.server.ranges else 0
        if "missing" in self.path:
            self.send_error(404)
        elif start >= len(DATA):
            self.send_error(416)
        else:
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(DATA) - 1}/{len(DATA)}")
            self.send_header("Content-Length", str(len(DATA) - start))
            self.end_headers()
            end = self.server.cut or len(DATA)
            self.server.cut = 0
            self.wfile.write(DATA[start:end])

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.05,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def get(url: str, sha256: str = SHA) -> Path:
    fetched = fetch(UrlSource(url, sha256), lambda *_: SilentProgress())
    assert fetched.sha256 == sha256
    return fetched.path


def test_path_is_used_where_it_lies(tmp_path: Path) -> None:
    fetched = fetch(PathSource(tmp_path / "m.gguf"))
    assert (fetched.path, fetched.sha256) == (tmp_path / "m.gguf", None)


def test_url_is_fetched_once(server: Server, build_cache: Path) -> None:
    path = get(server.url)
    assert path == build_cache / "downloads" / SHA / "Tiny Model.gguf"
    assert path.read_bytes() == DATA
    assert get(server.url) == path
    assert server.seen == [None]


def test_goes_on_after_an_interruption(server: Server) -> None:
    server.cut = 3_000_000
    with pytest.raises(BadSource, match="run the command again, it goes on from there"):
        get(server.url)
    assert get(server.url).read_bytes() == DATA
    assert server.seen == [None, "bytes=3000000-"]


def test_server_that_cannot_go_on(server: Server) -> None:
    server.cut = 3_000_000
    with pytest.raises(BadSource):
        get(server.url)
    server.ranges = False
    assert get(server.url).read_bytes() == DATA


def test_interrupted_after_the_last_byte(server: Server, build_cache: Path) -> None:
    folder = build_cache / "downloads" / SHA
    folder.mkdir(parents=True)
    (folder / "download.part").write_bytes(DATA)
    assert get(server.url).read_bytes() == DATA


def test_wrong_file(server: Server, build_cache: Path) -> None:
    with pytest.raises(BadSource, match=f"its SHA-256 is {SHA} in place of {'0' * 64}"):
        get(server.url, "0" * 64)
    assert not [path for path in (build_cache / "downloads").rglob("*") if path.is_file() and path.name != ".lock"]


def test_url_that_is_not_there(server: Server) -> None:
    with pytest.raises(BadSource, match=r"missing could not be fetched \(Not Found\)"):
        get(server.url.replace("some", "missing").split("?")[0].replace("Tiny%20Model.gguf", "missing"))


def test_server_that_is_not_there() -> None:
    with pytest.raises(BadSource, match="refused"):
        get("http://127.0.0.1:9/m.gguf")


def test_file_url(tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(DATA)
    assert get((tmp_path / "m.gguf").as_uri()).read_bytes() == DATA
    with pytest.raises(BadSource, match="could not be fetched"):
        get((tmp_path / "none.gguf").as_uri(), "0" * 64)


@pytest.mark.parametrize("url", ["ftp://x/m.gguf", "m.gguf", "javascript:1"])
def test_other_schemes(url: str) -> None:
    with pytest.raises(BadSource, match="use https, http or file"):
        get(url)


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WheelSource:
    """A wheel in a folder that pip takes in the place of an index."""
    folder = tmp_path / "index"
    folder.mkdir()
    path = folder / "tiny_model-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("tiny_model/m.gguf", DATA)
        archive.writestr("tiny_model-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\n")
        archive.writestr("tiny_model-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr("tiny_model-1.0.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return WheelSource("tiny-model==1.0", hashlib.sha256(path.read_bytes()).hexdigest(), "tiny_model/m.gguf", SHA)


def test_wheel_member(wheel: WheelSource, build_cache: Path) -> None:
    fetched = fetch(wheel, lambda *_: SilentProgress())
    assert fetched.path == build_cache / "downloads" / SHA / "m.gguf"
    assert fetched.path.read_bytes() == DATA
    assert sorted(path.name for path in fetched.path.parent.iterdir()) == [".lock", "m.gguf"]


def test_wheel_of_another_hash(wheel: WheelSource) -> None:
    with pytest.raises(ToolError, match=r"pip could not fetch tiny-model==1\.0"):
        fetch(WheelSource(wheel.requirement, "0" * 64, wheel.member, SHA), lambda *_: SilentProgress())


def test_wheel_without_the_member(wheel: WheelSource) -> None:
    with pytest.raises(BadSource, match=r"has no member tiny_model/n\.gguf"):
        fetch(WheelSource(wheel.requirement, wheel.wheel_sha256, "tiny_model/n.gguf", SHA), lambda *_: SilentProgress())


def test_member_of_another_hash(wheel: WheelSource) -> None:
    with pytest.raises(BadSource, match=re.escape("tiny_model/m.gguf of tiny-model==1.0 is not the file")):
        fetch(WheelSource(wheel.requirement, wheel.wheel_sha256, wheel.member, "0" * 64), lambda *_: SilentProgress())


def test_size_that_pip_announces() -> None:
    assert announced_size("Collecting x\n  Downloading x-1-py3-none-any.whl (92.9 MB)\n") == 92_900_000
    assert announced_size("  Using cached x.whl (512 kB)") == 512_000
    assert announced_size("Collecting x") is None
