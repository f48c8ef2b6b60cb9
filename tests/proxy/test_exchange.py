"""The value observers read."""

from __future__ import annotations

from proxy.exchange import AnswerHead, Exchange, RequestHead


def exchange_of(*fields: tuple[bytes, bytes]) -> Exchange:
    return Exchange(1, 0, "192.0.2.7", "http", "GET", "/", RequestHead(fields))


def test_fields_are_found_by_their_lower_case_name_and_always_readable() -> None:
    exchange = exchange_of((b"HoSt", b"a"), (b"X-A", b"1"), (b"x-a", b"caf\xe9"))
    assert (exchange.get(b"host"), exchange.get(b"x-a"), exchange.get(b"cookie")) == ("a", "caf\\xe9", None)
    assert exchange.fields[1] == (b"X-A", b"1")
    assert exchange.lowered == {b"host": b"a", b"x-a": b"caf\xe9"}
    assert (exchange.status, exchange.ended_by, exchange.wait_ns) == (0, None, None)


def test_nobody_can_change_the_wishes_of_all_exchanges_at_once() -> None:
    assert not exchange_of().upstream_fields
    assert not hasattr(exchange_of().upstream_fields, "__setitem__")


def test_the_fields_of_an_answer_are_whole_with_its_date_where_it_stood() -> None:
    exchange = exchange_of()
    assert exchange.response_fields == ()
    fields = ((b"A", b"1"), (b"B", b"2"))
    exchange.answer = AnswerHead(200, fields)
    assert exchange.response_fields == fields
    exchange.answer, exchange.date = AnswerHead(200, fields, date_place=1), b"now"
    assert exchange.response_fields == ((b"A", b"1"), (b"Date", b"now"), (b"B", b"2"))
