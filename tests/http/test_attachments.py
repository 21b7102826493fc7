"""The text of attached files: what can be read, and one sentence for all else."""

from __future__ import annotations

import codecs
import json
import sys
import time
import zlib

import pytest
from fake_engine import FakeEngine, Script
from http_support import MakeClient
from pdfs import encrypted, pdf
from solofile.runtime import attachments, pdf_child
from solofile.runtime import pdf as pdf_parent
from solofile.runtime.attachments import Text, Unusable
from solofile.runtime.engine_api import Request
from werkzeug.test import Client, TestResponse

TOKENS = [1, 2, 3]


@pytest.fixture
def engine(engine: FakeEngine) -> FakeEngine:
    engine.on("POST", "/tokenize", Script([json.dumps({"tokens": TOKENS}).encode()]))
    return engine


def send(client: Client, name: str, data: bytes, **headers: str) -> TestResponse:
    head = f'--X\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'.encode()
    form = "multipart/form-data; boundary=X"
    return client.post("/solofile/extract", data=head + data + b"\r\n--X--\r\n", content_type=form, headers=headers)


def test_a_text_with_its_tokens(client: Client, engine: FakeEngine) -> None:
    answer = send(client, "notes.txt", "Grüße\r\n🗼\n".encode())
    expected = {"name": "notes.txt", "text": "Grüße\n🗼\n", "pages": None, "tokens": 3}
    assert (answer.status_code, answer.get_json()) == (200, expected)
    assert json.loads(engine.requests[0].body) == {"content": "Grüße\n🗼\n"}


def test_a_pdf_with_its_pages(client: Client) -> None:
    answer = send(client, "two.pdf", pdf("Hello (world".replace("(", ""), "Second page"))
    expected = {"name": "two.pdf", "text": "Hello world\n\nSecond page", "pages": 2, "tokens": 3}
    assert (answer.status_code, answer.get_json()) == (200, expected)
    assert "pypdf" not in sys.modules, "it is read in a child process"


