"""One exchange as the proxy saw it: the value that observers read.

Knows what was asked and answered, and when. Knows nothing of sockets, and nothing of what observers make of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from proxy.fields import Field
from proxy.heads import AnswerHead, RequestHead
from proxy.refusal import Refusal, body_bytes

__all__ = ["AnswerHead", "Exchange", "Field", "RequestHead"]

_NOTHING: Mapping[bytes, bytes] = MappingProxyType({})


class Exchange:
    """One request and its response. The proxy fills it in; observers read it.

    seq               number of the exchange in this worker, from 1, without gaps
    started_ns        Unix nanoseconds at which the request's head was complete
    client            address of the peer, or the one a trusted proxy in front named
    scheme            http or https, as the visitor used it
    method, target    as sent; `target` is the raw request target, never decoded
    is_http2          the visitor spoke HTTP/2; if not, `head` says whether it was HTTP/1.0
    head              the request's fields; exchanges with the same fields share it (see `heads`)
    status            what the visitor got: 0 while unanswered, 499 when the visitor left before an answer
    answer            the upstream's fields; None for a refusal
    date              the upstream's Date, which is not in `answer`; None if it had none
    request_bytes     body bytes received from the visitor
    response_bytes    body bytes handed to the visitor
    wait_ns           from `started_ns` to the upstream's response head; None without one
    ended_ns          Unix nanoseconds of the end; 0 while running
    ended_by          None: complete. client, upstream or proxy: who ended it early, or refused it
    refusal           why the proxy answered itself, from `proxy.refusal.Refusal`; None if it did not
    retries           how often the request was sent again on another upstream connection
    upgraded          the connection became a tunnel

    Set by the observer:
    upstream_fields   what to change in the request that goes upstream: lower-case name -> value, b"" takes the field
                      away; a field that is there keeps its place and spelling, any other is added
    request_copy      takes a copy of the request body
    response_copy     takes a copy of the response body
    notes             whatever the observer wants to find again
    """

    # Most exchanges need few of these: what stands in the class costs nothing per exchange.
    status = 0
    answer: AnswerHead | None = None
    date: bytes | None = None
    request_bytes = 0
    response_bytes = 0
    wait_ns: int | None = None
    ended_ns = 0
    ended_by: str | None = None
    refusal: str | None = None
    retries = 0
    upgraded = False
    is_http2 = False
    upstream_fields: Mapping[bytes, bytes] = _NOTHING
    request_copy: Any = None
    response_copy: Any = None
    notes: Any = None

    def __init__(
        self, seq: int, started_ns: int, client: str, scheme: str, method: str, target: str, head: RequestHead
    ) -> None:
        self.seq = seq
        self.started_ns = started_ns
        self.client = client
        self.scheme = scheme
        self.method = method
        self.target = target
        self.head = head

    @property
    def fields(self) -> tuple[Field, ...]:
        """The request's fields in order, names as sent; `get` looks one up."""
        return self.head.fields

    @property
    def lowered(self) -> dict[bytes, bytes]:
        """The request's fields by lower-case name. The last of several wins; who needs all of them walks `fields`."""
        return self.head.lowered

    @property
    def response_fields(self) -> tuple[Field, ...]:
        """The upstream's fields in order; empty for a refusal."""
        answer = self.answer
        if answer is None:
            return ()
        if self.date is None or answer.date_place is None:
            return answer.fields
        place = answer.date_place
        return (*answer.fields[:place], (b"Date", self.date), *answer.fields[place:])

    def refused(self, refusal: Refusal) -> None:
        """The proxy answers itself, with a page of its own and nothing of an answer from upstream."""
        self.status = refusal.status
        self.refusal = refusal.reason
        self.ended_by = refusal.ended_by
        self.answer = None
        self.response_bytes = body_bytes(refusal) if self.method != "HEAD" else 0

    def get(self, name: bytes) -> str | None:
        """The value of the request field `name` (lower case) as text, undecodable octets escaped; None if absent."""
        value = self.head.lowered.get(name)
        return None if value is None else value.decode("utf-8", "backslashreplace")
