"""What the site answered, as facts."""

from __future__ import annotations

import gzip
import sys

import brotli
import pytest

from tests.tracker.forms.requests import HTML, answered, post
from tracker.forms.answer import AnswerCapture
from tracker.model import FormAnswer, encode_line
from tracker.settings import Json, Success, Text

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

NAMES = ["name", "email", "message"]
THANKS = b"<!doctype html><title>Danke</title><p>Vielen Dank, Erika!</p>"
AGAIN = b"""<form action="/kontakt/"><input name="name" value="Erika"><p class="error">Bitte pr\xc3\xbcfen</p>
<input name="email" value="kaputt"><textarea name="message">Hallo</textarea></form>"""


def read(
    body: bytes,
    status: int = 200,
    content_type: str = HTML,
    *,
    success: Success | None = None,
    max_bytes: int = 10_000,
    size: int = 1 << 30,
    **fields: str,
) -> FormAnswer:
    exchange = post()
    capture = AnswerCapture(exchange, path="/kontakt/", field_names=NAMES, success=success, max_bytes=max_bytes)
    # The answer begins after the capture was made.
    answered(exchange, status, content_type, **fields)
    for at in range(0, len(body), size):
        assert capture.feed(body[at : at + size]) is True
    return capture.read()


def test_thanks_without_the_form():
    assert read(THANKS) == FormAnswer(200, content_type=HTML, form_again=False, errors=0)


def test_the_form_again_with_an_error():
    assert read(AGAIN) == FormAnswer(200, content_type=HTML, form_again=True, errors=1)


def test_a_redirect_tells_where_it_leads_and_its_body_nothing():
    assert read(AGAIN, 303, location="/danke/?x=1") == FormAnswer(303, content_type=HTML, location="/danke/?x=1")


def test_an_answer_without_a_body_tells_nothing_of_the_form():
    assert read(b"", 200) == FormAnswer(200, content_type=HTML)
    assert read(b"", 204, "") == FormAnswer(204)


@pytest.mark.parametrize(
    "coding, pack", [("gzip", gzip.compress), ("br", brotli.compress), ("zstd", zstd.compress)]
)  # fmt: skip
def test_a_packed_answer_is_unpacked(coding: str, pack):
    for size in (1, 50, 1 << 30):
        assert read(pack(AGAIN), content_encoding=coding, size=size).form_again is True


def test_an_answer_in_a_coding_we_do_not_know_tells_nothing():
    found = read(AGAIN, content_encoding="gzip, br")
    assert (found.form_again, found.truncated) == (None, True)


def test_a_broken_coding_tells_nothing():
    found = read(b"not gzip", content_encoding="gzip")
    assert (found.form_again, found.truncated) == (None, True)


def test_what_is_not_text_is_not_kept():
    found = read(b"%PDF-1.7" * 1000, content_type="application/pdf", max_bytes=10)
    assert (found.form_again, found.json_ok, found.status) == (None, None, 200)


@pytest.mark.parametrize("size", [1, 7, 1 << 30])
def test_an_answer_is_read_the_same_however_it_was_cut(size: int):
    assert read(AGAIN, size=size) == read(AGAIN)


def test_beyond_the_limit_nothing_is_said_of_what_was_not_seen():
    long = b"<p>x</p>" * 2000
    cut = read(long + AGAIN)
    assert (cut.form_again, cut.truncated) == (None, True)
    assert read(AGAIN + long).form_again is True
    just = THANKS.ljust(10_000)
    assert (read(just).truncated, read(just + b" ").truncated) == (False, True)


def test_a_bomb_is_cut_at_the_limit():
    found = read(gzip.compress(b" " * 50_000_000), content_encoding="gzip")
    assert (found.form_again, found.truncated) == (None, True)


def test_old_charsets_are_read():
    form = "<form action='/kontakt/'><input name='name' value='x'><input name='email' value='x'><p>Grün</p></form>"
    success = Text(contains="Grün")
    for content_type, body in [
        ("text/html; charset=ISO-8859-1", form.encode("cp1252")),
        ("text/html", b"<meta charset='iso-8859-15'>" + form.encode("iso-8859-15")),
        ("text/html; charset=utf-16-evil", form.encode()),
        ("text/html; charset=idna", form.encode()),
    ]:
        assert read(body, content_type=content_type, success=success).text_found is True


# -- text


