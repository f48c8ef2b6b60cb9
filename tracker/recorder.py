"""The worker's half of the tracker: an observer of exchanges that writes one record for each.

Knows the proxy's `Observer` calls and the order in which a form's facts must reach the disk. It verifies or mints the
visitor's cookie, keeps a bounded copy of a form, and appends the record. It derives nothing: see `pipeline`.

    request_started   who is it; is it a form
    (form) the request body is whole   the submission is on disk before the site may see the end of it
    response_started  set the cookie
    (form) the response body is whole  the site's answer is on disk before the visitor sees the end of it
    finished          the record, unless the form's answer has brought it to disk already
"""

from __future__ import annotations

from asyncio import Future
from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import NamedTuple, Protocol

import msgspec

from proxy.exchange import AnswerHead, Exchange, Field, RequestHead
from tracker.clock import new_id, text_of
from tracker.forms.capture import AnswerCapture, FormCapture, RequestCapture
from tracker.identity import DAY_SECS, Identity, Seen, mintable, storable
from tracker.model import ExchangeRecord, Submission, SubmitRecord, encode_line
from tracker.settings import TrackerSettings

# What a client may send is bounded by the proxy; what the log keeps of one field is bounded here.
MAX_TARGET, MAX_REFERRER, MAX_AGENT, MAX_SHORT = 8190, 2048, 512, 128

PAGE_TYPES = (b"text/html", b"application/xhtml+xml")


class Spool(Protocol):
    """Where records go. `append` has the line in the system's hands when it returns, `append_durable` on disk when
    its future is done. `seq` is the number of the exchange whose record this is; 0 if it is no exchange's own."""

    def append(self, line: bytes, seq: int) -> None: ...

    def append_durable(self, line: bytes, seq: int) -> Future[None]: ...


class Notes:
    """What the recorder remembers of a running exchange."""

    __slots__ = ("identity", "minted", "recorded", "refresh", "submission", "visitor_id")

    def __init__(self, seen: Seen) -> None:
        self.visitor_id = seen.visitor_id
        self.identity = seen.state
        self.minted: str | None = None  # a new ID that counts only if its cookie goes out
        self.refresh = False
        self.submission: Submission | None = None
        self.recorded = False


class HeadFacts(NamedTuple):
    """What follows from a request's fields alone: worked out once, and kept with the head (`RequestHead.memo`).

    changed   what the site must not see: our cookie
    seen      what the cookie said when it was looked at; it may grow too old meanwhile
    quiet     notes of exchanges in which nobody is new and no cookie is due, shared by all of them
    tail      the fields of the record that come from the head, encoded
    """

    changed: Mapping[bytes, bytes] | None
    seen: Seen
    quiet: Notes | None
    tail: bytes


class HeadPart(msgspec.Struct, omit_defaults=True):
    """The fields of an ExchangeRecord that come from the request's head."""

    host: str | None = None
    referrer: str | None = None
    user_agent: str | None = None
    language: str | None = None
    fetch_dest: str | None = None
    fetch_site: str | None = None
    purpose: str | None = None


class AnswerPart(msgspec.Struct, omit_defaults=True):
    """Those that come from the answer's head."""

    content_type: str | None = None
    disposition: str | None = None
    location: str | None = None


