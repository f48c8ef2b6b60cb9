"""What the reader and a query's process say to each other over their socket: an order one way, frames the other.

Knows lengths and kinds. Whatever a query answers travels in pieces, so that neither side holds it whole.
"""

from __future__ import annotations

import socket
from enum import IntEnum

import msgspec

# The answer in pieces of this size at most.
PIECE_BYTES = 128 * 1024

_LENGTH_BYTES = 4

# Beyond the time limit, for what does not hear that it is over: then the system ends it.
GRACE_SECS = 2.0


class Kind(IntEnum):
    HEAD = 1  # the answer begins; what it is, `Head`
    DATA = 2  # a piece of it
    END = 3  # it was whole; `End`
    PROBLEM = 4  # it is not, or there is none; `Problem`
    AGAIN = 5  # the files changed place before anything was read; the same order to a new process will do


class Order(msgspec.Struct, frozen=True):
    """What a query's process is to do. `files` and `folders` are what the views of the door read, as DuckDB names them.

    `trees` are where the folders lie, whichever way leads there. `place` is inode and mtime of the door they are of.
    Without `sql` it tells of the views and their columns if `schema` is set, which is a question of ours, and else which
    files and folders may be read. `secs` are left of the time limit of `limit_secs`.
    """

    door: str
    limit_secs: float
    secs: float
    sql: str | None = None
    parameters: list | dict | None = None
    schema: bool = False
    form: str = "json"
    files: list[str] = []
    folders: list[str] = []
    trees: list[str] = []
    place: tuple[int, int] | None = None
    max_rows: int = 1_000_000
    memory_limit_mb: int = 512
    threads: int = 2


class Head(msgspec.Struct, frozen=True):
    form: str


class End(msgspec.Struct, frozen=True):
    rows: int


def frame(kind: Kind, body: bytes | memoryview = b"") -> bytes:
    return bytes([kind]) + len(body).to_bytes(_LENGTH_BYTES, "big") + body


def frames_of(data: bytes) -> list[bytes]:
    """A part of the answer as frames."""
    view = memoryview(data)
    return [frame(Kind.DATA, view[at : at + PIECE_BYTES]) for at in range(0, len(data), PIECE_BYTES)]


HEADER_BYTES = 1 + _LENGTH_BYTES


def header(octets: bytes) -> tuple[Kind, int]:
    """Kind and length of the frame that begins like this."""
    return Kind(octets[0]), int.from_bytes(octets[1:HEADER_BYTES], "big")


def of_order(order: Order) -> bytes:
    body = msgspec.json.encode(order)
    return len(body).to_bytes(_LENGTH_BYTES, "big") + body


def read_order(sock: socket.socket) -> Order | None:
    """Blocks until it is whole; None when the reader is gone. Raises msgspec.DecodeError."""
    size = _read(sock, _LENGTH_BYTES)
    body = size and _read(sock, int.from_bytes(size, "big"))
    return msgspec.json.decode(body, type=Order) if body else None


def _read(sock: socket.socket, size: int) -> bytes | None:
    read = bytearray()
    while len(read) < size:
        if not (some := sock.recv(min(size - len(read), 1 << 16))):
            return None
        read += some
    return bytes(read)
