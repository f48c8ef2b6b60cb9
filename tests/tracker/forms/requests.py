"""Form requests as browsers and scripts send them, and the answers to them."""

from __future__ import annotations

import base64
from urllib.parse import urlencode

from proxy.exchange import AnswerHead, Exchange, RequestHead
from tracker.forms.capture import FormCapture, RequestCapture
from tracker.model import Submission
from tracker.sealing import Sealer
from tracker.settings import FormRule, FormSettings, TrackerSettings

SEALER = Sealer([base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()])
LEAD_ID = "01a20165-b571-7b78-8e60-950f09e75383"

URLENCODED = "application/x-www-form-urlencoded"
BOUNDARY = "----WebKitFormBoundaryz4RkTg1dQm2sXy7B"
MULTIPART = f"multipart/form-data; boundary={BOUNDARY}"
HTML = "text/html; charset=utf-8"


def post(target: str = "/kontakt/", content_type: str = URLENCODED, **fields: str) -> Exchange:
    """The head of a POST from a page of the site itself; `fields` in snake_case, an empty one is left out."""
    given = {"host": "www.example.com", "content_type": content_type, "referer": "https://www.example.com/kontakt/?a=b"}
    head = [
        (name.replace("_", "-").encode(), value.encode()) for name, value in (given | fields).items() if value
    ]  # fmt: skip
    return Exchange(
        seq=1,
        started_ns=1,
        client="192.0.2.1",
        scheme="https",
        method="POST",
        target=target,
        head=RequestHead(tuple(head)),
    )


def answered(exchange: Exchange, status: int, content_type: str = HTML, **fields: str) -> Exchange:
    """The same exchange with the head of its answer."""
    exchange.status = status
    head = {"content_type": content_type} | fields
    fields = tuple((name.replace("_", "-").title().encode(), value.encode()) for name, value in head.items() if value)
    exchange.answer = AnswerHead(status, fields)
    return exchange


def multipart(*parts: tuple[str, str] | tuple[str, str, bytes], boundary: str = BOUNDARY) -> bytes:
    """A body as Chrome writes it; a part of three is a file: name, file name, content."""
    out = bytearray()
    for name, value, *content in parts:
        out += f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"'.encode()
        if content:
            out += f'; filename="{value}"\r\nContent-Type: application/octet-stream\r\n\r\n'.encode() + content[0]
        else:
            out += b"\r\n\r\n" + value.encode()
        out += b"\r\n"
    return bytes(out) + f"--{boundary}--\r\n".encode()


def urlencoded(*pairs: tuple[str, str]) -> bytes:
    return urlencode(pairs).encode()


def capture_with(*rules: FormRule, capture: str = "generic", **tracker: object) -> FormCapture:
    forms = FormSettings(rules=list(rules), capture=capture, max_body_bytes=tracker.pop("max_body_bytes", 1_048_576))
    return FormCapture(TrackerSettings(forms=forms, **tracker), SEALER, lambda: LEAD_ID)


def fed(
    body: bytes, exchange: Exchange | None = None, forms: FormCapture | None = None, *, size: int = 65_536
) -> tuple[Submission | None, RequestCapture]:
    """What a capture makes of a body that comes in pieces of `size`."""
    wanted = (forms or capture_with()).wanted(exchange or post())
    assert wanted is not None
    for at in range(0, len(body), size):
        if not wanted.feed(body[at : at + size]):
            break
    return wanted.submission(), wanted


def contact_of(submission: Submission | None) -> dict[str, str]:
    assert submission is not None
    return SEALER.open(submission.contact, submission.lead_id)
