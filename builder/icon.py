"""The page's icon: what may be one, judged before it goes into a bundle.

It is shown by a browser, and later by the desktop, on machines of people who did not choose it. So it is small, of a
kind that its bytes prove, and an SVG is a drawing and nothing else.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from solofile.builder.errors import BadInput

LIMIT = 256 * 1024
SIDES = (16, 1024)
"""The least and the greatest side of a PNG, in pixels."""

_INSIDE = re.compile(r"url\(\s*[\"']?#[\w.-]+[\"']?\s*\)")
_SVG = "{http://www.w3.org/2000/svg}"
_DRAWING = """
svg g defs symbol use title desc path rect circle ellipse line polyline polygon text tspan textPath linearGradient
radialGradient stop clipPath mask pattern filter feBlend feColorMatrix feComponentTransfer feComposite feDropShadow
feFlood feFuncA feFuncB feFuncG feFuncR feGaussianBlur feMerge feMergeNode feMorphology feOffset feTile feTurbulence
metadata
"""
"""The elements that draw. What runs, moves, links or fetches is not among them."""


class Icon(NamedTuple):
    """An icon, and the part of a bundle that it becomes."""

    path: str
    data: bytes

    def as_ico(self) -> bytes | None:
        """What Windows takes: the .ico itself, or a PNG of up to 256 pixels a side in one; None for another."""
        if self.path.endswith(".ico"):
            return self.data
        if not self.path.endswith(".png"):
            return None
        side = int.from_bytes(self.data[16:20], "big")
        entry = struct.pack("<4B2H2I", side % 256, side % 256, 0, 0, 1, 32, len(self.data), 22)
        return b"\0\0\1\0\1\0" + entry + self.data if side <= 256 else None


def read_icon(file: Path) -> Icon:
    """The icon in ``file``. Raises BadInput where it cannot be used."""
    try:
        with file.open("rb") as opened:
            data = opened.read(LIMIT + 1)
    except OSError as error:
        raise BadInput(f"The icon {file} cannot be read: {error.strerror}.") from error
    if len(data) > LIMIT:
        raise BadInput(f"The icon {file} has over {LIMIT} bytes: make it smaller.")
    kind = _kind(data)
    problem = {"png": _png_problem, "ico": _ico_problem, "svg": _svg_problem}[kind](data) if kind else (
        "is no PNG, ICO or SVG: save it as one of them"
    )  # fmt: skip
    if problem:
        raise BadInput(f"The icon {file} {problem}.")
    return Icon(f"about/icon.{kind}", data)


def _kind(data: bytes) -> str:
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if data.startswith(b"\0\0\1\0"):
        return "ico"
    start = data.removeprefix(b"\xef\xbb\xbf").lstrip()
    return "svg" if start.startswith(b"<") and b"<svg" in data else ""


def _png_problem(data: bytes) -> str:
    if len(data) < 33 or data[12:16] != b"IHDR" or b"IEND" not in data[-12:]:
        return "is a damaged PNG: save it again"
    width, height = struct.unpack(">II", data[16:24])
    if width != height or not SIDES[0] <= width <= SIDES[1]:
        return f"is {width} x {height} pixels large: make it square, with {SIDES[0]} to {SIDES[1]} pixels a side"
    return ""


def _ico_problem(data: bytes) -> str:
    count = int.from_bytes(data[4:6], "little")
    if not count or len(data) < 6 + 16 * count:
        return "is a damaged ICO: save it again"
    for number in range(count):
        size, offset = struct.unpack_from("<II", data, 6 + 16 * number + 8)
        if not size or offset < 6 + 16 * count or offset + size > len(data):
            return "is a damaged ICO: save it again"
    return ""


def _svg_problem(data: bytes) -> str:
    # Before it is parsed: a document type can hold entities that grow without end.
    if b"<!DOCTYPE" in data or b"<!ENTITY" in data or b"<?xml-stylesheet" in data:
        return "has a document type or a style sheet: save it as plain SVG"
    try:
        root = ElementTree.fromstring(data)
    except (ElementTree.ParseError, ValueError) as error:
        return f"is no XML ({error}): save it again"
    if root.tag != f"{_SVG}svg":
        return "has no <svg> of SVG's namespace around it: save it as plain SVG"
    return next(_unwanted(root), "")


def _unwanted(root: ElementTree.Element) -> Iterator[str]:
    """What an SVG holds that is no drawing. Elements of other programs, which browsers pass over, may stay."""
    drawing = frozenset(_DRAWING.split())
    for element in root.iter():
        space, _, name = element.tag.rpartition("}") if isinstance(element.tag, str) else ("", "", "comment")
        if (f"{space}}}" == _SVG and name not in drawing) or "xhtml" in space:
            yield f"holds <{name}>, which is no drawing: take it out"
        for key, value in element.attrib.items():
            local = key.rpartition("}")[2].lower()
            outside = local == "href" and not value.strip().startswith("#")
            calls = "url(" in _INSIDE.sub("", value.lower()) or "\\" in value  # which CSS takes for any letter
            if local.startswith("on") or outside or calls:
                yield f"has the attribute {local} in <{name}>, which runs or fetches something: take it out"