class Recorder:
    """The `Observer` of a worker. `counters` are for the status file."""

    def __init__(self, settings: TrackerSettings, identity: Identity, forms: FormCapture, spool: Spool) -> None:
        self.counters: Counter[str] = Counter()
        self._settings = settings
        self._identity = identity
        self._cookie_name = settings.cookie.name.encode() + b"="
        self._forms = forms
        self._spool = spool
        self._quiet_secs = min(DAY_SECS, settings.cookie.max_age_days * DAY_SECS)
        self._client_ip = lru_cache(10_000)(_address_reducer(settings.client_ip))

    # -- Observer

    def request_started(self, exchange: Exchange) -> None:
        head = exchange.head
        facts: HeadFacts | None = head.memo
        if facts is None:
            facts = head.memo = self._facts_of(head, exchange.started_ns // 1_000_000_000)
        if facts.changed is not None:
            exchange.upstream_fields = facts.changed
        if facts.quiet is not None and exchange.method != "POST":
            seen = facts.seen
            if seen.visitor_id is None or abs(exchange.started_ns // 1_000_000_000 - seen.issued_at) < self._quiet_secs:
                exchange.notes = facts.quiet
                if self._settings.upstream_fields:
                    self._tell_upstream(exchange, facts.quiet)
                return
        self._meet(exchange, head)

    def _meet(self, exchange: Exchange, head: RequestHead) -> None:
        """Somebody new, somebody whose cookie is due, or a form."""
        fields = head.lowered
        now_s = exchange.started_ns // 1_000_000_000
        seen = self._identity.read(fields.get(b"cookie"), now_s)
        exchange.notes = notes = Notes(seen)
        if seen.visitor_id is None:
            if mintable(exchange.method, fields.get):
                notes.minted = new_id(exchange.started_ns // 1000)
        elif self._identity.needs_refresh(seen, now_s):
            notes.refresh = mintable(exchange.method, fields.get)
        if self._settings.upstream_fields:
            self._tell_upstream(exchange, notes)
        if exchange.method == "POST":
            capture = self._forms.wanted(exchange)
            if capture is not None:
                exchange.request_copy = _RequestCopy(self, capture)

    def response_started(self, exchange: Exchange) -> list[Field] | None:
        notes: Notes = exchange.notes
        if notes.minted is None and not notes.refresh:
            return None
        answer = exchange.answer
        if not _is_page(answer):
            return None
        sharing = storable(answer.fields)
        if sharing == "shared":
            self.counters["cookie_not_set_shared_cache"] += 1
            return None
        if notes.minted is not None:
            notes.visitor_id = notes.minted
            if notes.identity == "absent":
                notes.identity = "minted"  # a forged or expired cookie stays visible beside the new visitor
        value = self._identity.set_cookie(
            notes.visitor_id, scheme=exchange.scheme, now_s=exchange.started_ns // 1_000_000_000
        )
        added = [(b"Set-Cookie", value)]
        if sharing == "unsaid":
            # RFC 9111 4.2.2: a shared cache may keep an answer that says nothing, our Set-Cookie with it.
            added.append((b"Cache-Control", b"private"))
        return added

    def finished(self, exchange: Exchange) -> None:
        notes: Notes | None = exchange.notes
        if notes is None or not notes.recorded:
            self._spool.append(self._line(exchange), exchange.seq)

    # -- forms

    def _submitted(self, exchange: Exchange, capture: RequestCapture) -> Future[None] | None:
        """The request body is whole."""
        submission = capture.submission()
        if submission is None:
            return None  # the capture has counted why
        self.counters["submissions"] += 1
        exchange.notes.submission = submission
        exchange.response_copy = _AnswerCopy(self, self._forms.answer(submission, exchange))
        record = SubmitRecord(
            seq=exchange.seq,
            occurred_at=text_of(exchange.started_ns // 1000),
            host=exchange.get(b"host"),
            target=_printable(exchange.target)[:MAX_TARGET],
            submission=submission,
            visitor_id=exchange.notes.visitor_id,
            client_ip=self._client_ip(exchange.client),
            referrer=_text(exchange.lowered.get(b"referer"), MAX_REFERRER),
            user_agent=_text(exchange.lowered.get(b"user-agent"), MAX_AGENT),
        )
        # 0: not the exchange's own record, so that an outage in which both are lost counts one exchange, not two.
        return self._spool.append_durable(encode_line(record), 0)

    def _form_answered(self, exchange: Exchange, capture: AnswerCapture) -> Future[None]:
        """The response body is whole."""
        exchange.notes.submission.answer = capture.read()
        exchange.notes.recorded = True
        return self._spool.append_durable(self._line(exchange), exchange.seq)

    # -- the record

    def _line(self, exchange: Exchange) -> bytes:
        """The exchange's record, encoded: what is its own, then what it shares with others of the same heads."""
        notes: Notes | None = exchange.notes
        facts: HeadFacts | None = exchange.head.memo
        if facts is None:
            facts = exchange.head.memo = self._facts_of(exchange.head, exchange.started_ns // 1_000_000_000)
        answer = exchange.answer
        started_ns, wait_ns = exchange.started_ns, exchange.wait_ns
        own = encode_line(
            ExchangeRecord(
                exchange.seq,
                text_of(started_ns // 1000),
                exchange.method,
                _printable(exchange.target)[:MAX_TARGET],
                exchange.status,
                exchange.scheme,
                client_ip=self._client_ip(exchange.client),
                duration_us=((exchange.ended_ns or started_ns) - started_ns) // 1000,
                wait_us=None if wait_ns is None else wait_ns // 1000,
                request_bytes=exchange.request_bytes,
                response_bytes=exchange.response_bytes,
                visitor_id=None if notes is None else notes.visitor_id,
                identity="absent" if notes is None else notes.identity,
                ended_by=exchange.ended_by,
                refusal=exchange.refusal,
                retries=exchange.retries,
                upgraded=exchange.upgraded,
                submission=None if notes is None else notes.submission,
            )
        )
        if answer is None:
            return b"".join((own[:-1], facts.tail, b"}"))
        if answer.memo is None:
            answer.memo = _answer_tail(answer)
        return b"".join((own[:-1], facts.tail, answer.memo, b"}"))

    def _facts_of(self, head: RequestHead, now_s: int) -> HeadFacts:
        get = head.lowered.get
        # A repeated Cookie field is rare and legal only in HTTP/2, where it is joined before it comes here.
        cookie = get(b"cookie")
        changed = None
        if cookie is not None and self._cookie_name in cookie:
            changed = {b"cookie": self._identity.without(cookie) or b""}
        seen = self._identity.read(cookie, now_s)
        tail = _tail(
            HeadPart(
                host=_text(get(b"host"), 255),
                referrer=_text(get(b"referer"), MAX_REFERRER),
                user_agent=_text(get(b"user-agent"), MAX_AGENT),
                language=_text(get(b"accept-language"), MAX_SHORT),
                fetch_dest=_text(get(b"sec-fetch-dest"), MAX_SHORT),
                fetch_site=_text(get(b"sec-fetch-site"), MAX_SHORT),
                purpose=_text(get(b"sec-purpose") or get(b"purpose"), MAX_SHORT),
            )
        )
        is_quiet = seen.visitor_id is not None or not mintable("GET", get)
        return HeadFacts(changed, seen, Notes(seen) if is_quiet else None, tail)

    def _tell_upstream(self, exchange: Exchange, notes: Notes) -> None:
        """X-Ropo-* fields for the site. What a visitor sent under these names never passes."""
        visitor_id = notes.visitor_id or notes.minted
        exchange.upstream_fields = {
            **exchange.upstream_fields,
            b"x-ropo-visitor": (visitor_id or "").encode(),
            b"x-ropo-identity": (notes.identity if notes.minted is None else "minted").encode(),
        }


class _RequestCopy:
    __slots__ = ("_capture", "_recorder", "feed")

    def __init__(self, recorder: Recorder, capture: RequestCapture) -> None:
        self._recorder = recorder
        self._capture = capture
        self.feed = capture.feed

    def complete(self, exchange: Exchange) -> Future[None] | None:
        return self._recorder._submitted(exchange, self._capture)


class _AnswerCopy:
    __slots__ = ("_capture", "_recorder", "feed")

    def __init__(self, recorder: Recorder, capture: AnswerCapture) -> None:
        self._recorder = recorder
        self._capture = capture
        self.feed = capture.feed

    def complete(self, exchange: Exchange) -> Future[None]:
        return self._recorder._form_answered(exchange, self._capture)


def _is_page(answer: AnswerHead) -> bool:
    """A page, or a redirect to one: where a cookie may be set. Errors and files are no place for it."""
    if 300 <= answer.code < 400:
        return True
    return 200 <= answer.code < 300 and answer.lowered.get(b"content-type", b"").lower().startswith(PAGE_TYPES)


def _answer_tail(answer: AnswerHead) -> bytes:
    get = answer.lowered.get
    disposition = get(b"content-disposition")
    return _tail(
        AnswerPart(
            content_type=_text(get(b"content-type"), MAX_SHORT),
            disposition=None if disposition is None else _text(disposition.split(b";", 1)[0], MAX_SHORT),
            location=_text(get(b"location"), MAX_REFERRER),
        )
    )


def _tail(part: HeadPart | AnswerPart) -> bytes:
    """Some fields of a record as they stand in its JSON behind others."""
    encoded = encode_line(part)
    return b"," + encoded[1:-1] if len(encoded) > 2 else b""


def _text(value: bytes | None, limit: int) -> str | None:
    return None if value is None else value[:limit].decode("utf-8", "backslashreplace")


def _printable(target: str) -> str:
    """The target with octets that are not UTF-8 written as \\xNN: JSON has no other way to keep them."""
    return target if target.isascii() else target.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _address_reducer(mode: str):
    """What of an address reaches the disk: all, its network (/24, /48), or nothing."""

    def reduce(address: str) -> str | None:
        if mode == "none":
            return None
        try:
            ip = ip_address(address)
        except ValueError:
            return None
        if mode == "full":
            return str(ip)
        return str(ip_network((ip, 24 if ip.version == 4 else 48), strict=False).network_address)

    return reduce
