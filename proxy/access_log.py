r"""One line for every exchange that ended, on a descriptor that others write to as well.

`line` knows the two formats; `AccessLog` knows buffers, and a reader that may not read. Neither knows what is logged
anywhere else.

Three things are promised: the loop never waits for the reader, no line is mixed with another process's, and no line is
cut. The descriptor is mostly a stdout that the workers, their supervisor and a shell have in common, and that decides:

* O_NONBLOCK is not set. It belongs to the open file, not to the descriptor (open(2), dup(2)), so everybody else who has
  it would get EAGAIN and lose output.
* /proc/self/fd/1 is not opened again to get a file of our own: that fails for a socket (systemd's journal), for a pipe
  of another user's (privileges dropped, `docker run --user`), and for `> file` without O_APPEND it would write from the
  start of the file over what is there.
* poll(2) before write(2) alone is not enough on the loop: another process may take the room in between, and then the
  write waits for the reader.

So a thread writes, in blocking mode, and may wait as long as it likes. No line is longer than PIPE_BUF, and no write
is: pipe(7) promises that these are not mixed with others. A longer one could only be kept together with a lock that
every writer knows, and a stuck reader would then hold up all of them; what is too long is cut inside its values.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import select
import threading
import time
from collections.abc import Iterable, Iterator
from functools import lru_cache
from queue import SimpleQueue
from typing import Literal

import msgspec

from proxy.exchange import Exchange

log = logging.getLogger(__name__)

Style = Literal["combined", "json"]

MAX_LINE_BYTES = select.PIPE_BUF
# Tried in turn until the line fits: how many octets of each value from outside are kept. The last fits always.
_LIMITS = (MAX_LINE_BYTES, 1024, 512, 256, 128, 64)

FLUSH_SECS = 0.1
FLUSH_BYTES = 65_536
# Lines that wait for a reader who does not read; what comes then is dropped and counted.
MAX_WAITING_BYTES = 1_048_576
LOG_SECS = 60.0
# How often a writer who waits for the reader looks up, and how long `close` waits for the writer.
_LOOK_UP_MS = 200
CLOSE_SECS = 1.0

# ngx_http_log_escape: quotes, backslash, and all that is not printable ASCII, as \xNN with capitals.
_UNSAFE = re.compile(rb'[\x00-\x1f"\\\x7f-\xff]')
_ESCAPED = tuple(b"\\x%02X" % octet if _UNSAFE.match(bytes([octet])) else bytes([octet]) for octet in range(256))
# JSON escapes by itself what is left; DEL it would pass, and a terminal would act on it.
_NOT_JSON = re.compile(rb"[\x7f-\xff]")
_ASCII = tuple(b"\\x%02x" % octet if octet >= 0x7F else bytes([octet]) for octet in range(256))
# strftime's %b would follow the locale.
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


# -- the line


def line(exchange: Exchange, style: Style) -> bytes:
    """What is logged of an exchange that has ended: printable ASCII and one line feed, at most PIPE_BUF bytes.

    combined  nginx's format of that name, the duration in microseconds, who ended it early, and why it was refused
    json      an object with the keys of `Entry`
    Values from outside are escaped; in a line that would be too long they are cut, and end in "...".
    """
    write = _combined if style == "combined" else _json
    lowered = exchange.lowered
    from_outside = len(exchange.target) + len(lowered.get(b"referer", b"")) + len(lowered.get(b"user-agent", b""))
    # What cannot fit is not even tried: escaping is the visitor's to make dear.
    for limit in _LIMITS if from_outside < MAX_LINE_BYTES else _LIMITS[1:]:
        written = write(exchange, limit)
        if len(written) <= MAX_LINE_BYTES:
            break
    return written


def _combined(exchange: Exchange, limit: int) -> bytes:
    lowered = exchange.lowered
    request = b"-"
    if exchange.method:
        version = b"HTTP/2.0" if exchange.is_http2 else b"HTTP/1.0" if exchange.head.http_10 else b"HTTP/1.1"
        request = b"%b %b %b" % (
            _safe(_octets(exchange.method), limit),
            _safe(_octets(exchange.target), limit),
            version,
        )
    # The user's name (%b after the first dash in nginx) would come out of Authorization: it is nobody's business here.
    return b'%b - - [%b] "%b" %d %d "%b" "%b" "%d us" %b %b\n' % (
        _safe(exchange.client.encode("ascii", "backslashreplace"), limit),
        _local_time((exchange.ended_ns or exchange.started_ns) // 1_000_000_000),
        request,
        exchange.status,
        exchange.response_bytes,
        _safe(lowered.get(b"referer", b"-"), limit),
        _safe(lowered.get(b"user-agent", b"-"), limit),
        _duration_us(exchange),
        exchange.ended_by.encode() if exchange.ended_by else b"-",
        exchange.refusal.encode() if exchange.refusal else b"-",
    )


def _safe(value: bytes, limit: int) -> bytes:
    if len(value) > limit:
        value = value[:limit] + b"..."
    return b"".join(map(_ESCAPED.__getitem__, value)) if _UNSAFE.search(value) else value


@lru_cache(4)
def _local_time(second: int) -> bytes:
    """As nginx's $time_local: 10/Oct/2000:13:55:36 -0700."""
    at = time.localtime(second)
    return f"{at.tm_mday:02}/{_MONTHS[at.tm_mon - 1]}/{time.strftime('%Y:%H:%M:%S %z', at)}".encode()


