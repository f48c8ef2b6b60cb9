"""The values that many exchanges share."""

from __future__ import annotations

from proxy.heads import AnswerHead, RequestHead, values_of

FIELDS = ((b"HoSt", b"a"), (b"X-A", b"1"), (b"x-a", b"2"), (b"Set-Cookie", b"s"))


def test_a_field_is_found_by_its_lower_case_name_and_the_last_of_several_wins() -> None:
    for head in (RequestHead(FIELDS), AnswerHead(200, FIELDS)):
        assert head.fields == FIELDS
        assert head.lowered == {b"host": b"a", b"x-a": b"2", b"set-cookie": b"s"}


def test_every_value_of_a_name_is_found_in_order() -> None:
    for head in (RequestHead(FIELDS), AnswerHead(200, FIELDS)):
        assert values_of(head, b"x-a") == [b"1", b"2"]
        assert values_of(head, b"x-b") == []


def test_a_head_that_nobody_has_judged_says_of_no_body_and_of_no_second_request() -> None:
    head = RequestHead(())
    assert (head.refusal, head.authority, head.chunked, head.length) == (None, None, False, 0)
    assert (head.keep_alive, head.upgrade, head.expects_continue, head.http_10) == (False, None, False, False)


def test_heads_are_told_apart_by_who_they_are_so_that_notes_on_one_never_reach_the_other() -> None:
    one, other = RequestHead(FIELDS), RequestHead(FIELDS)
    one.memo = "mine"
    assert other.memo is None
    assert one != other
