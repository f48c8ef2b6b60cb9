"""An origin that reads HTTP/1.1 by the letter and writes down whatever it would have to guess about.

Written from RFC 9110 and 9112 alone: it imports nothing of ropo, so that both cannot share a mistake. `read_request` and
`read_answers` are the grammar, `by_the_letter` reads all of a client's bytes, `StrictOrigin` listens.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from dataclasses import dataclass, field
from typing import NamedTuple

TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
REQUEST_LINE = re.compile(rb"(" + TOKEN + rb") ([\x21-\x7e\x80-\xff]+) (HTTP/1\.[01])")
STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-9][0-9]{2}) [\t\x20-\x7e\x80-\xff]*")
FIELD = re.compile(
    rb"(" + TOKEN + rb"):[ \t]*((?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?)[ \t]*"
)
QUOTED = rb'"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t\x20-\x7e\x80-\xff])*"'
# Without the whitespace RFC 9112 7.1.1 calls bad: nobody sends it, and readers disagree about it.
CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,16})(?:;" + TOKEN + rb"(?:=(?:" + TOKEN + rb"|" + QUOTED + rb"))?)*")
HOST = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9\-._~%!$&'()*+,;=]+)(?::[0-9]+)?")
ABSOLUTE = re.compile(rb"(?i:https?)://([^/?#]+)([/?].*)?", re.DOTALL)

# What sloppy readers take for a field that frames or routes a message (CGI and WSGI read `_` as `-`).
FRAMING_NAMES = (b"content-length", b"transfer-encoding", b"host")
CLAIMS = (b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"forwarded")


class Deviation(Exception):
    """Not by the letter: from here on a reader guesses."""


class _Incomplete(Exception):
    """By the letter so far, and not at its end."""


@dataclass
class Request:
    method: bytes
    target: bytes
    version: bytes
    fields: list[tuple[bytes, bytes]]
    body: bytes = b""
    trailers: list[tuple[bytes, bytes]] = field(default_factory=list)

    def values(self, name: bytes) -> list[bytes]:
        return [value for key, value in self.fields if key.lower() == name]

    @property
    def path(self) -> bytes:
        """The target in origin-form (RFC 9112 3.2.1)."""
        absolute = ABSOLUTE.fullmatch(self.target)
        if absolute is None:
            return self.target
        rest = absolute[2] or b"/"
        return rest if rest[:1] == b"/" else b"/" + rest

    @property
    def authority(self) -> bytes | None:
        absolute = ABSOLUTE.fullmatch(self.target)
        hosts = self.values(b"host")
        return absolute[1] if absolute else hosts[0] if hosts else None

    @property
    def echo(self) -> bytes:
        """What its answer must carry: no other request has the same."""
        said = b"\0".join((self.method, self.path, b"%d" % len(self.body), self.body))
        return hashlib.sha256(said).hexdigest()[:16].encode()


class Answer(NamedTuple):
    """`whole`: its end was there."""

    status: int
    fields: list[tuple[bytes, bytes]]
    body: bytes
    whole: bool

    def value(self, name: bytes) -> bytes | None:
        return next((value for key, value in self.fields if key.lower() == name), None)


# -- the grammar


def _line(data: bytes, at: int) -> tuple[bytes, int]:
    end = data.find(b"\n", at)
    if end < 0:
        raise _Incomplete
    if end == at or data[end - 1 : end] != b"\r":
        raise Deviation("a bare LF")
    line = data[at : end - 1]
    if b"\r" in line or b"\0" in line:
        raise Deviation("a bare CR or NUL")
    return line, end + 1


def _fields(data: bytes, at: int) -> tuple[list[tuple[bytes, bytes]], int]:
    fields = []
    while True:
        line, at = _line(data, at)
        if not line:
            return fields, at
        match = FIELD.fullmatch(line)
        if match is None:
            raise Deviation(f"no field: {line[:60]!r}")
        fields.append((match[1], match[2]))


def _take(data: bytes, at: int, count: int) -> bytes:
    if len(data) - at < count:
        raise _Incomplete
    return data[at : at + count]


def _chunks(data: bytes, at: int) -> tuple[bytes, list[tuple[bytes, bytes]], int]:
    body = b""
    while True:
        line, at = _line(data, at)
        match = CHUNK_LINE.fullmatch(line)
        if match is None:
            raise Deviation(f"no chunk: {line[:60]!r}")
        size = int(match[1], 16)
        if size >= 2**60:
            raise Deviation("a chunk that overflows")
        if not size:
            trailers, at = _fields(data, at)
            return body, trailers, at
        body += _take(data, at, size)
        at += size
        if _take(data, at, 2) != b"\r\n":
            raise Deviation("a chunk without its end")
        at += 2


def _length(fields: list[tuple[bytes, bytes]]) -> int | None:
    """What Content-Length says; every second one and every other spelling is a deviation (RFC 9112 6.3)."""
    values = [value for name, value in fields if name.lower() == b"content-length"]
    if not values:
        return None
    if len(values) > 1 or not re.fullmatch(rb"[0-9]{1,18}", values[0]):
        raise Deviation(f"Content-Length {values!r}")
    return int(values[0])


def _is_chunked(fields: list[tuple[bytes, bytes]]) -> bool:
    codings = [value for name, value in fields if name.lower() == b"transfer-encoding"]
    if codings and (len(codings) > 1 or codings[0].lower() != b"chunked"):
        raise Deviation(f"Transfer-Encoding {codings!r}")
    return bool(codings)


def _read_request(data: bytes) -> tuple[Request, int]:
    line, at = _line(data, 0)
    match = REQUEST_LINE.fullmatch(line)
    if match is None:
        raise Deviation(f"no request line: {line[:60]!r}")
    request = Request(match[1], match[2], match[3], [])
    absolute = ABSOLUTE.fullmatch(request.target)
    if not (request.target[:1] == b"/" or absolute or (request.target, request.method) == (b"*", b"OPTIONS")):
        raise Deviation(f"no target: {request.target[:60]!r}")
    if absolute and not HOST.fullmatch(absolute[1]):
        raise Deviation(f"no authority: {absolute[1][:60]!r}")
    request.fields, at = _fields(data, at)
    hosts = request.values(b"host")
    if len(hosts) > 1 or (not hosts and request.version == b"HTTP/1.1") or not all(map(HOST.fullmatch, hosts)):
        raise Deviation(f"Host {hosts!r}")
    for name, _ in request.fields:
        if b"_" in name and name.lower().replace(b"_", b"-") in FRAMING_NAMES:
            raise Deviation(f"a name some take for another: {name!r}")
    length = _length(request.fields)
    if _is_chunked(request.fields):
        if length is not None or request.version == b"HTTP/1.0":
            raise Deviation("Transfer-Encoding with Content-Length or in HTTP/1.0")
        request.body, request.trailers, at = _chunks(data, at)
    elif length:
        request.body = _take(data, at, length)
        at += length
    return request, at


def read_request(data: bytes) -> tuple[Request, int] | None:
    """The request `data` begins with, and where it ends. None: it has no end yet. Deviation."""
    try:
        return _read_request(data)
    except _Incomplete:
        return None


def by_the_letter(data: bytes) -> list[Request]:
    """The requests a client sent with `data`, up to where a reader would have to guess."""
    requests: list[Request] = []
    while data:
        while data[:2] == b"\r\n":  # RFC 9112 2.2: empty lines before a request line are to be ignored
            data = data[2:]
        try:
            found = read_request(data)
        except Deviation:
            break
        if found is None:
            break
        requests.append(found[0])
        data = data[found[1] :]
    return requests


def read_answers(data: bytes, methods: list[bytes]) -> list[Answer]:
    """The final answers in `data`, to requests of these methods; of an answer beyond them nothing is known but that it
    is no answer to HEAD. Deviation, also for a byte too many."""
    answers: list[Answer] = []
    at = 0
    while at < len(data):
        method = methods[len(answers)] if len(answers) < len(methods) else b"GET"
        try:
            line, after = _line(data, at)
            fields, after = _fields(data, after)
        except _Incomplete:
            raise Deviation(f"half a head: {data[at : at + 60]!r}") from None
        match = STATUS_LINE.fullmatch(line)
        if match is None:
            raise Deviation(f"no status line: {line[:60]!r}")
        status, at = int(match[1]), after
        if status < 200:
            if any(name.lower() in FRAMING_NAMES for name, _ in fields) and status != 101:
                raise Deviation("an interim answer with a length")
            if status == 101:
                answers.append(Answer(status, fields, data[at:], True))
                break
            continue
        length, chunked = _length(fields), _is_chunked(fields)
        if chunked and length is not None:
            raise Deviation("an answer with Transfer-Encoding and Content-Length")
        body, whole = b"", True
        try:
            if method == b"HEAD" or status in (204, 304):
                pass
            elif chunked:
                body, _, at = _chunks(data, at)
            elif length is not None:
                body = _take(data, at, length)
                at += length
            else:
                body, at = data[at:], len(data)
        except _Incomplete:
            body, at, whole = data[at:], len(data), False
        answers.append(Answer(status, fields, body, whole))
    return answers


def _as_next_hop(request: Request) -> None:
    """What a proxy must not hand on (RFC 9110 7.6.1, RFC 9112 3.2)."""
    if request.version != b"HTTP/1.1":
        raise Deviation("the version of another hop")
    if request.target[:1] != b"/" and request.target != b"*":
        raise Deviation("not origin-form")
    for name in (b"keep-alive", b"proxy-connection", b"proxy-authorization", b"http2-settings"):
        if request.values(name):
            raise Deviation(f"{name.decode()} belongs to another hop")
    connection, upgrade = request.values(b"connection"), request.values(b"upgrade")
    if connection not in ([], [b"Upgrade"]) or bool(connection) != bool(upgrade):
        raise Deviation(f"Connection {connection!r}, Upgrade {upgrade!r}")
    if any(b"h2c" in value.lower() for value in upgrade):
        raise Deviation("h2c")
    if request.values(b"te") not in ([], [b"trailers"]):
        raise Deviation("TE of another hop")
    plain = [name.lower().replace(b"_", b"-") for name, _ in request.fields]
    if any(plain.count(name) > 1 for name in CLAIMS):
        raise Deviation("two claims about the visitor")


# -- the server


class StrictOrigin:
    """`async with StrictOrigin() as origin:` listens on `origin.port`, in this loop.

    requests     every request that was whole and by the letter, in order, of all connections
    deviations   what was not
    unfinished   what was left of requests whose connection ended before them
    """

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.deviations: list[str] = []
        self.unfinished: list[bytes] = []
        self.connections = 0
        self.port = 0
        self._writers: set[asyncio.BaseTransport] = set()

    async def __aenter__(self) -> StrictOrigin:
        self._server = await asyncio.get_running_loop().create_server(lambda: _Connection(self), "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for transport in list(self._writers):
            transport.abort()
        await asyncio.sleep(0)


class _Connection(asyncio.Protocol):
    def __init__(self, origin: StrictOrigin) -> None:
        self._origin = origin
        self._data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._origin.connections += 1
        self._origin._writers.add(transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._origin._writers.discard(self._transport)
        if self._data:
            self._origin.unfinished.append(self._data)

    def data_received(self, data: bytes) -> None:
        self._data += data
        while self._data:
            try:
                found = read_request(self._data)
                if found is None:
                    return
                _as_next_hop(found[0])
            except Deviation as deviation:
                self._origin.deviations.append(f"{deviation} in {self._data[:300]!r}")
                self._data = b""
                self._transport.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                self._transport.close()
                return
            request, end = found
            self._data = self._data[end:]
            self._origin.requests.append(request)
            self._transport.write(answer_to(request))


def answer_to(request: Request) -> bytes:
    """An answer that says to which request it belongs."""
    body = b"origin " + request.echo
    head = b"HTTP/1.1 200 OK\r\nX-Echo: %b\r\nContent-Length: %d\r\n\r\n" % (request.echo, len(body))
    return head if request.method == b"HEAD" else head + body
