"""Downloads: what is fetched is checked, kept, and gone on with after an interruption, whatever the server does."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from file_server import DATA, FileServer, certificate, encrypted, running
from solofile.builder import download
from solofile.builder.errors import BadSource
from solofile.builder.progress import SilentProgress
from solofile.builder.sources import HubSource, UrlSource, fetch, fetch_unknown

SHA = hashlib.sha256(DATA).hexdigest()


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "PAUSES", (0.0, 0.0))


@pytest.fixture
def server() -> Iterator[FileServer]:
    with running(FileServer()) as server:
        yield server


def get(url: str, sha256: str = SHA, size: int | None = None) -> Path:
    fetched = fetch(UrlSource(url, sha256, size), lambda *_: SilentProgress())
    assert fetched.sha256 == sha256
    return fetched.path


def left(build_cache: Path) -> list[str]:
    """What lies in the cache, but for locks."""
    return sorted(path.name for path in build_cache.rglob("*") if path.is_file() and path.name != ".lock")


def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the network was touched")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(subprocess, "Popen", refuse)


def test_url_is_fetched_once(server: FileServer, build_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = get(server.url, size=len(DATA))
    assert path == build_cache / "downloads" / SHA / "Tiny Model.gguf"
    assert path.read_bytes() == DATA
    assert left(build_cache) == ["Tiny Model.gguf"]
    no_network(monkeypatch)
    assert get(server.url) == path
    assert get("https://example.org/elsewhere/other-name.gguf", size=len(DATA)) == path


def test_goes_on_by_itself_after_a_break(server: FileServer) -> None:
    server.cuts = [3_000_000, 4_000_000]
    assert get(server.url).read_bytes() == DATA
    assert server.seen == [(None, None), ("bytes=3000000-", '"one"'), ("bytes=4000000-", '"one"')]


def test_goes_on_in_the_next_run(server: FileServer, build_cache: Path) -> None:
    server.cuts = [1_000_000, 2_000_000, 3_000_000]
    with pytest.raises(BadSource, match="run the command again, it goes on from there"):
        get(server.url)
    assert left(build_cache) == ["download.json", "download.part"]
    assert get(server.url).read_bytes() == DATA
    assert server.ranges_asked[-1] == "bytes=3000000-"


def test_server_that_brings_nothing_is_not_asked_again(server: FileServer) -> None:
    server.cuts = [0] * 9
    with pytest.raises(BadSource, match="could not be fetched"):
        get(server.url)
    assert len(server.seen) == 1


def test_server_that_cannot_go_on(server: FileServer) -> None:
    server.cuts, server.ranges = [3_000_000], False
    assert get(server.url).read_bytes() == DATA
    assert server.ranges_asked == [None, "bytes=3000000-"]


def test_file_that_was_changed_meanwhile(server: FileServer) -> None:
    server.cuts = [1_000_000, 2_000_000, 3_000_000]
    with pytest.raises(BadSource):
        get(server.url)
    server.data, server.etag = bytes(reversed(DATA)), '"two"'
    assert get(server.url, hashlib.sha256(server.data).hexdigest()).read_bytes() == server.data


def test_server_without_an_etag(server: FileServer) -> None:
    server.cuts, server.etag = [3_000_000], None
    assert get(server.url).read_bytes() == DATA
    assert server.seen == [(None, None), ("bytes=3000000-", None)]


def test_weak_etag_is_not_used_to_go_on(server: FileServer) -> None:
    server.cuts, server.etag = [3_000_000], 'W/"x"'
    assert get(server.url).read_bytes() == DATA
    assert server.seen[-1] == ("bytes=3000000-", None)


def test_server_that_answers_with_another_range(server: FileServer) -> None:
    server.cuts, server.shift = [3_000_000], 77
    assert get(server.url).read_bytes() == DATA
    assert server.ranges_asked == [None, "bytes=3000000-", None]


def test_server_that_lies_about_a_range(server: FileServer) -> None:
    """It says that it goes on where it was asked to, and sends other bytes: the sum shows it, all is fetched anew."""
    server.cuts = [1_000_000, 2_000_000, 3_000_000]
    with pytest.raises(BadSource):
        get(server.url)
    server.lie = 5
    assert get(server.url).read_bytes() == DATA
    assert server.ranges_asked[-2:] == ["bytes=3000000-", None]


def test_range_behind_the_end(server: FileServer, build_cache: Path) -> None:
    folder = build_cache / "downloads" / SHA
    folder.mkdir(parents=True)
    (folder / "download.part").write_bytes(DATA + b"more")
    (folder / "download.json").write_text(json.dumps({"url": server.url, "etag": None, "size": None}))
    assert get(server.url).read_bytes() == DATA
    assert server.ranges_asked == [f"bytes={len(DATA) + 4}-", None]


@pytest.mark.parametrize("notes", ["", "[]", "{}", '{"url": "http://other/", "etag": null, "size": null}'])
def test_beginning_of_something_else_is_not_used(server: FileServer, build_cache: Path, notes: str) -> None:
    folder = build_cache / "downloads" / SHA
    folder.mkdir(parents=True)
    (folder / "download.part").write_bytes(b"something else")
    (folder / "download.json").write_text(notes)
    assert get(server.url).read_bytes() == DATA
    assert server.ranges_asked == [None]


def test_wrong_bytes(server: FileServer, build_cache: Path) -> None:
    with pytest.raises(BadSource, match=f"its SHA-256 is {SHA} in place of {'0' * 64}"):
        get(server.url, "0" * 64)
    assert left(build_cache) == []


def test_wrong_size_is_noticed_before_the_download(server: FileServer, build_cache: Path) -> None:
    with pytest.raises(BadSource, match=f"has {len(DATA)} bytes in place of 99"):
        get(server.url, size=99)
    assert left(build_cache) == []


def test_size_that_nobody_announces(server: FileServer, build_cache: Path) -> None:
    server.length = False
    server.cuts = [1_000_000]
    with pytest.raises(BadSource, match="is not the file that is meant"):
        get(server.url, size=None)
    assert get(server.url, size=len(DATA)).read_bytes() == DATA
    assert left(build_cache) == ["Tiny Model.gguf"]


def test_kept_file_of_another_size_is_fetched_again(server: FileServer) -> None:
    path = get(server.url)
    path.write_bytes(b"cut")
    assert get(server.url, size=len(DATA)).read_bytes() == DATA


def test_size_that_is_wrong_in_the_recipe(server: FileServer) -> None:
    path = get(server.url)
    with pytest.raises(BadSource, match="in place of 99, and the right SHA-256: correct its size"):
        get(server.url, size=99)
    assert path.read_bytes() == DATA


@pytest.mark.parametrize(
    ("status", "says"),
    [(404, "no such file; check the name"), (401, "set HF_TOKEN"), (403, "accept the model's terms"), (503, "later")],
)
def test_status(server: FileServer, status: int, says: str) -> None:
    server.status = status
    with pytest.raises(BadSource, match=says) as caught:
        get(server.url)
    assert caught.value.exit_code == 2


def test_silent_server(server: FileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "TIMEOUT", 0.2)
    server.pause = 0.6
    with pytest.raises(BadSource, match=r"timed out.*it goes on from there"):
        get(server.url)
    server.pause = 0
    assert get(server.url).read_bytes() == DATA
    assert server.ranges_asked[-1] is not None


def test_slow_server(server: FileServer) -> None:
    server.pause = 0.3
    assert get(server.url).read_bytes() == DATA


def test_no_network() -> None:
    with pytest.raises(BadSource, match=r"Connection refused.*check the network"):
        get("http://127.0.0.1:9/m.gguf")


def test_no_name_service(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(BadSource, match=r"\(Temporary failure in name resolution\): check the network"):
        get("https://example.org/m.gguf")


def test_file_url(tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(DATA)
    assert get((tmp_path / "m.gguf").as_uri()).read_bytes() == DATA
    with pytest.raises(BadSource, match="could not be fetched"):
        get((tmp_path / "none.gguf").as_uri(), "0" * 64)


@pytest.mark.parametrize("url", ["ftp://x/m.gguf", "m.gguf", "javascript:1", "https://", "https://[x/m.gguf"])
def test_other_schemes(url: str) -> None:
    with pytest.raises(BadSource, match=r"use https, http or file|is none"):
        get(url)


def test_no_space(server: FileServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(BadSource, match=r"There is no space in .* set SOLOFILE_BUILD_CACHE"):
        get(server.url)


def test_two_at_once_fetch_it_once(server: FileServer) -> None:
    server.pause = 0.2
    threads = [threading.Thread(target=get, args=(server.url,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(server.seen) == 1
    assert get(server.url).read_bytes() == DATA


def test_interrupted_from_the_keyboard(server: FileServer, build_cache: Path) -> None:
    server.pause = 20
    code = "import sys; from solofile.builder.__main__ import run; sys.exit(run())"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(
        [sys.executable, "-c", code, "build", server.url, "--sha256", SHA, "--name", "n"],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    partial = build_cache / "downloads" / SHA / "download.part"
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and not (partial.exists() and partial.stat().st_size == len(DATA) // 2):
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=20)
    assert said == "solofile: stopped; 2.6 MB of Tiny Model.gguf are kept, and the next run goes on there.\n"
    assert process.returncode == 130
    server.pause = 0
    assert get(server.url).read_bytes() == DATA
    assert server.ranges_asked[-1] == f"bytes={len(DATA) // 2}-"


def test_encrypted_server_and_its_redirects(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, build_cache: Path
) -> None:
    path = certificate(tmp_path)
    with running(encrypted(FileServer(), tmp_path)) as safe:
        with pytest.raises(BadSource, match="certificate"):
            get(safe.url)
        monkeypatch.setenv("SSL_CERT_FILE", str(path))
        safe.redirect = server.url
        with pytest.raises(BadSource, match=r"sends to http://127\..*, which is not encrypted"):
            get(safe.url)
        assert server.seen == []
        server.redirect = safe.url
        assert get(server.url).read_bytes() == DATA
        shutil.rmtree(build_cache)
        safe.redirect = safe.url.replace("some", "other")
        assert get(safe.url).read_bytes() == DATA


def test_token_goes_to_the_hub_alone(server: FileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    with running(FileServer()) as other:
        monkeypatch.setenv("HF_ENDPOINT", server.url.partition("/some")[0] + "/")
        monkeypatch.setenv("HF_TOKEN", "secret")
        server.redirect = other.url
        source = HubSource("someone/Some-GGUF", "sub folder/m.gguf", "a/b", SHA)
        assert source.url.endswith("/someone/Some-GGUF/resolve/a%2Fb/sub%20folder/m.gguf")
        fetched = fetch(source, lambda *_: SilentProgress())
        assert fetched.path.read_bytes() == DATA
        assert (server.tokens, other.tokens) == (["Bearer secret"], [None])
        get(other.url.replace("some", "any"), SHA)


def test_what_nobody_has_pinned(server: FileServer, build_cache: Path) -> None:
    with pytest.raises(BadSource, match="solofile recipe pin"):
        fetch(UrlSource(server.url, None))
    server.cuts = [1_000_000, 2_000_000, 3_000_000]
    with pytest.raises(BadSource):
        fetch_unknown(UrlSource(server.url, None), lambda *_: SilentProgress())
    found = fetch_unknown(UrlSource(server.url, None), lambda *_: SilentProgress())
    assert (found.sha256, found.size, found.wheel_sha256) == (SHA, len(DATA), None)
    assert server.ranges_asked[-1] == "bytes=3000000-"
    assert left(build_cache) == ["Tiny Model.gguf"]
    assert get(server.url) == found.path


def test_what_nobody_has_pinned_is_not_pieced_together_blindly(server: FileServer) -> None:
    """Without an ETag the server's file may have changed meanwhile, and no SHA-256 would show it."""
    server.etag, server.cuts = None, [1_000_000]
    found = fetch_unknown(UrlSource(server.url, None), lambda *_: SilentProgress())
    assert found.sha256 == SHA
    assert server.ranges_asked == [None, None]


def test_build_without_a_network(
    gguf_path: Path, pack_path: Path, tmp_path: Path, solofile: list[str], build_cache: Path
) -> None:
    """In a network namespace of its own, which has not even a loopback that is up."""
    if not shutil.which("unshare") or subprocess.run(["unshare", "-rn", "true"], capture_output=True).returncode:
        pytest.skip("network namespaces cannot be made here")
    sha256 = hashlib.sha256(gguf_path.read_bytes()).hexdigest()
    words = ["build", "hf:someone/Some-GGUF/m.gguf", "--sha256", sha256, "--pack", str(pack_path), "-o", "x.exe"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}

    def build() -> subprocess.CompletedProcess[str]:
        command = ["unshare", "-rn", *solofile, *words]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    failed = build()
    assert (failed.returncode, failed.stderr.count("\n")) == (2, 1)
    assert "m.gguf could not be fetched (" in failed.stderr
    assert not list(tmp_path.glob("*.exe"))
    folder = build_cache / "downloads" / sha256
    shutil.copyfile(gguf_path, folder / "under-another-name.gguf")
    assert build().returncode == 0
    assert (tmp_path / "x.exe").is_file()
