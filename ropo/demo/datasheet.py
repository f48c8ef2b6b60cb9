"""A product's data sheet as a PDF of one page. Knows the few parts of PDF 1.4 (ISO 32000-1) that this takes."""

from __future__ import annotations

from ropo.demo.catalogue import Language, Product

WIDTH, HEIGHT, MARGIN = 595, 842, 56  # A4 in points
REGULAR, BOLD = "F1", "F2"


def datasheet(product: Product, language: Language) -> bytes:
    """The file. The same product and language give the same bytes."""
    title = {"de": "Technisches Datenblatt", "en": "Technical data sheet"}[language]
    lines = [
        "0.06 0.24 0.36 rg", f"0 {HEIGHT - 110} {WIDTH} 110 re f", "1 1 1 rg",
        text(product.name, MARGIN, HEIGHT - 62, BOLD, 26),
        text(f"{product.kind[language]}  |  {title}", MARGIN, HEIGHT - 86, REGULAR, 12),
        "0.1 0.1 0.1 rg",
        text(product.claim[language], MARGIN, HEIGHT - 150, BOLD, 13),
    ]  # fmt: skip
    y = HEIGHT - 176
    for line in wrapped(product.about[language], 88):
        lines.append(text(line, MARGIN, y, REGULAR, 11))
        y -= 16
    y -= 14
    for strength in product.strengths[language]:
        lines.append(text(f"\u2022  {strength}", MARGIN, y, REGULAR, 11))
        y -= 18
    y -= 16
    for name, value in product.figures[language]:
        lines += [
            text(name, MARGIN, y, REGULAR, 11),
            text(value, MARGIN + 260, y, BOLD, 11),
            "0.8 0.84 0.86 RG 0.5 w", f"{MARGIN} {y - 7} m {WIDTH - MARGIN} {y - 7} l S",
        ]  # fmt: skip
        y -= 24
    lines.append(text("Musterwerk Maschinenbau GmbH  |  Werkstraße 12  |  74172 Neckarsulm", MARGIN, 40, REGULAR, 9))
    return document("\n".join(lines), f"{product.name} {title}")


def text(shown: str, x: int, y: int, font: str, points: int) -> str:
    return f"BT /{font} {points} Tf {x} {y} Td ({escaped(shown)}) Tj ET"


def escaped(shown: str) -> str:
    # 7.3.4.2: in a literal string, backslash and brackets are escaped.
    return shown.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")


def wrapped(words: str, width: int) -> list[str]:
    lines, line = [], ""
    for word in words.split():
        if line and len(line) + 1 + len(word) > width:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}".strip()
    return [*lines, line]


def document(drawn: str, title: str) -> bytes:
    """A whole file: header, objects, the table of their places, trailer (7.5)."""
    stream = drawn.encode("cp1252", "replace")
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {WIDTH} {HEIGHT}] /Contents 4 0 R "
        "/Resources << /Font << /F1 5 0 R /F2 6 0 R >> >> >>".encode(),
        b"<< /Length %d >>\nstream\n%b\nendstream" % (len(stream), stream),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica-Bold /Encoding /WinAnsiEncoding >>",
        f"<< /Title ({escaped(title)}) /Producer (Musterwerk) >>".encode("cp1252", "replace"),
    ]
    # 7.5.2: four bytes above 127 in a comment tell transfer programs that the file is binary.
    file = bytearray(b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n")
    places = []
    for number, content in enumerate(objects, 1):
        places.append(len(file))
        file += b"%d 0 obj\n%b\nendobj\n" % (number, content)
    table = len(file)
    file += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    file += b"".join(b"%010d 00000 n \n" % place for place in places)
    file += b"trailer\n<< /Size %d /Root 1 0 R /Info 7 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, table)
    return bytes(file)
