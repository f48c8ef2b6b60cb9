import os
from pathlib import Path

import pytest

from storage.recovery import recover
from storage.sealed import drop_file, read, ready, sealed
from tests.support.spools import EPOCH, exchange, line, names_in
from tracker.model import FactRecord, SpoolHeader, StopRecord, encode_line

HEADER = SpoolHeader(node="n1", worker="w1", epoch=EPOCH, version="1")


def file_of(folder: Path, *lines: bytes) -> Path:
    path = folder / f"w1-{EPOCH:020d}-000001.ndjson"
    path.write_bytes(b"".join(lines))
    return path


def test_a_whole_file_is_read_with_its_header(tmp_path: Path) -> None:
    stop = StopRecord(occurred_at="x", last_seq=2)
    path = file_of(tmp_path, encode_line(HEADER), b"\n", line(1), b"\n", line(2), b"\n", encode_line(stop), b"\n")
    assert read(path) == (HEADER, [exchange(1), exchange(2), stop], [])


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (b"\0\0\0\0", "zeros"),
        (b"", "empty"),
        (b"{", "truncated"),
        (b'{"t":"surprise","secret":"x"}', "an unknown kind of line"),
        (b'{"t":"stop","occurred_at":"\xff\xfe","last_seq":1}', "not UTF-8"),
        (b'{"t":"stop","occurred_at":"x","last_seq":"anna@example.com"}', "Expected `int`"),
        (b'{"t":"fact","properties":' + b"[" * 5000, "nested too deeply|array"),
        (encode_line(HEADER), "header that is not the first"),
        (b"[]", "Expected `object`"),
    ],
)
def test_a_bad_line_is_told_with_its_reason_and_the_rest_is_read(tmp_path: Path, bad: bytes, reason: str) -> None:
    path = file_of(tmp_path, encode_line(HEADER), b"\n", line(1), b"\n", bad, b"\n", line(2), b"\n")
    header, records, broken = read(path)
    assert (header, records) == (HEADER, [exchange(1), exchange(2)])
    assert [text for text, _ in broken] == [bad]
    assert any(word in broken[0][1] for word in reason.split("|"))
    assert "secret" not in broken[0][1]
    assert "example.com" not in broken[0][1]


def test_records_without_a_header_stand_without_their_writer(tmp_path: Path) -> None:
    assert read(file_of(tmp_path, line(1), b"\n")) == (None, [exchange(1)], [])
    header, records, broken = read(file_of(tmp_path, b"\0\0\n", line(1), b"\n"))
    assert (header, records, len(broken)) == (None, [exchange(1)], 1)


def test_an_empty_file_has_nothing(tmp_path: Path) -> None:
    assert read(file_of(tmp_path)) == (None, [], [])


def test_only_sealed_files_are_listed_the_oldest_first(tmp_path: Path) -> None:
    for name, age in [("w2-%020d-000001.ndjson", 3), ("w1-%020d-000002.ndjson", 2), ("w1-%020d-000010.ndjson", 1)]:
        path = tmp_path / (name % EPOCH)
        path.write_bytes(b"")
        os.utime(path, (1000 - age, 1000 - age))
    for name in ("w1-%020d-000011.open", "w1-%020d-000012.part", "notes-%020d.ndjson"):
        (tmp_path / (name % EPOCH)).write_bytes(b"")
    assert [path.name.replace(f"-{EPOCH:020d}", "") for path in sealed(tmp_path)] == [
        "w2-000001.ndjson", "w1-000002.ndjson", "w1-000010.ndjson",
    ]  # fmt: skip


class TestDropFile:
    fact = FactRecord(fact_id="f", occurred_at="x", name="delivery.requeued", source="ropo", properties={"sink": "erp"})

    def drop(self, folder: Path, *lines: bytes) -> Path:
        return drop_file(folder, node="n1", worker="cli", epoch=EPOCH, version="1", lines=lines)

    def test_it_is_there_sealed_and_whole(self, tmp_path: Path) -> None:
        path = self.drop(tmp_path, encode_line(self.fact), line(1))
        assert sealed(tmp_path) == [path]
        assert read(path) == (
            SpoolHeader(node="n1", worker="cli", epoch=EPOCH, version="1"),
            [self.fact, exchange(1)],
            [],
        )
        assert path.stat().st_mode & 0o777 == 0o600

    def test_a_second_one_of_the_same_moment_is_refused_and_the_first_stays(self, tmp_path: Path) -> None:
        path = self.drop(tmp_path, line(1))
        with pytest.raises(FileExistsError):
            self.drop(tmp_path, line(2))
        assert names_in(tmp_path) == [path.name]
        assert read(path)[1] == [exchange(1)]

    def test_one_whose_writer_failed_in_the_middle_is_never_seen(self, tmp_path: Path) -> None:
        def failing():
            yield line(1)
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            drop_file(tmp_path, node="n1", worker="cli", epoch=EPOCH, version="1", lines=failing())
        assert names_in(tmp_path) == []

    def test_what_a_killed_one_left_is_removed_and_not_sealed(self, tmp_path: Path) -> None:
        (tmp_path / f"cli-{EPOCH:020d}-000000.part").write_bytes(encode_line(HEADER) + b"\n" + line(1) + b"\n")
        assert recover(tmp_path) == []
        assert names_in(tmp_path) == []

    def test_a_folder_that_is_gone_is_an_error(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            self.drop(tmp_path / "gone", line(1))


# Whose turn it is


NOW = 1_795_341_600.5  # half a second after the common moment of all writers that seal every second


def place(folder: Path, stem: str, ending: str, secs_ago: float) -> Path:
    path = folder / f"{stem}-{1:020d}-{1:06d}.{ending}"
    path.write_bytes(b"")
    os.utime(path, (NOW - secs_ago, NOW - secs_ago))
    return path


@pytest.mark.parametrize(
    ("others", "secs_ago", "is_ready"),
    [
        ([], 0.1, True),  # nobody else has anything
        ([("worker-2", "open", 0.1)], 0.1, False),  # the moment has not come yet
        ([("worker-2", "open", 0.1)], 0.7, True),  # it has, and worker-2 is at its next file
        ([("worker-2", "open", 0.1)], 0.45, True),  # sealed a little late, and still of the last moment
        ([("worker-2", "open", 0.8)], 0.7, False),  # worker-2 is about to seal what belongs to it
        ([("worker-2", "open", 9.0)], 0.7, True),  # worker-2 is dead, and nobody has cleared up yet
        ([("worker-2", "ndjson", 0.1)], 0.1, True),  # sealed as well: both go in together
        ([("worker-1", "open", 0.1)], 0.1, True),  # its own next file
        ([("worker-2", "open", 0.1)], -3600, True),  # the clock was set back
    ],
)
def test_a_file_waits_for_the_common_moment_if_another_writer_may_still_have_something_older(
    tmp_path: Path, others: list[tuple[str, str, float]], secs_ago: float, is_ready: bool
) -> None:
    file = place(tmp_path, "worker-1", "ndjson", secs_ago)
    for stem, ending, ago in others:
        other = tmp_path / f"{stem}-{2:020d}-{2:06d}.{ending}"
        other.write_bytes(b"")
        os.utime(other, (NOW - ago, NOW - ago))
    assert (file in ready(tmp_path, seal_secs=1.0, now=NOW)) is is_ready