@pytest.mark.parametrize(
    ("bom", "encoding"),
    [(codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"),
     (codecs.BOM_UTF32_LE, "utf-32-le")],
)  # fmt: skip
def test_encodings_that_say_their_name(bom: bytes, encoding: str) -> None:
    assert attachments.read("a.txt", bom + "Größe".encode(encoding)) == Text("a.txt", "Größe", None)


@pytest.mark.parametrize(
    ("name", "data", "status", "said"),
    [
        ("a.txt", b"", 422, "a.txt is empty"),
        ("a.txt", "Größe".encode("latin-1"), 415, "a.txt is no text in UTF-8"),
        ("a.txt", codecs.BOM_UTF16_LE + b"a", 415, "a.txt is no text in UTF-8"),
        ("a.docx", b"PK\x03\x04\x14\x00\x06\x00", 415, "a.docx is neither a text nor a PDF"),
        ("a.png", b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", 415, "a.png is neither a text nor a PDF"),
        ("a.pdf", b"no PDF at all", 422, "a.pdf is broken, or no PDF"),
        ("a.txt", pdf("x")[:200], 422, "a.txt is broken, or no PDF"),
        ("a.pdf", encrypted(), 422, "a.pdf is encrypted"),
        ("a.pdf", pdf(""), 422, "a.pdf holds no text"),
        ("a.pdf", pdf("x", content=b"broken"), 422, "a.pdf"),
    ],
)
def test_one_sentence_for_what_cannot_be_read(client: Client, name: str, data: bytes, status: int, said: str) -> None:
    answer = send(client, name, data)
    message = answer.get_json()["error"]["message"]
    assert (answer.status_code, message.startswith(said), message.endswith(".")) == (status, True, True), message


def test_names_are_fit_to_be_shown() -> None:
    assert attachments.shown("../../x/evil\x1b[2J\n.txt") == "evil[2J.txt"
    assert attachments.shown("C:\\Users\\me\\a.txt") == "a.txt"
    assert len(attachments.shown("x" * 5000 + ".txt")) < 100


def bomb() -> bytes:
    """One page whose drawing inflates to a gigabyte of text."""
    packer = zlib.compressobj(9)
    block = b"BT /F1 12 Tf (aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa) Tj ET " * 20_000
    drawing = b"".join(packer.compress(block) for _ in range(1000)) + packer.flush()
    return pdf("x", content=drawing)


def test_a_bomb_ends_in_a_sentence(client: Client) -> None:
    begin = time.monotonic()
    answer = send(client, "bomb.pdf", bomb())
    assert 400 <= answer.status_code < 500
    assert "bomb.pdf" in answer.get_json()["error"]["message"]
    assert time.monotonic() - begin < 20


def test_pages_and_characters_are_bounded() -> None:
    assert pdf_child.text_of(pdf("a", "b", "c"), 2, 100) == {"failure": pdf_child.TOO_LONG}
    assert pdf_child.text_of(pdf("aaaa", "bbbb"), 9, 6) == {"failure": pdf_child.TOO_LONG}
    assert pdf_child.text_of(pdf("aaaa", "bbbb"), 9, 8)["pages"] == 2


def test_both_halves_have_the_same_words() -> None:
    words = ("ENCRYPTED", "BROKEN", "TOO_LONG", "TOO_MUCH")
    assert [getattr(pdf_child, word) for word in words] == [getattr(pdf_parent, word) for word in words]


def test_a_child_that_hangs_is_ended() -> None:
    command = [sys.executable, "-c", "import time; time.sleep(60)"]
    begin = time.monotonic()
    with pytest.raises(Unusable, match=r"a\.pdf takes longer than 0\.3 s to read: attach a part of it\.") as caught:
        pdf_parent.read("a.pdf", b"%PDF-", seconds=0.3, command=command)
    assert caught.value.status == 413
    assert time.monotonic() - begin < 5


@pytest.mark.parametrize("code", ["raise SystemExit(3)", "print('no JSON')", "import os; os.abort()", "print('[]')"])
def test_a_child_that_dies_is_a_broken_file(code: str) -> None:
    with pytest.raises(Unusable, match="is broken, or no PDF"):
        pdf_parent.read("a.pdf", b"%PDF-", command=[sys.executable, "-c", code])


def test_no_more_children_than_may_be_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    turn = threading.Semaphore(1)
    monkeypatch.setattr(pdf_parent, "_turn", turn)
    with turn, pytest.raises(Unusable, match="has to wait") as caught:
        pdf_parent.read("a.pdf", pdf("x"), seconds=0.05)
    assert caught.value.status == 429
    assert pdf_parent.read("a.pdf", pdf("x")) == ("x", 1)


def test_a_large_file_is_refused(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attachments, "MAX_BYTES", 1000)
    assert send(client, "a.txt", b"x" * 1001).get_json()["error"]["message"].startswith("a.txt is larger than")
    assert send(client, "a.txt", b"x" * 100_000).status_code == 413
    monkeypatch.setattr(attachments, "MAX_CHARACTERS", 10)
    assert send(client, "a.txt", b"x" * 11).status_code == 413


def test_without_a_file(client: Client) -> None:
    answer = client.post("/solofile/extract", data={"other": "x"})
    assert (answer.status_code, "field file" in answer.get_json()["error"]["message"]) == (400, True)


def test_needs_the_model_and_the_key(client: Client, engine: FakeEngine, make_client: MakeClient) -> None:
    assert send(make_client(api_keys=("k",)), "a.txt", b"x").status_code == 401
    assert send(make_client(api_keys=("k",)), "a.txt", b"x", Authorization="Bearer k").status_code == 200
    engine.become("loading")
    assert send(client, "a.txt", b"x").status_code == 503


def test_an_engine_that_cannot_count_is_no_fault_of_the_file(client: Client, engine: FakeEngine) -> None:
    def refuse(_: Request) -> Script:
        return Script([b'{"error":{"message":"no"}}'], 500)

    engine.on("POST", "/tokenize", refuse)
    answer = send(client, "a.txt", b"x")
    assert answer.status_code == 500
    assert answer.get_json()["error"]["message"] == "llama.cpp did not count the tokens (status 500): ask again."
