"""The real bundle as a double-click starts it, seen through its page: the load, the end, and all that may go wrong."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from pages import GONE, Tab, Watch
from pdfs import pdf

sys.path.append(str(Path(__file__).parents[1] / "e2e"))

from running import QUESTION, Desktop, Running, wait_healthy

OpenIn = Callable[..., Tab]

LONG_LOAD = ("-c", "49152", "-fa", "off", "-ctk", "f32", "-ctv", "f32", "-np", "1")
"""Has 2 GB of memory cleared before the model is there."""


@pytest.fixture(scope="module")
def shared_desktop(smollm2_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Desktop:
    return Desktop(tmp_path_factory.mktemp("desktop"), smollm2_bundle)


@pytest.fixture
def desktop(shared_desktop: Desktop) -> Iterator[Desktop]:
    yield shared_desktop
    shared_desktop.clear()


@pytest.fixture
def visit(context: Any, site: Any) -> OpenIn:
    """Opens the page of a start in a tab, when the model is there unless ``ready`` is false."""

    def visit(running: Running, *, ready: bool = True) -> Tab:
        tab = Tab(context.new_page(), site)
        tab.page.set_default_timeout(30_000)
        tab.page.goto(running.url)
        if ready:
            tab.wait_ready()
        return tab

    return visit


@contextmanager
def slowed(running: Running) -> Iterator[None]:
    """Lets the runtime work a quarter of the time: SmolLM2 is loaded in less than a page is opened."""
    pid, over = running.model_pid(), threading.Event()

    def work() -> None:
        with suppress(ProcessLookupError):
            while not over.wait(0.025):
                os.kill(pid, signal.SIGSTOP)
                over.wait(0.075)
                os.kill(pid, signal.SIGCONT)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def said(running: Running) -> str:
    """What it said by its end."""
    _, errors = running.process.communicate(timeout=20)
    return errors


def quit_it(tab: Tab) -> None:
    tab.page.click("#quit")
    tab.page.get_by_role("dialog").get_by_role("button", name="Quit").click()
    tab.page.get_by_role("heading", name="The program has ended").wait_for()


def test_the_load_is_shown_and_then_the_chat(desktop: Desktop, visit: OpenIn) -> None:
    running = desktop.start(*LONG_LOAD, "-n", "20")
    with slowed(running):
        tab = visit(running, ready=False)
        place = tab.page.locator("#loading")
        place.get_by_role("heading", name="SmolLM2 135M Instruct is being loaded").wait_for()
        place.locator("#load-facts dt").nth(1).wait_for()
        text = place.inner_text()
        tab.page.evaluate("window.visited = true")
        assert tab.page.evaluate("document.activeElement.id") == "text"
        tab.page.keyboard.type(QUESTION)
        tab.page.keyboard.press("Enter")
        tab.page.locator(".queued").wait_for()
    for words in ("98.4 MB", "Computer", " core", "Chosen", " on "):
        assert words in text, words
    tab.wait_ready()
    tab.wait_answer()
    assert tab.questions() == [QUESTION] and tab.answers()[0]
    assert tab.page.evaluate("window.visited"), "the page was loaded again"


def test_chats_are_listed_while_it_loads(desktop: Desktop, visit: OpenIn, watch: Watch) -> None:
    watch.expected += GONE
    running = desktop.start("-n", "5")
    tab = visit(running)
    tab.send("Of an earlier day")
    quit_it(tab)
    running.process.wait(10)
    again = desktop.start(*LONG_LOAD, "-n", "5")
    assert again.port == running.port
    with slowed(again):
        tab.page.goto(again.url)
        tab.page.locator("#chats .chat", has_text="Of an earlier day").click()
        assert tab.questions() == ["Of an earlier day"]
        assert tab.page.locator("#loading").is_visible()
    tab.wait_ready()


def damaged(bundle: Path, folder: Path) -> Path:
    """A copy whose model has a tensor of another shape than it should."""
    copy = folder / "damaged.exe"
    shutil.copy2(bundle, copy)
    with zipfile.ZipFile(copy) as archive:
        member = next(one for one in archive.infolist() if one.filename.endswith(".gguf"))
        begin = member.header_offset
    with copy.open("r+b") as file:
        file.seek(begin)
        head = file.read(8 << 20)
        at = head.index(b"blk.0.attn_q.weight")
        file.seek(begin + at)
        file.write(b"blk.0.attn_X.weight")
    return copy


def test_a_load_that_fails_says_what_the_terminal_says(
    desktop: Desktop, visit: OpenIn, smollm2_bundle: Path, tmp_path: Path
) -> None:
    running = desktop.start(bundle=damaged(smollm2_bundle, tmp_path))
    tab = visit(running, ready=False)
    place = tab.page.locator("#loading")
    place.get_by_role("heading", name="could not be loaded").wait_for()
    sentence = tab.page.locator("#load-message").inner_text()
    assert len(sentence) > 20
    assert "start the file again" in place.inner_text()
    quit_it(tab)
    assert running.process.wait(10) != 0
    assert sentence in said(running)


def test_what_cannot_be_started_says_so_too(desktop: Desktop, visit: OpenIn) -> None:
    """Before there is an engine that could tell."""
    running = desktop.start("--gpu", "vulkan")
    assert desktop.opened[-1] == f"{running.url}/"
    tab = visit(running, ready=False)
    tab.page.get_by_role("heading", name="could not be loaded").wait_for()
    sentence = tab.page.locator("#load-message").inner_text()
    assert "vulkan" in sentence
    quit_it(tab)
    assert running.process.wait(10) != 0
    assert sentence in said(running)


def test_about(desktop: Desktop, visit: OpenIn, smollm2_bundle: Path) -> None:
    running = desktop.start("-n", "5")
    tab = visit(running)
    tab.page.click("#about")
    text = tab.page.locator("dialog").inner_text()
    doctor = [str(smollm2_bundle), "--doctor", "--json", "-n", "5"]
    done = subprocess.run(doctor, env=desktop.environment, capture_output=True, text=True, timeout=60, check=True)
    sentence: str = json.loads(done.stdout)["choice"]["sentence"]
    for words in (
        "apache-2.0", "135 M", "Q4_1", "8,192 tokens", "98.4 MB", "0.5.0", " core",
        sentence.removeprefix("Kernels: ").partition(" (")[0],
        "partly checked: ", "10 minutes after its last page is closed",
    ):  # fmt: skip
        assert words in text, words
    curl, python = tab.page.locator("dialog pre").all_text_contents()
    assert f"{running.url}/v1" in python
    if shutil.which("curl"):
        done = subprocess.run(["sh", "-c", curl], capture_output=True, text=True, timeout=60, check=True)
        assert json.loads(done.stdout)["choices"][0]["message"]["content"]


def test_quit_ends_the_program(desktop: Desktop, visit: OpenIn) -> None:
    running = desktop.start()
    tab = visit(running)
    quit_it(tab)
    assert running.process.wait(10) == 0
    assert "Ended from the page." in said(running)


def test_killed_in_mid_answer_and_started_again(desktop: Desktop, visit: OpenIn, watch: Watch) -> None:
    watch.expected += GONE
    running = desktop.start()
    tab = visit(running)
    tab.send("Write a long story about a lighthouse.", wait=False)
    tab.until("document.querySelector('.message.assistant .body')?.textContent.length > 20", 30)
    os.killpg(running.process.pid, signal.SIGKILL)
    tab.last(".state").get_by_text("The connection broke off. What came so far is kept.").wait_for()
    banner = tab.page.locator("[data-banner=gone]")
    assert "does not answer. Start it again" in banner.inner_text()
    kept = tab.answers()[0]
    assert len(kept) > 20
    assert desktop.start("-n", "10").port == running.port
    banner.wait_for(state="detached")
    tab.page.reload()
    tab.wait_ready()
    assert tab.answers() == [kept]
    tab.last(".state").get_by_role("button", name="Continue").click()
    tab.wait_answer()
    assert tab.answers()[0].startswith(kept.rstrip())


def test_files_with_their_tokens(desktop: Desktop, visit: OpenIn) -> None:
    running = desktop.start("-n", "5")
    tab = visit(running)
    text = "The fox is blue. " * 20
    files = [
        {"name": "fox.txt", "mimeType": "text/plain", "buffer": text.encode()},
        {"name": "two.pdf", "mimeType": "application/pdf", "buffer": pdf("Hello from a PDF", "Second page")},
    ]
    tab.page.set_input_files("#files", files)
    cards = tab.page.locator("#attached .file")
    for number, content in enumerate((text, "Hello from a PDF\n\nSecond page")):
        tokens = len(running.json("POST", "/tokenize", {"content": content})["tokens"])
        cards.nth(number).get_by_text(f"{tokens} tokens").wait_for()
    tab.send("What is in these?")
    asked, answer = sorted(tab.stored()["messages"], key=lambda one: one["role"], reverse=True)
    assert [file["text"] for file in asked["files"]] == [text, "Hello from a PDF\n\nSecond page"]
    assert answer["stats"]["prompt"] > 100, "the model read them"


def test_a_pdf_that_is_broken(desktop: Desktop, visit: OpenIn, watch: Watch) -> None:
    watch.expected.append("422")
    tab = visit(desktop.start())
    bad = {"name": "broken.pdf", "mimeType": "application/pdf", "buffer": b"%PDF-1.7 broken"}
    tab.page.set_input_files("#files", [bad])
    tab.page.locator(".toast", has_text="broken.pdf is broken, or no PDF").wait_for()


def test_the_port_is_taken(desktop: Desktop, visit: OpenIn) -> None:
    first = desktop.start()
    wait_healthy(first)
    assert first.request("POST", "/solofile/quit", Origin=first.url)[0] == 204
    first.process.wait(10)
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", first.port))
        other.listen()
        moved = desktop.start()
        assert moved.port != first.port
        tab = visit(moved)
        text = tab.page.locator("[data-banner=port]").inner_text()
    assert f"Port {first.port} was taken, so this page is at port {moved.port}." in text
    assert f"{first.port} are there when it is free again" in text


def test_the_key_is_asked_for_once(desktop: Desktop, visit: OpenIn, watch: Watch) -> None:
    watch.expected.append("401")
    running = desktop.start("--api-key", "secret", "-n", "5")
    tab = visit(running, ready=False)
    for key, words in (("wrong", "This server asks for its API key."), ("secret", "This key is not the server's.")):
        tab.page.get_by_text(words).wait_for()
        tab.page.keyboard.type(key)
        tab.page.keyboard.press("Enter")
    tab.wait_ready()
    tab.send("Hi")
    tab.page.reload()
    tab.wait_ready()
    assert tab.answers()[0]
    tab.page.click("#about")
    curl = tab.page.locator("dialog pre").first.text_content() or ""
    if shutil.which("curl"):
        world = {**os.environ, "API_KEY": "secret"}
        done = subprocess.run(["sh", "-c", curl], env=world, capture_output=True, text=True, timeout=60, check=True)
        assert "choices" in json.loads(done.stdout)
    tab.page.keyboard.press("Escape")
    quit_it(tab)
    assert running.process.wait(10) == 0


def test_it_ends_by_itself_after_the_last_page(desktop: Desktop, visit: OpenIn) -> None:
    running = desktop.start("--idle-exit", "0.02")
    tab = visit(running)
    time.sleep(3)
    assert running.process.poll() is None, "it ended although its page is open"
    tab.page.close()
    assert running.process.wait(15) == 0
    assert "Nobody has the page open" in said(running)
