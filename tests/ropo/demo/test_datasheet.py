import re

import pytest

from ropo.demo.catalogue import LANGUAGES, PRODUCTS
from ropo.demo.datasheet import datasheet, escaped, wrapped


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("product", PRODUCTS, ids=lambda product: product.slug)
def test_a_data_sheet_is_a_pdf_whose_table_points_at_its_objects(product, language):
    file = datasheet(product, language)
    assert file.startswith(b"%PDF-1.4\n")
    assert file.endswith(b"%%EOF\n")
    table = int(re.search(rb"startxref\n(\d+)\n", file)[1])
    assert file[table:].startswith(b"xref\n0 8\n")
    # 7.5.4: each entry is exactly 20 bytes long.
    entries = file[table + len(b"xref\n0 8\n") :][: 8 * 20]
    places = [int(entries[at : at + 10]) for at in range(20, 160, 20)]
    for number, place in enumerate(places, 1):
        assert file[place:].startswith(b"%d 0 obj\n" % number)
    length = int(re.search(rb"/Length (\d+)", file)[1])
    assert file[file.index(b"stream\n") + 7 :][length:].startswith(b"\nendstream")
    assert product.name.encode() in file


def test_umlauts_are_written_in_the_font_s_encoding():
    file = datasheet(PRODUCTS[0], "de")
    assert "Abkantlänge".encode("cp1252") in file
    assert b"?" not in file


def test_text_cannot_leave_its_string():
    assert escaped("a) (b\\") == r"a\) \(b\\"


def test_long_text_is_broken_between_words():
    assert wrapped("aa bb cc dd", 5) == ["aa bb", "cc dd"]
    assert wrapped("longer than five", 5) == ["longer", "than", "five"]