class Entry(msgspec.Struct):
    """A line of the format `json`. Octets that are not ASCII stand in it as \\xNN; null: there was none.

    time         UTC, when the exchange ended
    duration_us  from the complete request head to the end
    wait_us      from there to the head of the site's response
    """

    time: str
    client: str
    scheme: str
    method: str
    host: str | None
    target: str
    status: int
    request_bytes: int
    response_bytes: int
    duration_us: int
    wait_us: int | None
    referer: str | None
    user_agent: str | None
    ended_by: str | None
    refusal: str | None
    retries: int
    upgraded: bool


_encoder = msgspec.json.Encoder()


def _json(exchange: Exchange, limit: int) -> bytes:
    lowered = exchange.lowered
    ended_ns = exchange.ended_ns or exchange.started_ns
    entry = Entry(
        f"{_utc(ended_ns // 1_000_000_000)}.{ended_ns // 1_000_000 % 1000:03}Z",
        _ascii(exchange.client.encode("ascii", "backslashreplace"), limit),
        exchange.scheme,
        _ascii(_octets(exchange.method), limit),
        _ascii(lowered.get(b"host"), limit),
        _ascii(_octets(exchange.target), limit),
        exchange.status,
        exchange.request_bytes,
        exchange.response_bytes,
        _duration_us(exchange),
        None if exchange.wait_ns is None else exchange.wait_ns // 1000,
        _ascii(lowered.get(b"referer"), limit),
        _ascii(lowered.get(b"user-agent"), limit),
        exchange.ended_by,
        exchange.refusal,
        exchange.retries,
        exchange.upgraded,
    )
    return _encoder.encode(entry) + b"\n"


def _ascii(value: bytes | None, limit: int) -> str | None:
    if value is None:
        return None
    if len(value) > limit:
        value = value[:limit] + b"..."
    return (b"".join(map(_ASCII.__getitem__, value)) if _NOT_JSON.search(value) else value).decode("ascii")


@lru_cache(4)
def _utc(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))


