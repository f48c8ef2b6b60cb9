"""One exchange as the proxy saw it: the value that observers read.

Knows what was asked and answered, and when. Knows nothing of sockets, and nothing of what observers make of it.
"""

from __future__ import annotations

from typing import Any

Field = tuple[bytes, bytes]


class Exchange:
    """One request and its response. The proxy fills it in; observers read it.

    seq               number of the exchange in this worker, from 1, without gaps
    started_ns        Unix nanoseconds at which the request's head was complete
    client            address of the peer, or the one a trusted proxy in front named
    scheme            http or https, as the visitor used it
    method, target    as sent; `target` is the raw request target, never decoded
    fields            request fields in order, names as sent; `get` looks one up
    status            what the visitor got: 0 while unanswered, 499 when the visitor left before an answer
    response_fields   the upstream's fields in order (empty for a refusal)
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

    __slots__ = (
        "client", "ended_by", "ended_ns", "fields", "lowered", "method", "notes", "refusal", "request_bytes",
        "request_copy", "response_bytes", "response_copy", "response_fields", "retries", "scheme", "seq",
        "started_ns", "status", "target", "upgraded", "upstream_fields", "wait_ns",
    )  # fmt: skip

    def __init__(
        self,
        *,
        seq: int,
        started_ns: int,
        client: str,
        scheme: str,
        method: str,
        target: str,
        fields: tuple[Field, ...],
    ) -> None:
        self.seq = seq
        self.started_ns = started_ns
        self.client = client
        self.scheme = scheme
        self.method = method
        self.target = target
        self.fields = fields
        # Last of several wins here; who needs every value of a repeated field walks `fields`.
        self.lowered: dict[bytes, bytes] = {name.lower(): value for name, value in fields}
        self.status = 0
        self.response_fields: tuple[Field, ...] = ()
        self.request_bytes = 0
        self.response_bytes = 0
        self.wait_ns: int | None = None
        self.ended_ns = 0
        self.ended_by: str | None = None
        self.refusal: str | None = None
        self.retries = 0
        self.upgraded = False
        self.upstream_fields: dict[bytes, bytes] = {}
        self.request_copy: Any = None
        self.response_copy: Any = None
        self.notes: Any = None

    def get(self, name: bytes) -> str | None:
        """The value of the request field `name` (lower case) as text, undecodable octets escaped; None if absent."""
        value = self.lowered.get(name)
        return None if value is None else value.decode("utf-8", "backslashreplace")
