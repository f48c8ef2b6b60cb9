"""What a client may send of each kind of frame, and when it is too much."""

from __future__ import annotations

import pytest

from proxy.http2_frames import (
    CONTINUATIONS,
    END_HEADERS,
    END_STREAM,
    FRAMES_PER_TURN,
    IDLE_FRAMES,
    PREFACE,
    RESETS,
    RESETS_PER_SEC,
    WINDOW_UPDATES,
    Bucket,
    Code,
    FrameError,
    Frames,
)
from proxy.request import Limits
from tests.support.http2_client import frame

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
PING_FRAME = frame(PING, b"12345678")


def frames_of(data: bytes = b"", limits: Limits | None = None) -> Frames:
    frames = Frames(limits or Limits())
    frames.feed(PREFACE + data)
    return frames


def take_all(frames: Frames, now: float = 0.0) -> bytes:
    taken, more = frames.take(now)
    while more:
        data, more = frames.take(now)
        taken += data
    return taken


def why(data: bytes, limits: Limits | None = None) -> Code:
    with pytest.raises(FrameError) as caught:
        take_all(frames_of(data, limits))
    return caught.value.code


@pytest.mark.parametrize("size", [1, 2, 9, 24, 25, 40])
def test_frames_come_out_whole_in_whatever_pieces_they_arrive(size: int):
    data = PREFACE + frame(SETTINGS) + frame(HEADERS, b"x" * 20, flags=END_HEADERS, stream=1) + PING_FRAME
    frames, taken = Frames(Limits()), b""
    for at in range(0, len(data), size):
        frames.feed(data[at : at + size])
        taken += take_all(frames)
    assert taken == data


def test_a_preface_that_cannot_become_one_ends_the_connection_at_once():
    frames = Frames(Limits())
    frames.feed(b"GET / ")
    with pytest.raises(FrameError):
        frames.take(0)


def test_a_turn_takes_only_so_many_frames():
    frames = frames_of(PING_FRAME * (FRAMES_PER_TURN + 1))
    assert frames.take(0) == (PREFACE + PING_FRAME * FRAMES_PER_TURN, True)
    assert frames.take(0) == (PING_FRAME, False)


@pytest.mark.parametrize("kind", [PRIORITY, GOAWAY, 0x10, 0xFA])
def test_frames_that_mean_nothing_here_never_reach_h2(kind: int):
    frames = frames_of(frame(SETTINGS) + frame(kind, b"12345", stream=1) + PING_FRAME)
    assert take_all(frames) == PREFACE + frame(SETTINGS) + PING_FRAME
    assert frames.client_leaves is (kind == GOAWAY)


def test_a_frame_that_is_too_long_is_refused_before_it_has_come():
    assert why(frame(DATA, b"x" * 16_385, stream=1)[:9]) is Code.FRAME_SIZE_ERROR


@pytest.mark.parametrize(
    "flood",
    [
        pytest.param(PING_FRAME * (IDLE_FRAMES + 1), id="ping"),
        pytest.param(frame(SETTINGS) * (IDLE_FRAMES + 1), id="settings"),
        pytest.param(frame(SETTINGS, flags=1) * (IDLE_FRAMES + 1), id="acknowledged settings"),
        pytest.param(frame(PRIORITY, b"12345", stream=3) * (IDLE_FRAMES + 1), id="priority"),
        pytest.param(frame(0xFA, b"") * (IDLE_FRAMES + 1), id="unknown"),
        pytest.param(frame(DATA, b"", stream=1) * (IDLE_FRAMES + 1), id="empty data"),
        pytest.param(frame(DATA, b"\x03\0\0\0", flags=8, stream=1) * (IDLE_FRAMES + 1), id="data that is all padding"),
        pytest.param(frame(WINDOW_UPDATE, b"\0\0\0\1") * (WINDOW_UPDATES + 1), id="window updates"),
        pytest.param(frame(RST_STREAM, b"\0\0\0\x08", stream=1) * (RESETS + 1), id="resets"),
        pytest.param(
            frame(HEADERS, stream=1) + frame(CONTINUATION, stream=1) * (CONTINUATIONS + 1), id="continuations"
        ),
        pytest.param(
            frame(HEADERS, b"x" * 16_000, stream=1) + frame(CONTINUATION, b"x" * 16_000, stream=1) * 5, id="head"
        ),
    ],
)
def test_a_flood_is_asked_to_be_calm(flood: bytes):
    assert why(flood) is Code.ENHANCE_YOUR_CALM


def test_one_less_is_no_flood():
    take_all(frames_of(PING_FRAME * IDLE_FRAMES + frame(RST_STREAM, b"\0\0\0\x08", stream=1) * RESETS))


def test_data_that_ends_a_stream_may_be_empty():
    take_all(frames_of(frame(DATA, flags=END_STREAM, stream=1) * (IDLE_FRAMES + 1)))


def test_who_is_sent_much_may_open_windows_often():
    frames = frames_of(frame(WINDOW_UPDATE, b"\0\0\0\1") * (WINDOW_UPDATES + 50))
    for _ in range(5):
        frames.data_sent()
    take_all(frames)


def test_streams_that_the_client_spoils_count_like_those_it_resets():
    frames = frames_of(frame(RST_STREAM, b"\0\0\0\x08", stream=1) * RESETS)
    take_all(frames)
    with pytest.raises(FrameError):
        frames.stream_spoiled(0.0)
    frames.stream_spoiled(1.1)  # as time goes by some more are forgiven


def test_a_head_in_parts_is_seen_as_begun_until_it_ends():
    head = frame(HEADERS, b"x" * 10, stream=1) + frame(CONTINUATION, b"y", flags=END_HEADERS, stream=1)
    for at in range(4, len(head)):
        frames = frames_of(head[:at])
        take_all(frames)
        assert frames.in_head, at
    frames = frames_of(head)
    take_all(frames)
    assert (frames.in_head, frames.heads) == (False, 1)


def test_a_bucket_holds_its_burst_and_fills_slowly():
    bucket = Bucket(3, 2.0)
    assert [bucket.take(10.0) for _ in range(4)] == [True, True, True, False]
    bucket = Bucket(3, 2.0)
    assert all(bucket.take(second / 2) for second in range(100))
    assert RESETS_PER_SEC < RESETS
