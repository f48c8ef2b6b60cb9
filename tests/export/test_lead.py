import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from export.lead import LEAD_FIELDS, MAX_JOURNEY_STEPS, file_name, journey_text
from tests.export.leads import MANUAL, lead

TOUCHES = ("first_touch", "last_touch", "last_non_direct_touch")


def described(section: str) -> list[str]:
    """The first column of the table in that section of the manual."""
    text = MANUAL.read_text(encoding="utf-8").partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    return re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)


def test_the_manual_describes_every_part_of_its_example_and_no_other():
    example = lead()
    assert described("Its parts") == list(example)
    assert described("Contact") == list(example["contact"]) == list(LEAD_FIELDS)
    for touch in [*(example[name] for name in TOUCHES), *example["touchpoints"]]:
        assert described("A touch") == list(touch)
    for step in example["journey"]:
        assert described("A step of the journey") == list(step)


def test_the_example_agrees_with_itself():
    example = lead()
    touchpoints, journey = example["touchpoints"], example["journey"]
    assert example["first_touch"] == touchpoints[0]
    assert example["last_touch"] == touchpoints[-1]
    assert example["last_non_direct_touch"] == [t for t in touchpoints if t["channel"] != "Direct"][-1]
    assert example["page_views"] == sum(step["kind"] == "page_view" for step in journey)
    assert example["visits"] == len({step["visit_id"] for step in journey})
    assert example["first_seen_at"] == journey[0]["occurred_at"]
    assert journey[-1]["kind"] == "form_submit"
    assert journey[-1]["occurred_at"] == example["occurred_at"]
    moments = [step["occurred_at"] for step in journey]
    assert moments == sorted(moments)
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", moment) for moment in moments)


def test_a_file_is_named_after_the_moment_and_the_lead():
    name = file_name({"lead_id": "0199-ab", "occurred_at": "2026-11-22T10:00:00.000000Z"}, "csv")
    assert name == "lead-20261122T100000Z-0199-ab.csv"


@pytest.mark.parametrize("moment", ["", "yesterday", "../../etc", None])
def test_a_lead_without_a_readable_moment_still_has_a_name(moment):
    assert file_name({"lead_id": "a", "occurred_at": moment}, "csv") == "lead-undated-a.csv"


@pytest.mark.parametrize("lead_id", ["", None, "../../etc/passwd", "a/b", "a\x00", "a\n", "ä", "x" * 65])
def test_a_lead_id_that_could_leave_the_folder_is_refused(lead_id):
    with pytest.raises(ValueError, match="not fit for a file name"):
        file_name({"lead_id": lead_id, "occurred_at": "2026-11-22T10:00:00Z"}, "csv")


def test_a_journey_reads_as_one_line():
    assert journey_text(lead()) == (
        "Paid Search: google / cpc / pumps-autumn > /en/pumps > /files/p-200.pdf (download) > "
        "Direct: (direct) / (none) > /en/pumps/p-200 > /en/contact > /en/contact/send (form_submit)"
    )


def test_a_page_read_again_at_once_is_told_once():
    pages = [{"kind": "page_view", "page": page} for page in ("/a", "/a", "/b", "/a")]
    assert journey_text({"journey": pages}) == "/a > /b > /a"


def test_a_long_journey_keeps_its_beginning_and_its_end():
    pages = [{"kind": "page_view", "page": f"/{number}"} for number in range(1000)]
    steps = journey_text({"journey": pages}).split(" > ")
    assert len(steps) == MAX_JOURNEY_STEPS + 1
    assert (steps[0], steps[-1], steps[MAX_JOURNEY_STEPS // 2]) == ("/0", "/999", "(960 more)")


names = st.sampled_from(["kind", "page", "channel", "source", "medium", "campaign"])


@given(st.lists(st.dictionaries(names, st.none() | st.sampled_from(["touchpoint", "page_view", "/a", ""]))))
def test_a_journey_with_holes_is_still_told(journey):
    assert (journey_text({"journey": journey}) == "") == (not journey)


def test_a_lead_without_a_journey_has_an_empty_one():
    assert journey_text({}) == journey_text({"journey": None}) == ""
