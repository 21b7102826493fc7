"""Attachments: text, PDFs, pictures, sound; by button, paste and drop."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import pytest
from pages import Tab
from stand_in import Site, props

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
BMP = bytes.fromhex(
    "424d3a000000000000003600000028000000010000000100000001001800000000000400000000000000000000000000000000000000ff00ff00"
)

GIVE = """([kind, name, type, base64]) => {
    const bytes = Uint8Array.from(atob(base64), (one) => one.charCodeAt(0));
    const data = new DataTransfer();
    data.items.add(new File([bytes], name, { type }));
    const target = kind === "paste" ? document.querySelector("#text") : document.querySelector("#log");
    const common = { bubbles: true, cancelable: true };
    const event = kind === "paste" ? new ClipboardEvent("paste", { ...common, clipboardData: data })
        : new DragEvent("drop", { ...common, dataTransfer: data });
    target.dispatchEvent(event);
}"""


def attach(tab: Tab, name: str, content: bytes, kind: str = "") -> None:
    tab.page.set_input_files("#files", [{"name": name, "mimeType": kind, "buffer": content}])


def test_a_text_file(tab: Tab) -> None:
    attach(tab, "notes.txt", b"one two three ```` four", "text/plain")
    card = tab.page.locator("#attached .file")
    card.get_by_text("5 tokens").wait_for()
    assert "notes.txt" in card.inner_text()
    tab.send("Sum up")
    assert tab.site.asked[0]["messages"][1]["content"] == "notes.txt:\n`````\none two three ```` four\n`````\n\nSum up"
    assert "notes.txt" in tab.page.locator(".message.user .file").inner_text()
    assert tab.page.locator("#attached .file").count() == 0
    tab.page.reload()
    tab.wait_ready()
    assert "5 tokens" in tab.page.locator(".message.user .file").inner_text()


def test_taken_away_again(tab: Tab) -> None:
    attach(tab, "a.txt", b"a", "text/plain")
    attach(tab, "b.txt", b"b", "text/plain")
    tab.page.get_by_role("button", name="Take a.txt away").click()
    tab.send("")
    assert tab.site.asked[0]["messages"][1]["content"] == "b.txt:\n```\nb\n```"


def test_by_the_button(tab: Tab) -> None:
    with tab.page.expect_file_chooser() as chooser:
        tab.page.click("#attach")
    chooser.value.set_files([{"name": "x.md", "mimeType": "text/markdown", "buffer": b"text"}])
    tab.page.locator("#attached").get_by_text("x.md").wait_for()


@pytest.mark.parametrize("kind", ["paste", "drop"])
def test_by_paste_and_drop(tab: Tab, kind: str) -> None:
    tab.page.evaluate(GIVE, [kind, "dropped.txt", "text/plain", base64.b64encode(b"a b c").decode()])
    tab.page.locator("#attached").get_by_text("3 tokens").wait_for()


def test_a_pdf_is_read_by_the_server(site: Site, open_page: Callable[..., Tab]) -> None:
    bodies: list[bytes] = []

    def extract(body: bytes) -> tuple[int, dict[str, Any]]:
        bodies.append(body)
        return 200, {"name": "paper.pdf", "text": "What it says.", "pages": 2, "tokens": 7}

    site.extract = extract
    tab = open_page()
    attach(tab, "paper.pdf", b"%PDF-1.7 ...", "application/pdf")
    tab.page.locator("#attached").get_by_text("7 tokens").wait_for()
    assert b'name="file"' in bodies[0] and b"%PDF-1.7 ..." in bodies[0]
    tab.send("Go")
    assert "What it says." in tab.site.asked[0]["messages"][1]["content"]


def test_a_pdf_that_cannot_be_read(site: Site, open_page: Callable[..., Tab], watch: Any) -> None:
    watch.expected.append("422")
    site.extract = lambda _: (422, {"error": {"message": "The PDF is locked by a password."}})
    tab = open_page()
    attach(tab, "paper.pdf", b"%PDF", "application/pdf")
    tab.page.get_by_text("paper.pdf cannot be used: The PDF is locked by a password.").wait_for()
    assert tab.page.locator("#attached .file").count() == 0


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("grün".encode(), "grün"),
        ("grün".encode("utf-16"), "grün"),
        ("grün".encode("latin-1"), "grün"),
        (b"\xef\xbb\xbfx", "x"),
    ],
)
def test_encodings(tab: Tab, content: bytes, text: str) -> None:
    attach(tab, "x.txt", content, "text/plain")
    tab.page.locator("#attached").get_by_text("1 token").wait_for()
    tab.send("Go")
    assert f"\n{text}\n" in tab.site.asked[0]["messages"][1]["content"]


def test_what_is_no_text(tab: Tab) -> None:
    attach(tab, "a.zip", b"PK\x03\x04\x00\x00", "application/zip")
    tab.page.get_by_text("a.zip is no text").wait_for()
    attach(tab, "a.png", PNG, "image/png")
    tab.page.get_by_text("this model does not understand pictures").wait_for()
    attach(tab, "a.wav", b"RIFF", "audio/wav")
    tab.page.get_by_text("this model does not understand sound").wait_for()
    assert tab.page.locator("#attached .file").count() == 0


def test_pictures_and_sound(site: Site, open_page: Callable[..., Tab]) -> None:
    site.engine.on("GET", "/props", props(image=True, audio=True))
    tab = open_page()
    assert "image/*" in (tab.page.get_attribute("#files", "accept") or "")
    tab.page.evaluate(GIVE, ["paste", "dot.png", "image/png", base64.b64encode(PNG).decode()])
    tab.page.locator("#attached img").wait_for()
    attach(tab, "old.bmp", BMP, "image/bmp")
    attach(tab, "tone.wav", b"RIFFdata", "audio/wav")
    tab.page.locator("#attached .file").nth(2).wait_for()
    tab.page.locator("#attached").get_by_text("being read…").wait_for(state="detached")
    tab.send("What is it?")
    png, bmp, wav, words = tab.site.asked[0]["messages"][1]["content"]
    assert png == {"type": "image_url", "image_url": {"url": "data:image/png;base64," + base64.b64encode(PNG).decode()}}
    assert bmp["image_url"]["url"].startswith("data:image/png;base64,")  # llama.cpp reads no BMP in all its forms
    assert wav == {
        "type": "input_audio",
        "input_audio": {"data": base64.b64encode(b"RIFFdata").decode(), "format": "wav"},
    }
    assert words == {"type": "text", "text": "What is it?"}
    assert tab.page.locator(".message.user img").count() == 2


def test_a_broken_picture(site: Site, open_page: Callable[..., Tab]) -> None:
    site.engine.on("GET", "/props", props(image=True))
    tab = open_page()
    attach(tab, "broken.png", b"\x89PNG no", "image/png")
    tab.page.get_by_text("broken.png cannot be read").wait_for()