def _octets(text: str) -> bytes:
    """What the parser made text of."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("ascii", "backslashreplace")


def _duration_us(exchange: Exchange) -> int:
    return max(0, exchange.ended_ns - exchange.started_ns) // 1000


# -- the writer


class AccessLog:
    """Writes lines to `fd`, which stays the caller's and keeps its mode. `write` on the loop, `close` once.

    dropped   lines that were not written: the reader did not read, was gone, or the disk was full
    """

    def __init__(self, style: Style, fd: int, loop: asyncio.AbstractEventLoop) -> None:
        self._style = style
        self._fd = fd
        self._loop = loop
        self._lines: list[bytes] = []
        self._size = 0
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        # Each counter has one thread that changes it: the loop's for the first two, the writer's for the others.
        self._accepted_bytes = 0
        self._refused_lines = 0
        self._done_bytes = 0
        self._lost_lines = 0
        self._torn = False
        self._said_lines = 0
        self._said_at = self._unsaid_since = float("-inf")
        self._give_up = False
        self._queue: SimpleQueue[list[bytes] | None] = SimpleQueue()
        self._poll = select.poll()
        self._poll.register(fd, select.POLLOUT)
        # A daemon: a process that ends does not wait for a reader.
        self._thread = threading.Thread(target=self._run, name="access log", daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        return self._refused_lines + self._lost_lines

    def write(self, exchange: Exchange) -> None:
        """Keeps the line until there are 64 kB, or 100 ms have passed. Never waits."""
        if self._closed or self._accepted_bytes - self._done_bytes > MAX_WAITING_BYTES - MAX_LINE_BYTES:
            self._refused_lines += 1
            return
        written = line(exchange, self._style)
        self._lines.append(written)
        self._size += len(written)
        self._accepted_bytes += len(written)
        if self._size >= FLUSH_BYTES:
            self._flush()
        elif self._timer is None:
            self._timer = self._loop.call_later(FLUSH_SECS, self._flush)

    def close(self) -> None:
        """Writes what there is. Waits for a reader who does not read for CLOSE_SECS at most, and drops the rest then."""
        if self._closed:
            return
        self._closed = True
        self._flush()
        self._queue.put(None)
        self._thread.join(CLOSE_SECS)
        if self._thread.is_alive():
            self._give_up = True
            self._thread.join(2 * _LOOK_UP_MS / 1000)

    def _flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._lines:
            self._queue.put(self._lines)
            self._lines, self._size = [], 0

    # -- in the writer's thread

    def _run(self) -> None:
        while (lines := self._queue.get()) is not None:
            for piece in pieces(lines):
                self._put(piece)
                self._done_bytes += len(piece)
            self._say(caught_up=self._queue.empty())
        self._say(last=True)

    def _put(self, piece: bytes) -> None:
        left = b"\n" + piece if self._torn else piece
        try:
            while left:
                if not self._has_room():
                    break
                try:
                    left = left[os.write(self._fd, left) :]
                    self._torn = False
                except BlockingIOError:
                    continue  # somebody else has set O_NONBLOCK, and was quicker
        except OSError:
            pass  # EPIPE, ENOSPC, EIO: counted, and tried again with the next piece
        if left:
            self._lost_lines += left.count(b"\n") - (len(left) > len(piece))
            # Only a full disk, a socket or a terminal stop in the middle; the next line must begin on its own.
            if len(left) < len(piece):
                self._torn = piece[-len(left) - 1 : -len(left)] != b"\n"

    def _has_room(self) -> bool:
        """Waits for the reader. False when that is over."""
        while not self._poll.poll(0 if self._give_up else _LOOK_UP_MS):
            if self._give_up:
                return False
            self._say()
        return True

    def _say(self, *, caught_up: bool = False, last: bool = False) -> None:
        """How many were dropped, on stderr: once the reader is there again, or after a minute without it.

        Here and not on the loop, because the reader of stderr is often the same.
        """
        lines = self.dropped - self._said_lines
        if not lines:
            return
        now = time.monotonic()
        if self._unsaid_since <= self._said_at:
            self._unsaid_since = now
        stuck_for_long = now - self._unsaid_since >= LOG_SECS
        if last or (now - self._said_at >= LOG_SECS and (caught_up or stuck_for_long)):
            self._said_at = now
            self._said_lines += lines
            log.warning("event=access_log_dropped lines=%d total=%d visitors=unaffected", lines, self._said_lines)


def pieces(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Whole lines together, as many as one write may have."""
    piece: list[bytes] = []
    size = 0
    for one in lines:
        if size + len(one) > MAX_LINE_BYTES and piece:
            yield b"".join(piece)
            piece, size = [], 0
        piece.append(one)
        size += len(one)
    if piece:
        yield b"".join(piece)
