"""Visits: where one ends and the next begins, and what inside them is a touchpoint."""

from __future__ import annotations

import uuid

from hypothesis import given
from hypothesis import strategies as st

from tests.tracker.records import START_US
from tracker.visits import LATE_US, Arrival, Visit, Visits

SECOND = 1_000_000
HALF_HOUR = 1800 * SECOND
ENTRANCE, TOUCHPOINT, INSIDE = Arrival.ENTRANCE, Arrival.TOUCHPOINT, Arrival.INSIDE


def visits() -> Visits:
    return Visits(inactivity_secs=1800)


def test_a_visit_goes_on_until_nothing_came_for_the_whole_inactivity():
    running = visits()
    first = running.at("v1", START_US)
    assert running.at("v1", START_US + HALF_HOUR) is first
    assert running.at("v1", START_US + 2 * HALF_HOUR) is first
    second = running.at("v1", START_US + 3 * HALF_HOUR + 1)
    assert second.visit_id != first.visit_id


def test_midnight_is_no_border():
    running = visits()
    just_before = START_US + (14 * 3600 - 1) * SECOND
    assert running.at("v1", just_before).visit_id == running.at("v1", just_before + 2 * SECOND).visit_id


def test_two_visitors_have_two_visits():
    running = visits()
    assert running.at("v1", START_US).visit_id != running.at("v2", START_US).visit_id


def test_a_visits_identifier_is_a_uuid_of_its_first_moment_and_the_same_each_time():
    one, other = visits().at("v1", START_US), visits().at("v1", START_US)
    assert one.visit_id == other.visit_id
    assert uuid.UUID(one.visit_id).version == 7
    assert uuid.UUID(one.visit_id).int >> 80 == START_US // 1000


def test_a_late_record_finds_its_visit_and_does_not_end_it_sooner():
    running = visits()
    visit = running.at("v1", START_US)
    running.at("v1", START_US + 1000 * SECOND)
    assert running.at("v1", START_US + 10 * SECOND) is visit
    assert running.at("v1", START_US - 10 * SECOND) is visit
    assert (visit.started_us, visit.last_us) == (START_US - 10 * SECOND, START_US + 1000 * SECOND)


def test_a_late_record_finds_the_visit_before():
    running = visits()
    first = running.at("v1", START_US)
    second = running.at("v1", START_US + 2 * HALF_HOUR)
    assert running.at("v1", START_US + 60 * SECOND) is first
    assert running.at("v1", START_US + 2 * HALF_HOUR + SECOND) is second


def test_a_record_of_a_forgotten_visit_has_one_of_its_own_and_leaves_the_running_one():
    running = visits()
    running_visit = running.at("v1", START_US)
    old = running.at("v1", START_US - 4 * HALF_HOUR)
    assert old is not running_visit
    assert running.at("v1", START_US - 4 * HALF_HOUR - SECOND) is old
    assert running.at("v1", START_US - 9 * HALF_HOUR) not in (old, running_visit)
    assert running.at("v1", START_US + SECOND) is running_visit


def test_asking_for_a_visit_begins_none():
    running = visits()
    assert running.known("v1", START_US) is None
    visit = running.at("v1", START_US)
    assert running.known("v1", START_US + HALF_HOUR) is visit
    assert running.known("v1", START_US + HALF_HOUR + 1) is None
    assert running.known("v1", START_US - 1) is None
    assert visit.last_us == START_US


def test_visits_nothing_can_be_added_to_are_forgotten():
    running = visits()
    running.at("v1", START_US)
    running.at("v2", START_US + HALF_HOUR)
    running.forget(START_US + HALF_HOUR + LATE_US)
    assert len(running) == 2
    running.forget(START_US + 2 * HALF_HOUR + LATE_US)
    assert len(running) == 1
    assert running.known("v2", START_US + HALF_HOUR) is not None


def test_more_visits_than_memory_is_meant_for_forget_the_oldest(monkeypatch):
    monkeypatch.setattr("tracker.visits.MAX_OPEN", 10)
    running = visits()
    for number in range(25):
        running.at(f"v{number}", START_US + number)
    running.forget(START_US + 25)
    assert len(running) == 10
    assert running.known("v24", START_US + 25) is not None
    assert running.known("v0", START_US + 25) is None


def test_restored_visits_go_on():
    running = visits()
    running.restore(
        [
            ("v1", Visit("later", START_US, START_US + SECOND, entered=True)),
            ("v1", Visit("earlier", START_US - 9 * HALF_HOUR, START_US - 8 * HALF_HOUR, entered=True)),
        ]
    )
    assert running.at("v1", START_US + 60 * SECOND).visit_id == "later"
    assert running.at("v1", START_US - 8 * HALF_HOUR).visit_id == "earlier"


def arrivals(*came: tuple[str | None, str | None]) -> list[Arrival]:
    visit = Visit("x", 0, 0)
    return [visit.arrive(campaign, referrer) for campaign, referrer in came]


def test_the_first_arrival_is_the_entrance_whatever_it_says():
    assert arrivals((None, None)) == [ENTRANCE]
    assert arrivals(("ad", "google")) == [ENTRANCE]


def test_a_reload_is_no_touchpoint():
    assert arrivals(("ad", "google"), ("ad", "google"), ("ad", None)) == [ENTRANCE, INSIDE, INSIDE]
    assert arrivals((None, "google"), (None, "google")) == [ENTRANCE, INSIDE]


def test_another_campaign_inside_a_visit_is_a_touchpoint():
    assert arrivals(("ad", None), ("mail", None), ("mail", None)) == [ENTRANCE, TOUCHPOINT, INSIDE]


def test_another_referrer_inside_a_visit_is_a_touchpoint():
    came = arrivals((None, None), (None, "google"), (None, "partner"), (None, None))
    assert came == [ENTRANCE, TOUCHPOINT, TOUCHPOINT, INSIDE]


def test_the_page_a_redirect_led_to_is_no_second_touchpoint():
    assert arrivals(("ad", "google"), (None, "google"), (None, None)) == [ENTRANCE, INSIDE, INSIDE]


def test_a_form_begins_a_visit_but_is_no_touchpoint_inside_one():
    visit = Visit("x", 0, 0)
    assert visit.arrive("ad", None, may_touch=False) is ENTRANCE
    assert visit.arrive("mail", None, may_touch=False) is INSIDE
    assert visit.campaign == "ad"


gaps = st.lists(st.integers(0, 2 * HALF_HOUR), min_size=1, max_size=30)


@given(gaps)
def test_moments_in_order_are_cut_exactly_where_a_gap_is_too_long(found_gaps: list[int]):
    running, moment, expected, number = visits(), START_US, [], 0
    seen = []
    for index, gap in enumerate(found_gaps):
        moment += gap
        number += index > 0 and gap > HALF_HOUR
        expected.append(number)
        seen.append(running.at("v1", moment).visit_id)
    assert [seen.index(visit_id) for visit_id in seen] == [expected.index(number) for number in expected]
