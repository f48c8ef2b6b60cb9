import logging
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.recovery import SUPERVISOR, note_start, recover, whole_size
from storage.sealed import read, sealed
from storage.spool_file import create, reserve
from tests.support.spools import EPOCH, line, names_in
from tracker.model import SpoolHeader, decode_line, encode_line

HEADER = SpoolHeader(node="n1", worker="w1", epoch=EPOCH, version="1")
LINES = [encode_line(HEADER), line(1), line(2, target='/ä?q="quoted"&x={}'), line(3), line(4, target="/" + "x" * 300)]
TEXT = b"".join(text + b"\n" for text in LINES)
ENDS = [sum(len(text) + 1 for text in LINES[: count + 1]) for count in range(len(LINES))]


def left(folder: Path, text: bytes, *, worker: str = "w1", number: int = 1, suffix: str = ".open") -> Path:
    """A file as a dead writer left it."""
    path = folder / f"{worker}-{EPOCH:020d}-{number:06d}{suffix}"
    path.write_bytes(text)
    return path


RECORDS = [decode_line(text) for text in LINES]

# What a power cut may leave behind the last bytes that were written: zeros, anything, half a line, JSON that is no record.
tails = st.one_of(
    st.binary(max_size=200),
    st.integers(0, 5000).map(lambda size: b"\0" * size),
    st.lists(st.sampled_from([b"{}", b"\n", b"\0", b" ", b"1", b"[1]", b'"x"', b"null", b"}", b'"}', b"\xff"])).map(
        b"".join
    ),
    st.tuples(st.sampled_from(LINES), st.integers(0, 400), st.integers(1, 80)).map(
        lambda cut: cut[0][cut[1] :][: cut[2]]
    ),
)


@given(cut=st.integers(0, len(TEXT)), tail=tails)
def test_any_cut_and_any_tail_give_exactly_the_whole_lines_that_were_written(cut: int, tail: bytes) -> None:
    whole = sum(end <= cut for end in ENDS)
    rest, newline, _ = tail.partition(b"\n")
    begun = TEXT[ENDS[whole - 1] if whole else 0 : cut]
    if newline and whole < len(LINES) and (begun + rest).strip(b" \t\r") == LINES[whole]:
        whole += 1  # the tail happens to be what was missing
    with tempfile.TemporaryDirectory() as name:
        left(Path(name), TEXT[:cut] + tail)
        found = recover(Path(name))
        header, records, _ = read(found[0]) if found else (None, [], [])
        assert recover(Path(name)) == []
    if whole <= 1 and not found:
        return  # no record: removed
    assert [header, *records] == ([*RECORDS[:whole]] or [None])


def test_what_was_never_whole_is_cut_off(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = left(tmp_path, TEXT + b'{"t":"exchange","seq":5,"target":"/secret')
    with caplog.at_level(logging.WARNING):
        sealed = recover(tmp_path)
    assert sealed == [path.with_suffix(".ndjson")]
    assert sealed[0].read_bytes() == TEXT
    assert "bytes=41" in caplog.text
    assert "secret" not in caplog.text


def test_bad_lines_before_a_good_one_stay_for_the_quarantine(tmp_path: Path) -> None:
    text = TEXT[: ENDS[1]] + b"\0" * 100 + b"\n" + line(9) + b"\n"
    left(tmp_path, text + b"\0\0")
    [sealed] = recover(tmp_path)
    assert sealed.read_bytes() == text
    assert [record.seq for record in read(sealed)[1]] == [1, 9]
    assert len(read(sealed)[2]) == 1


def test_a_record_of_a_kind_we_do_not_know_is_whole(tmp_path: Path) -> None:
    text = TEXT + b'{"t":"of a newer ropo","x":[1]}\n'
    assert whole_size(text + b"{") == len(text)


@pytest.mark.parametrize("text", [b"", b"\0" * 4096, TEXT[: ENDS[0]], TEXT[: ENDS[0]] + b'{"t":', TEXT[:10], b"\n\n\n"])
def test_a_file_without_a_record_is_removed(tmp_path: Path, text: bytes) -> None:
    left(tmp_path, text)
    assert recover(tmp_path) == []
    assert names_in(tmp_path) == []


def test_a_record_without_a_header_is_kept(tmp_path: Path) -> None:
    left(tmp_path, line(1) + b"\n")
    assert len(recover(tmp_path)) == 1


def test_the_age_of_a_file_stays_the_age_of_its_records(tmp_path: Path) -> None:
    path = left(tmp_path, TEXT + b"{")
    os.utime(path, ns=(5_000_000_000, 5_000_000_000))
    [sealed] = recover(tmp_path)
    assert sealed.stat().st_mtime_ns == 5_000_000_000


def test_the_files_of_one_worker_only_if_asked(tmp_path: Path) -> None:
    for worker in ("w1", "w11", "w1-b"):
        left(tmp_path, TEXT, worker=worker)
    assert [path.name.startswith("w1-0") for path in recover(tmp_path, worker="w1")] == [True]
    assert len(recover(tmp_path)) == 2


def test_several_files_come_back_in_order(tmp_path: Path) -> None:
    for number in (3, 1, 2):
        left(tmp_path, TEXT, number=number)
    left(tmp_path, TEXT, number=4, suffix=".ndjson")
    assert [path.name[-13:] for path in recover(tmp_path)] == ["000001.ndjson", "000002.ndjson", "000003.ndjson"]
    assert recover(tmp_path) == []


def test_a_living_writers_file_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / f"w1-{EPOCH:020d}-000001.open"
    fd = create(path)
    os.write(fd, TEXT + b"{half")
    assert recover(tmp_path) == []
    assert path.read_bytes() == TEXT + b"{half"
    os.close(fd)
    assert len(recover(tmp_path)) == 1


def test_room_that_a_dead_writer_had_set_aside_is_given_back(tmp_path: Path) -> None:
    fd = create(tmp_path / f"w1-{EPOCH:020d}-000001.open")
    reserve(fd, 1 << 20)
    os.write(fd, TEXT)
    os.close(fd)
    [sealed] = recover(tmp_path)
    assert sealed.read_bytes() == TEXT
    assert sealed.stat().st_blocks * 512 <= 16_384


def test_strangers_files_are_left_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("notes.open", "notes.txt"):
        (tmp_path / name).write_bytes(b"x")
    assert recover(tmp_path) == []
    assert names_in(tmp_path) == ["notes.open", "notes.txt"]
    assert "notes.open" in caplog.text


def test_a_file_that_cannot_be_sealed_stays_and_the_others_are(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    blocked, other = left(tmp_path, TEXT, number=1), left(tmp_path, TEXT, number=2)
    left(tmp_path, b"first", number=1, suffix=".ndjson")
    assert recover(tmp_path) == [other.with_suffix(".ndjson")]
    assert blocked.exists()
    assert blocked.with_suffix(".ndjson").read_bytes() == b"first"
    assert "left='for the next start'" in caplog.text


def test_a_start_is_noted_for_the_log(tmp_path: Path) -> None:
    note_start(tmp_path, node="n1", worker=SUPERVISOR, epoch=EPOCH, version="1")
    [path] = sealed(tmp_path)
    assert read(path) == (SpoolHeader(node="n1", worker="supervisor", epoch=EPOCH, version="1"), [], [])


def test_a_start_that_cannot_be_noted_is_no_reason_not_to_start(tmp_path: Path, caplog) -> None:
    note_start(tmp_path / "nowhere", node="n1", worker="w1", epoch=EPOCH, version="1")
    assert "start not noted" in caplog.text
