from pathlib import Path

from export.connector import Later, Never
from export.drop_folder import DropFolder
from export.file_sink import FileSink
from tests.export.leads import lead, message


class PlainSink(FileSink):
    ending = "txt"

    def content_of(self, document):
        return document["lead_id"].encode()


def sink(folder: Path, **drop) -> PlainSink:
    return PlainSink("erp", DropFolder(folder, **drop))


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.txt"))


async def test_the_file_is_named_after_the_lead(tmp_path):
    await sink(tmp_path).deliver(message(lead(1)))
    assert files(tmp_path) == [f"lead-20261122T100000Z-{lead(1)['lead_id']}.txt"]


async def test_a_lead_that_cannot_name_a_file_is_refused_for_good(tmp_path):
    outcome = await sink(tmp_path).deliver(message(lead(1, lead_id="../../etc/passwd")))
    assert outcome == Never("the lead's id is not fit for a file name")
    assert list(tmp_path.iterdir()) == []


async def test_a_lead_ordered_again_is_written_again_even_if_the_order_came_before_the_note_was_gone(tmp_path):
    """ropo was killed after the log had `delivered` and before the note was removed; then came the order."""
    await sink(tmp_path).deliver(message(lead(1)))
    (tmp_path / files(tmp_path)[0]).unlink()
    await sink(tmp_path).deliver(message(lead(1)))
    assert files(tmp_path) == []
    await sink(tmp_path).deliver(message(lead(1), requeues=1))
    assert len(files(tmp_path)) == 1


async def test_settling_removes_every_note_of_the_delivery(tmp_path):
    given = sink(tmp_path)
    for requeues in (0, 1, 2):
        await given.deliver(message(lead(1), requeues=requeues))
    await given.deliver(message(lead(2)))
    await given.settled(message(lead(1)).delivery_id)
    assert [path.name for path in (tmp_path / ".ropo").iterdir()] == [f"{message(lead(2)).delivery_id}.sent"]


async def test_a_folder_that_is_no_folder_stops_neither_opening_nor_settling(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / ".ropo").symlink_to(".ropo")
    given = sink(tmp_path / "in")
    await given.open({"a"})
    assert isinstance(await given.deliver(message(lead(1))), Later)
    await given.settled(message(lead(1)).delivery_id)
    await given.close()
