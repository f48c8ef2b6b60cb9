"""Names of fields, and lists of tokens in their values."""

from __future__ import annotations

import pytest

from proxy.fields import has_token, named_in_connection


def test_connection_names_fields_of_this_hop_only() -> None:
    fields = ((b"Connection", b"close, X-One"), (b"connection", b"x-two ,, Cookie"), (b"X-One", b"1"))
    assert named_in_connection(fields) == {b"close", b"x-one", b"x-two"}


@pytest.mark.parametrize(
    ("value", "found"),
    [(b"Upgrade", True), (b"keep-alive, UPGRADE", True), (b"upgrades", False), (b"", False), (None, False)],
)
def test_a_token_is_found_whatever_its_case_and_place(value: bytes | None, found: bool) -> None:
    assert has_token(value, b"upgrade") is found
