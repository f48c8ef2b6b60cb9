"""What a worker writes down of an exchange, and what it does to the cookie on the way."""

from __future__ import annotations

import asyncio
import re

import pytest

from proxy.exchange import AnswerHead, Exchange, RequestHead
from tracker.clock import new_id
from tracker.forms.capture import FormCapture
from tracker.identity import Identity
from tracker.model import ExchangeRecord, SubmitRecord, decode_line
from tracker.recorder import Recorder
from tracker.sealing import Sealer, new_key
from tracker.settings import CookieSettings, TrackerSettings

NOW_NS = 1_795_341_600_000_000_000
NAVIGATION = {"Host": "shop.example", "Sec-Fetch-Dest": "document", "Sec-Fetch-Mode": "navigate", "Accept": "text/html"}
HTML = ((b"Content-Type", b"text/html; charset=utf-8"),)


class Spool:
    def __init__(self) -> None:
        self.records: list[object] = []
        self.durable: list[object] = []

    def append(self, line: bytes, seq: int) -> None:
        self.records.append(decode_line(line))
        assert self.records[-1].seq == seq

    def append_durable(self, line: bytes, seq: int) -> asyncio.Future[None]:
        self.durable.append(decode_line(line))
        done = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done


class House:
    def __init__(self, **settings: object) -> None:
        self.settings = TrackerSettings(**settings)
        self.identity = Identity(["k" * 32], cookie=CookieSettings())
        self.sealer = Sealer([new_key()])
        self.spool = Spool()
        self.recorder = Recorder(
            self.settings, self.identity, FormCapture(self.settings, self.sealer, new_id), self.spool
        )

    def exchange(self, fields: dict[str, str] | None = None, *, method: str = "GET", target: str = "/") -> Exchange:
        raw = tuple((name.encode(), value.encode("latin-1")) for name, value in (fields or NAVIGATION).items())
        return Exchange(
            seq=7,
            started_ns=NOW_NS,
            client="192.0.2.77",
            scheme="http",
            method=method,
            target=target,
            head=RequestHead(raw),
        )

    def pass_through(self, exchange: Exchange, *, status: int = 200, fields=HTML) -> list[tuple[bytes, bytes]] | None:
        self.recorder.request_started(exchange)
        exchange.status, exchange.answer, exchange.wait_ns = status, AnswerHead(status, tuple(fields)), 5000
        added = self.recorder.response_started(exchange)
        exchange.ended_ns = NOW_NS + 8_000_000
        self.recorder.finished(exchange)
        return added

    @property
    def record(self) -> ExchangeRecord:
        [record] = self.spool.records
        return record


def cookie_of(added: list[tuple[bytes, bytes]]) -> str:
    value = dict(added)[b"Set-Cookie"].decode()
    return value.split(";")[0]


def test_a_first_page_view_mints_a_visitor_and_the_record_carries_it() -> None:
    house = House()
    added = house.pass_through(house.exchange(target="/p?utm_source=a"))
    token = cookie_of(added).removeprefix("ropo_id=")
    assert house.record.visitor_id == token.split(".")[0]
    assert (house.record.identity, house.record.target) == ("minted", "/p?utm_source=a")
    assert (b"Cache-Control", b"private") in added


def test_a_returning_visitor_is_known_and_the_site_never_sees_our_cookie() -> None:
    house = House()
    cookie = cookie_of(house.pass_through(house.exchange()))
    house.spool.records.clear()
    exchange = house.exchange({**NAVIGATION, "Cookie": f"a=b; {cookie}; c=d"})
    assert house.pass_through(exchange) is None
    assert house.record.identity == "known"
    assert house.record.visitor_id in cookie
    assert exchange.upstream_fields == {b"cookie": b"a=b; c=d"}