@pytest.mark.parametrize(
    "body, expected",
    [
        (b"<p>Vielen  Dank,\n Erika!</p>", True),
        (b"<p>Vielen&nbsp;Dank, Erika!</p>", True),
        (b"<p>vielen dank, Erika!</p>", False),
        (b"", False),
    ],
)
def test_the_text_a_rule_waits_for_is_looked_for_in_the_answer(body: bytes, expected: bool):
    assert read(body, success=Text(contains="Vielen Dank, Erika!")).text_found is expected


def test_text_is_looked_for_in_json_and_plain_text_too():
    success = Text(contains="Danke")
    assert read(b'{"message": "Danke"}', content_type="application/json", success=success).text_found is True
    assert read(b"Danke", content_type="text/plain", success=success).text_found is True


def test_text_beyond_the_limit_cannot_be_told():
    found = read(b" x" * 6000 + b"Danke", success=Text(contains="Danke"))
    assert found.text_found is None
    assert read(b"Danke" + b" x" * 6000, success=Text(contains="Danke")).text_found is True


def test_without_a_rule_no_text_is_looked_for():
    assert read(THANKS).text_found is None


# -- JSON


@pytest.mark.parametrize(
    "body, expected",
    [
        # Contact Form 7
        ('{"contact_form_id":5,"status":"mail_sent","message":"Danke","invalid_fields":[]}', True),
        ('{"status":"validation_failed","invalid_fields":[{"field":"your-email","message":"x"}]}', False),
        ('{"status":"spam"}', False),
        ('{"status":"aborted"}', False),
        ('{"status":"acceptance_missing"}', False),
        ('{"status":"mail_failed"}', None),
        # WordPress: WPForms, Elementor, Fluent Forms
        ('{"success":true,"data":{"confirmation":"<div>Danke</div>"}}', True),
        ('{"success":false,"data":{"errors":{}}}', False),
        ('{"success":true,"data":{"errors":{"email":"x"}}}', False),
        ('{"data":{"success":true}}', True),
        ("0", False),
        ("-1", False),
        # Ninja Forms
        ('{"data":{"actions":{}},"errors":[],"debug":[]}', True),
        ('{"errors":{"fields":{"3":"x"}}}', False),
        # Others
        ('{"ok":true}', True),
        ('{"ok":false,"error":"x"}', False),
        ('{"success":1}', True),
        ('{"success":"0"}', None),
        ('{"status":200}', True),
        ('{"status":422}', False),
        ('{"status":"success","errors":["x"]}', False),
        ('{"result":"error"}', False),
        ('{"error":null,"id":5}', None),
        ('{"inlineMessage":"Danke"}', None),
        ('{"redirectUri":"/danke"}', None),
        ("[]", None),
        ('"ok"', None),
        ("{}", None),
        ("{broken", None),
        ('{"a":' * 5000, None),
    ],
)
def test_what_json_says_of_itself_is_told(body: str, expected: bool | None):
    assert read(body.encode(), content_type="application/json", max_bytes=100_000).json_ok is expected
    # WordPress's AJAX often calls its JSON HTML.
    if body[:1] in ("{", "[", "0", "-"):
        assert read(body.encode(), content_type=HTML, max_bytes=100_000).json_ok is expected


@pytest.mark.parametrize(
    "field, value, expected",
    [
        ("status", "mail_sent", True),
        ("status", "spam", False),
        ("data.ok", True, True),
        ("data.ok", "true", True),
        ("data.ok", False, False),
        ("data.code", 7, True),
        ("data.code", "7", True),
        ("list.1", "b", True),
        ("list.9", "b", False),
        ("missing.field", "x", False),
    ],
)
def test_the_field_a_rule_waits_for_is_compared(field: str, value: str | bool | int, expected: bool):
    body = b'{"status":"mail_sent","data":{"ok":true,"code":7},"list":["a","b"]}'
    assert read(body, content_type="application/json", success=Json(field=field, value=value)).json_ok is expected


def test_json_cut_at_the_limit_tells_nothing():
    body = b'{"success":true,"x":"' + b"y" * 20_000 + b'"}'
    assert read(body, content_type="application/json").json_ok is None


def test_none_of_the_answers_text_is_in_its_facts():
    for body in (THANKS, AGAIN, b'{"success":true,"name":"Erika"}'):
        assert b"Erika" not in encode_line(read(body, success=Text(contains="Dank")))
