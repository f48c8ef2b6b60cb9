"""The value observers read."""

from __future__ import annotations

from proxy.exchange import Exchange


def test_fields_are_found_by_their_lower_case_name_and_always_readable() -> None:
    exchange = Exchange(
        seq=1, started_ns=0, client="192.0.2.7", scheme="http", method="GET", target="/",
        fields=((b"HoSt", b"a"), (b"X-A", b"1"), (b"x-a", b"caf\xe9")),
    )  # fmt: skip
    assert (exchange.get(b"host"), exchange.get(b"x-a"), exchange.get(b"cookie")) == ("a", "caf\\xe9", None)
    assert exchange.fields[1] == (b"X-A", b"1")
    assert (exchange.status, exchange.ended_by, exchange.wait_ns) == (0, None, None)
