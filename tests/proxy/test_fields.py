"""Names of fields, and lists of tokens in their values."""

from __future__ import annotations

import pytest

from proxy.fields import has_token, name_of, named_in_connection


def test_connection_names_fields_of_this_hop_only() -> None:
    assert named_in_connection([b"close, X-One", b"x-two ,, Cookie, Keep-Alive"]) >= {b"x-one", b"x-two"}


@pytest.mark.parametrize(
    "name",
    [b"Host", b"Content-Length", b"Cookie", b"authorization", b"X-Forwarded-For", b"Forwarded", b"X-Real-IP"],
)
def test_connection_cannot_name_away_what_goes_from_end_to_end(name: bytes) -> None:
    assert named_in_connection([b"X-One, " + name]) == {b"x-one"}


@pytest.mark.parametrize(
    ("value", "found"),
    [(b"Upgrade", True), (b"keep-alive, UPGRADE", True), (b"upgrades", False), (b"", False), (None, False)],
)
def test_a_token_is_found_whatever_its_case_and_place(value: bytes | None, found: bool) -> None:
    assert has_token(value, b"upgrade") is found


@pytest.mark.parametrize(
    ("name", "hop", "forwarding", "token"),
    [
        (b"Connection", True, False, True),
        (b"TE", True, False, True),
        (b"transfer-encoding", True, False, True),
        (b"Cookie", False, False, True),
        (b"X-Forwarded-For", False, True, True),
        (b"x_forwarded_for", False, True, True),
        (b"X_Forwarded-Proto", False, True, True),
        (b"X-REAL_IP", False, True, True),
        (b"Forwarded", False, True, True),
        (b"X-Forwarded-Server", False, False, True),
        (b"X A", False, False, False),
        (b"", False, False, False),
        (b"X:", False, False, False),
        (b"caf\xe9", False, False, False),
        (b"X\n", False, False, False),
    ],
)
def test_what_a_name_says_by_itself(name: bytes, hop: bool, forwarding: bool, token: bool) -> None:
    known = name_of(name)
    assert (known.lower, known.is_hop_by_hop, known.is_forwarding, known.is_token) == (
        name.lower(), hop, forwarding, token,
    )  # fmt: skip
