"""The page: what it is sent with, and that it asks nobody but its own server."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from http_support import MakeClient
from solofile.runtime.page import FILES, ICON, page_file
from werkzeug.test import Client


class Tags(HTMLParser):
    """Collects tags, their attributes, and the text of scripts and styles."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.inline = ""
        self._inside = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = tag

    def handle_endtag(self, tag: str) -> None:  # noqa: ARG002 - the parser's
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside in {"script", "style"}:
            self.inline += data.strip()


def parsed() -> Tags:
    tags = Tags()
    tags.feed(page_file("index.html").decode("utf-8"))
    return tags


@pytest.mark.parametrize("path", ["/", *(f"/{name}" for name in FILES)])
def test_headers(client: Client, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 200
    assert answer.get_data()
    policy = dict(part.split(" ", 1) for part in answer.headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["connect-src"] == policy["style-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert "unsafe" not in answer.headers["Content-Security-Policy"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert answer.headers["Referrer-Policy"] == "no-referrer"


def test_nothing_inline() -> None:
    """What the content policy would block must not be there in the first place."""
    tags = parsed()
    assert tags.inline == ""
    for tag, attributes in tags.tags:
        assert not [name for name in attributes if name.startswith("on") or name == "style"], tag


def test_nothing_from_elsewhere() -> None:
    tags = parsed().tags
    inside = {f"#{attributes['id']}" for _, attributes in tags if "id" in attributes}
    for tag, attributes in tags:
        for name in ("src", "href", "action", "srcset"):
            value = attributes.get(name) or ""
            assert value in {*FILES, *inside, ICON.strip("/"), ""}, (tag, value)
    for name in FILES:
        text = page_file(name).decode("utf-8")
        text = re.sub(r"^\s*//.*|http://www\.w3\.org/[\w/]+", "", text, flags=re.M)  # names of SVG and MathML
        assert not re.findall(r"(?:https?:)?//[a-z0-9.-]+\.[a-z]{2,}", text), name
        if not name.endswith(".js"):
            assert "@import" not in text and "url(" not in text, name


MODULES = [name for name in FILES if name.endswith(".js") and name != "sw.js"]


@pytest.mark.parametrize("name", MODULES)
def test_answers_never_become_markup(name: str) -> None:
    script = page_file(name).decode("utf-8")
    for word in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "new Function",
        "DOMParser",
        "srcdoc",
        "createContextualFragment",
        "document.cookie",
    ):
        assert word not in script


def test_the_browser_refuses_markup_from_text(client: Client) -> None:
    policy = client.get("/").headers["Content-Security-Policy"]
    assert "require-trusted-types-for 'script'; trusted-types 'none'" in policy


def test_requests_of_the_script_are_relative() -> None:
    """So that they stay under --api-prefix, and on the page's own server."""
    text = "\n".join(page_file(name).decode("utf-8") for name in MODULES)
    addresses = re.findall(r'\b(?:fetch|call|send|json|post)\(\n?\s*"([^"]*)"', text)
    assert sorted(set(addresses)) == [
        "props",
        "solofile/about",
        "solofile/events",
        "solofile/extract",
        "solofile/model",
        "solofile/quit",
        "solofile/status",
        "tokenize",
        "v1/chat/completions",
    ]
    others = re.findall(r"\b(?:fetch|XMLHttpRequest|EventSource|WebSocket|sendBeacon|importScripts|Worker)\b.*", text)
    assert others == ['fetch(path, { ...options, headers, cache: "no-store" });']


def test_ids_of_the_scripts_are_in_the_page() -> None:
    ids = {attributes.get("id") for _, attributes in parsed().tags}
    for name in MODULES:
        assert set(re.findall(r'\$\("([a-z-]+)"\)', page_file(name).decode("utf-8"))) <= ids, name


@pytest.mark.parametrize("name", ["app.js", "style.css", "index.html"])
def test_a_file_comes_once(client: Client, name: str) -> None:
    first = client.get(f"/{name}")
    again = client.get(f"/{name}", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.get_data()) == (304, b"")
    assert again.headers["Cache-Control"] == "no-cache"
    assert client.get(f"/{name}", headers={"If-None-Match": '"other"'}).status_code == 200


def test_the_worker_of_another_page_is_removed(make_client: MakeClient, tmp_path: Path) -> None:
    """llama-server's page leaves one behind at the same address; it must go whatever is served in its place."""
    for given in ({}, {"page": False}, {"static_folder": tmp_path}, {"api_keys": ("k",)}):
        answer = make_client(**given).get("/sw.js")
        assert answer.headers["Content-Type"] == "text/javascript; charset=utf-8"
        assert b"registration.unregister()" in answer.get_data()
    (tmp_path / "sw.js").write_text("mine", "utf-8")
    with make_client(static_folder=tmp_path).get("/sw.js") as own:
        assert own.get_data() == b"mine"


def test_no_page(make_client: MakeClient) -> None:
    client = make_client(page=False)
    assert client.get("/").status_code == 404
    assert client.get("/health").status_code == 200


def test_a_folder_in_its_place(make_client: MakeClient, tmp_path: Path) -> None:
    site = tmp_path / "site"
    (site / "sub").mkdir(parents=True)
    (site / "index.html").write_text("mine", "utf-8")
    (site / "sub" / "index.html").write_text("below", "utf-8")
    (tmp_path / "secret").write_text("no", "utf-8")
    client = make_client(static_folder=site)
    for path, text in (("/", b"mine"), ("/sub/", b"below"), ("/sub/index.html", b"below")):
        with client.get(path) as answer:
            assert answer.get_data() == text
    assert client.get("/sub").headers["Location"] == "/sub/"
    assert client.get("/health").get_data() == b'{"status":"ok"}'
    for path in ("/../secret", "/%2e%2e/secret", "/sub/../../secret", f"/sub/{tmp_path}/secret", "/absent"):
        assert client.get(path).status_code == 404
