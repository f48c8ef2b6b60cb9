"""What stands in the heads of requests and answers, read once: values that many exchanges share.

A browser sends the same fields with each of the thirty files of a page, and a site answers with the same fields but for
the Date. So a head is a value that depends on its bytes alone, is never changed, and may be found again by its bytes.
Knows what is in a head; how it is read and judged is in `request` and `answer`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar

from proxy.fields import Field, Name, name_of
from proxy.refusal import Refusal

Head = TypeVar("Head")


class Remembered(Generic[Head]):
    """Heads by what they were read from: at most `most`, those that came in first leave first.

    Only what comes a second time is kept. Much comes once, such as a page with its own cookie, and would only push out
    what comes again, such as the files of that page.
    """

    def __init__(self, read: Callable[..., Head], most: int) -> None:
        self._read = read
        self._most = most
        self._heads: dict[Hashable, Head] = {}
        self._came_once: set[int] = set()

    def __call__(self, *source: Hashable) -> Head:
        """`read(*source)`, or what that was before. What `read` raises is raised, and not kept."""
        head = self._heads.get(source)
        if head is None:
            head = self._read(*source)
            self._consider(source, head)
        return head

    def _consider(self, source: Hashable, head: Head) -> None:
        mark = hash(source)
        if mark in self._came_once:
            if len(self._heads) >= self._most:
                del self._heads[next(iter(self._heads))]
            self._heads[source] = head
        else:
            if len(self._came_once) >= 8 * self._most:
                self._came_once.clear()
            self._came_once.add(mark)


class RequestHead:
    """The fields of a request, and what follows from them whatever its method and target are.

    fields            in order, names as sent
    names, lines      what is known of their names, and the line each stood in; one for each
    lowered           lower-case name -> value; the last of several wins
    refusal           why no request with these fields may pass; None if it may
    authority         the Host field; None: HTTP/1.0 without one
    http_10           the client speaks HTTP/1.0
    chunked, length   the framing of the body: chunked, or so many bytes (0: there is none)
    keep_alive        the client wants to use the connection again
    upgrade           the protocol the client would like to switch to, if that may be forwarded
    expects_continue  the client waits for a 100 before it sends the body

    For others, who may keep there what they derived from this head alone:
    upstream_lines    `request.upstream_lines`
    memo              the observer
    """

    __slots__ = (
        "authority", "chunked", "expects_continue", "fields", "http_10", "keep_alive", "length", "lines", "lowered",
        "memo", "names", "refusal", "upgrade", "upstream_lines",
    )  # fmt: skip

    def __init__(self, fields: tuple[Field, ...], *, lines: list[bytes] | None = None, http_10: bool = False) -> None:
        self.fields = fields
        self.lines = [b"%b: %b" % field for field in fields] if lines is None else lines
        self.names: list[Name] = [name_of(name) for name, _ in fields]
        self.lowered: dict[bytes, bytes] = {
            name.lower: value for name, (_, value) in zip(self.names, fields, strict=True)
        }
        self.refusal: Refusal | None = None
        self.authority: bytes | None = None
        self.http_10 = http_10
        self.chunked = False
        self.length = 0
        self.keep_alive = False
        self.upgrade: bytes | None = None
        self.expects_continue = False
        self.upstream_lines: tuple[object, ...] | None = None
        self.memo: Any = None


class AnswerHead:
    """The status line and fields of an answer.

    code, reason      of the status line
    fields            in order, names as sent, but without a Date that is well formed: it changes every second
    names, lines      what is known of their names, and the line each stood in; one for each
    date_place        where in `fields` that Date stood; None if there was none
    lowered           lower-case name -> value, without that Date
    is_sound          nothing in it could do harm further on
    chunked, length   the framing of the body; neither: it ends with the connection
    close             the upstream will close, or must not be used again

    For others, who may keep there what they derived from this head alone:
    pieces            `answer.downstream_head`
    memo              the observer
    """

    __slots__ = (
        "chunked", "close", "code", "date_place", "fields", "is_sound", "length", "lines", "lowered",
        "memo", "names", "pieces", "reason",
    )  # fmt: skip

    def __init__(
        self,
        code: int,
        fields: tuple[Field, ...] = (),
        *,
        lines: list[bytes] | None = None,
        reason: bytes = b"",
        date_place: int | None = None,
    ) -> None:
        self.code = code
        self.reason = reason
        self.fields = fields
        self.lines = [b"%b: %b" % field for field in fields] if lines is None else lines
        self.date_place = date_place
        self.names: list[Name] = [name_of(name) for name, _ in fields]
        self.lowered: dict[bytes, bytes] = {
            name.lower: value for name, (_, value) in zip(self.names, fields, strict=True)
        }
        self.is_sound = True
        self.chunked = False
        self.length: int | None = None
        self.close = False
        self.pieces: dict[object, tuple[bytes, bytes, bytes]] = {}
        self.memo: Any = None


def values_of(head: RequestHead | AnswerHead, name: bytes) -> list[bytes]:
    """Every value of the field `name` (lower case), in order."""
    if name not in head.lowered:
        return []
    return [value for known, (_, value) in zip(head.names, head.fields, strict=True) if known.lower == name]
