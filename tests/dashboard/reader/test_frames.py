import socket
import threading

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboard.reader.frames import (
    HEADER_BYTES,
    PIECE_BYTES,
    Kind,
    Order,
    frame,
    frames_of,
    header,
    of_order,
    read_order,
)


@given(st.binary(max_size=3 * PIECE_BYTES))
def test_an_answer_in_frames_is_the_answer(data):
    whole = b""
    for one in frames_of(data):
        kind, size = header(one[:HEADER_BYTES])
        assert kind is Kind.DATA
        assert 0 < size <= PIECE_BYTES
        assert len(one) == HEADER_BYTES + size
        whole += one[HEADER_BYTES:]
    assert whole == data


def test_a_frame_may_be_empty():
    assert header(frame(Kind.END)) == (Kind.END, 0)


@pytest.mark.parametrize("sql", [None, "select 1", "x" * 1_000_000])
def test_an_order_arrives_as_it_was_sent(sql):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        order = Order(door="/d", limit_secs=30, secs=29.5, sql=sql, parameters=[1, None, "x"], files=["/h"])
        thread = threading.Thread(target=ours.sendall, args=(of_order(order),))
        thread.start()
        assert read_order(theirs) == order
        thread.join()


def test_an_order_that_stops_in_the_middle_is_none():
    ours, theirs = socket.socketpair()
    with theirs:
        ours.sendall(of_order(Order(door="/d", limit_secs=1, secs=1))[:-1])
        ours.close()
        assert read_order(theirs) is None


def test_an_order_of_another_version_is_told():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall((2).to_bytes(4, "big") + b"{}")
        with pytest.raises(msgspec.ValidationError):
            read_order(theirs)
