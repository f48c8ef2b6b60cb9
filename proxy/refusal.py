"""Answers of the proxy's own: why, with which status, and the page.

Knows the closed list of reasons. Knows nothing of the request but its method: nothing a visitor sent is echoed.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from functools import cache


@dataclass(frozen=True)
class Meaning:
    status: int
    phrase: str
    text: str


class Refusal(Enum):
    """Why the proxy answered itself. The name is what the log keeps, in lower case."""

    HTTPS_ONLY = Meaning(308, "Permanent Redirect", "This website is available over https only.")
    BAD_REQUEST = Meaning(400, "Bad Request", "The request could not be understood.")
    BAD_TARGET = Meaning(400, "Bad Request", "The address in the request could not be understood.")
    BAD_HOST = Meaning(400, "Bad Request", "The request names no valid host.")
    BAD_FRAMING = Meaning(400, "Bad Request", "The length of the request is not clear.")
    METHOD_NOT_ALLOWED = Meaning(405, "Method Not Allowed", "This method is not available here.")
    REQUEST_TIMEOUT = Meaning(408, "Request Timeout", "The request took too long to arrive.")
    CONTENT_TOO_LARGE = Meaning(413, "Content Too Large", "What was sent is larger than this website takes.")
    TARGET_TOO_LONG = Meaning(414, "URI Too Long", "The address in the request is too long.")
    TOO_MANY_CONNECTIONS = Meaning(429, "Too Many Requests", "There are too many connections from your address.")
    FIELDS_TOO_LARGE = Meaning(431, "Request Header Fields Too Large", "The request's header is too large.")
    CODING_UNKNOWN = Meaning(501, "Not Implemented", "The request uses a transfer coding that is not available here.")
    UPSTREAM_DOWN = Meaning(502, "Bad Gateway", "The website cannot be reached at the moment. Please try again soon.")
    UPSTREAM_CLOSED = Meaning(502, "Bad Gateway", "The website gave no answer. Please try again soon.")
    UPSTREAM_INVALID = Meaning(502, "Bad Gateway", "The website's answer could not be understood.")
    OVERLOADED = Meaning(503, "Service Unavailable", "The website is very busy. Please try again soon.")
    UPSTREAM_SLOW = Meaning(504, "Gateway Timeout", "The website took too long to answer. Please try again soon.")
    VERSION_UNKNOWN = Meaning(505, "HTTP Version Not Supported", "This version of HTTP is not available here.")

    @property
    def status(self) -> int:
        return self.value.status

    @property
    def ended_by(self) -> str:
        """Whose doing it was: client, upstream or proxy."""
        if self is Refusal.REQUEST_TIMEOUT:
            return "client"
        return "upstream" if self.name.startswith("UPSTREAM") else "proxy"

    @property
    def reason(self) -> str:
        """The word for the log."""
        return self.name.lower()


@cache
def _parts(refusal: Refusal) -> tuple[bytes, bytes]:
    """Status line and fields, and the page."""
    meaning = refusal.value
    body = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{meaning.status} {meaning.phrase}</title>'
        f'<meta name="viewport" content="width=device-width"><h1>{meaning.phrase}</h1><p>{meaning.text}</p></html>\n'
    ).encode()
    head = (
        f"HTTP/1.1 {meaning.status} {meaning.phrase}\r\n"
        "Content-Type: text/html; charset=utf-8\r\n"
        f"Content-Length: {len(body)}\r\n"
        # RFC 9111 section 4: an error of ours must not be kept by a cache in front.
        "Cache-Control: no-store\r\n"
    )
    if refusal is Refusal.METHOD_NOT_ALLOWED:
        # RFC 9110 section 15.5.6 asks for Allow.
        head += "Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n"
    return head.encode(), body


def response(
    refusal: Refusal, *, date: bytes, close: bool, with_body: bool = True, location: bytes | None = None
) -> bytes:
    """The bytes to send: status line, fields, and the page unless the request was a HEAD."""
    head, body = _parts(refusal)
    if location is not None:
        head += b"Location: " + location + b"\r\n"
    fields = b"Date: " + date + (b"\r\nConnection: close\r\n\r\n" if close else b"\r\n\r\n")
    return head + fields + (body if with_body else b"")


def body_bytes(refusal: Refusal) -> int:
    """How long the page is."""
    return len(_parts(refusal)[1])