@pytest.mark.parametrize(
    ("cookie", "identity"),
    [
        ("ropo_id=nonsense", "forged"),
        ("ropo_id=0193aaaa-0000-7000-8000-000000000001.awJtEA.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "forged"),
        ("ropo_id=" + "\xff" * 50, "forged"),
        ("other=1", "absent"),
    ],
)
def test_a_broken_or_forged_cookie_is_no_visitor_and_a_new_one_is_minted(cookie: str, identity: str) -> None:
    house = House()
    exchange = house.exchange({**NAVIGATION, "Cookie": cookie})
    house.recorder.request_started(exchange)
    assert (exchange.notes.identity, exchange.notes.visitor_id) == (identity, None)
    assert house.pass_through(house.exchange({**NAVIGATION, "Cookie": cookie})) is not None
    assert house.record.identity == ("minted" if identity == "absent" else identity)
    assert house.record.visitor_id is not None


@pytest.mark.parametrize(
    ("changes", "status", "fields"),
    [
        ({"Sec-Fetch-Dest": "image", "Sec-Fetch-Mode": "no-cors"}, 200, HTML),
        ({"Sec-Purpose": "prefetch"}, 200, HTML),
        ({}, 404, HTML),
        ({}, 200, ((b"Content-Type", b"application/pdf"),)),
        ({}, 200, (*HTML, (b"Cache-Control", b"public, max-age=60"))),
        ({}, 200, (*HTML, (b"Cache-Control", b"s-maxage=60"))),
    ],
)
def test_no_cookie_is_set_where_it_does_not_belong(changes: dict[str, str], status: int, fields) -> None:
    house = House()
    assert house.pass_through(house.exchange(NAVIGATION | changes), status=status, fields=fields) is None
    assert (house.record.identity, house.record.visitor_id) == ("absent", None)


def test_a_page_that_says_it_is_private_gets_no_second_word_on_caching() -> None:
    house = House()
    added = house.pass_through(house.exchange(), fields=(*HTML, (b"Cache-Control", b"private, max-age=60")))
    assert [name for name, _ in added] == [b"Set-Cookie"]


def test_the_record_keeps_the_raw_facts() -> None:
    house = House()
    exchange = house.exchange(
        NAVIGATION
        | {"Referer": "https://www.google.com/?q=\xe4", "User-Agent": "Mozilla/5.0", "Accept-Language": "de"},
        target="/caf\udce9?q=%C3%A4",
    )
    house.pass_through(
        exchange, fields=((b"content-type", b"application/pdf"), (b"Content-Disposition", b"attachment; filename=x"))
    )
    record = house.record
    assert (record.seq, record.occurred_at, record.duration_us, record.wait_us) == (
        7,
        "2026-11-22 10:00:00.000000",
        8000,
        5,
    )
    assert (record.host, record.status, record.method) == ("shop.example", 200, "GET")
    assert record.target == "/caf\\xe9?q=%C3%A4"
    assert record.referrer == "https://www.google.com/?q=\\xe4"
    assert (record.user_agent, record.language, record.fetch_dest) == ("Mozilla/5.0", "de", "document")
    assert (record.content_type, record.disposition) == ("application/pdf", "attachment")


@pytest.mark.parametrize(
    ("mode", "address", "kept"),
    [
        ("truncated", "192.0.2.77", "192.0.2.0"),
        ("truncated", "2001:db8:1:2:3::4", "2001:db8:1::"),
        ("full", "192.0.2.77", "192.0.2.77"),
        ("none", "192.0.2.77", None),
        ("truncated", "unix", None),
    ],
)
def test_no_more_of_an_address_reaches_the_disk_than_the_setting_says(
    mode: str, address: str, kept: str | None
) -> None:
    house = House(client_ip=mode)
    exchange = house.exchange()
    exchange.client = address
    house.pass_through(exchange)
    assert house.record.client_ip == kept


def test_the_site_is_told_who_comes_if_it_wants_and_nobody_can_pretend() -> None:
    house = House(upstream_fields=True)
    exchange = house.exchange(NAVIGATION | {"X-Ropo-Visitor": "forged"})
    house.recorder.request_started(exchange)
    told = exchange.upstream_fields
    assert re.fullmatch(rb"[0-9a-f-]{36}", told[b"x-ropo-visitor"])
    assert told[b"x-ropo-identity"] == b"minted"


def test_a_request_that_was_refused_before_it_could_be_read_is_recorded_too() -> None:
    house = House()
    exchange = Exchange(
        seq=7, started_ns=NOW_NS, client="192.0.2.77", scheme="http", method="", target="", head=RequestHead(())
    )  # fmt: skip
    exchange.status, exchange.refusal, exchange.ended_by = 400, "bad_request", "proxy"
    house.recorder.finished(exchange)
    assert (house.record.status, house.record.refusal, house.record.ended_by) == (400, "bad_request", "proxy")


FORM = {**NAVIGATION, "Content-Type": "application/x-www-form-urlencoded", "Referer": "http://shop.example/kontakt"}
BODY = b"name=Erika+Mustermann&email=erika%40example.com&nachricht=Bitte+um+Angebot"


async def test_a_form_is_on_disk_before_the_site_sees_it_and_its_answer_before_the_visitor_does() -> None:
    house = House()
    exchange = house.exchange(FORM, method="POST", target="/kontakt")
    house.recorder.request_started(exchange)
    assert exchange.request_copy.feed(BODY)
    assert exchange.request_copy.complete(exchange) is not None
    [submitted] = house.spool.durable
    assert isinstance(submitted, SubmitRecord)
    contact = house.sealer.open(submitted.submission.contact, submitted.submission.lead_id)
    assert contact["email"] == "erika@example.com"
    assert b"erika" not in repr(submitted).encode()

    exchange.status, exchange.answer = 303, AnswerHead(303, ((b"Location", b"/danke"),))
    house.recorder.response_started(exchange)
    assert exchange.response_copy.complete(exchange) is not None
    answered = house.spool.durable[1]
    assert answered.submission.lead_id == submitted.submission.lead_id
    assert (answered.submission.answer.status, answered.submission.answer.location) == (303, "/danke")
    house.recorder.finished(exchange)
    assert house.spool.records == []  # it is on disk already, and only once


async def test_a_form_without_an_answer_is_recorded_at_the_end_all_the_same() -> None:
    house = House()
    exchange = house.exchange(FORM, method="POST", target="/kontakt")
    house.recorder.request_started(exchange)
    exchange.request_copy.feed(BODY)
    exchange.request_copy.complete(exchange)
    exchange.status, exchange.ended_by = 499, "client"
    house.recorder.finished(exchange)
    assert house.record.submission.answer is None
    assert (house.record.status, house.record.ended_by) == (499, "client")


async def test_what_is_no_contact_form_is_passed_over_and_counted() -> None:
    house = House()
    exchange = house.exchange(FORM, method="POST", target="/kontakt")
    house.recorder.request_started(exchange)
    exchange.request_copy.feed(b"color=red&size=42")
    assert exchange.request_copy.complete(exchange) is None
    assert house.spool.durable == []
    assert house.recorder.counters["submissions"] == 0
