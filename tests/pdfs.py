"""Small PDFs for tests, written by hand."""

from __future__ import annotations

import zlib


def pdf(*pages: str, content: bytes | None = None, count: int | None = None) -> bytes:
    """A PDF with one line of text a page; ``content`` in place of the first page's compressed drawing."""
    kids = " ".join(f"{4 + 2 * number} 0 R" for number in range(len(pages)))
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(pages) if count is None else count} >>".encode(),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
    ]
    for number, text in enumerate(pages):
        drawing = b"BT /F1 12 Tf 72 700 Td (" + text.encode("cp1252") + b") Tj ET"
        stream = zlib.compress(drawing) if content is None or number else content
        objects.append(
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Resources << /Font << /F1 3 0 R >> >> "
            + f"/Contents {5 + 2 * number} 0 R >>".encode()
        )
        objects.append(f"<< /Length {len(stream)} /Filter /FlateDecode >>\nstream\n".encode() + stream + b"\nendstream")
    return assembled(objects)


def assembled(objects: list[bytes], trailer: bytes = b"") -> bytes:
    """The file around its objects, numbered from 1."""
    out, offsets = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        offsets.append(len(out))
        out += f"{number} 0 obj\n".encode() + body + b"\nendobj\n"
    table = b"".join(f"{offset:010} 00000 n \n".encode() for offset in offsets)
    end = f"trailer\n<< /Size {len(objects) + 1} /Root 1 0 R ".encode() + trailer
    return (
        out + f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n".encode() + table
        + end + f" >>\nstartxref\n{len(out)}\n%%EOF\n".encode()
    )  # fmt: skip


def encrypted() -> bytes:
    """One that says that it is encrypted, by a password that is not the empty one."""
    words = b"<" + b"41" * 32 + b">"
    entry = b"<< /Filter /Standard /V 2 /R 3 /Length 128 /P -3904 /O " + words + b" /U " + words + b" >>"
    page = [b"<< /Type /Catalog /Pages 2 0 R >>", b"<< /Type /Pages /Kids [] /Count 0 >>"]
    return assembled([*page, entry], b"/Encrypt 3 0 R /ID [<41> <41>]")
