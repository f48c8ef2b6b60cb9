"""What the views `attribution_*` share out, and to whom: by hand for a few journeys, against plain Python for many."""

from __future__ import annotations

import math
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage import door, sql
from storage.door import ATTRIBUTIONS
from storage.store import Store
from storage.tables import TABLES
from tests.support.rows import arrival, batch, event, lead, open_store

DAY = 24 * 60  # rows have minutes


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    store = open_store(tmp_path_factory.mktemp("shared"))
    yield store
    store.close()


@pytest.fixture
def store(shared: Store) -> Store:
    forget(shared)
    return shared


def forget(store: Store) -> None:
    for table in TABLES:
        store.connection.execute(f"delete from work.{table.name}")


def shares(store: Store, model: str, conversion: str = "l") -> list[tuple[str, float]]:
    """Who got how much, in the order of the journey."""
    found = store.connection.execute(
        f"select channel, credit from attribution_{model} where conversion_id = ? order by position", [conversion]
    ).fetchall()
    return [(channel, round(credit, 6)) for channel, credit in found]


def journey(*days_and_channels: tuple[float, str], visitor: str = "v") -> list[Any]:
    """Arrivals so many days before noon."""
    return [
        arrival(-days * DAY, visitor, f"{visitor}-{days}", channel, event_id=f"{visitor}-{number:03d}")
        for number, (days, channel) in enumerate(days_and_channels)
    ]


# 2^-2 : 2^-1 : 2^0 = 1 : 2 : 4
BY_HAND = {
    "one": (
        [(3, "Email")],
        {model: [("Email", 1)] for model in ATTRIBUTIONS},
    ),
    "two, the last one direct": (
        [(7, "Paid Search"), (0, "Direct")],
        {
            "first_touch": [("Paid Search", 1)],
            "last_touch": [("Direct", 1)],
            "last_non_direct": [("Paid Search", 1)],
            "linear": [("Paid Search", 0.5), ("Direct", 0.5)],
            "position_based": [("Paid Search", 0.5), ("Direct", 0.5)],
            "time_decay": [("Paid Search", round(1 / 3, 6)), ("Direct", round(2 / 3, 6))],
        },
    ),
    "three": (
        [(14, "Paid Search"), (7, "Email"), (0, "Referral")],
        {
            "first_touch": [("Paid Search", 1)],
            "last_touch": [("Referral", 1)],
            "last_non_direct": [("Referral", 1)],
            "linear": [("Paid Search", 0.333333), ("Email", 0.333333), ("Referral", 0.333333)],
            "position_based": [("Paid Search", 0.4), ("Email", 0.2), ("Referral", 0.4)],
            "time_decay": [("Paid Search", 0.142857), ("Email", 0.285714), ("Referral", 0.571429)],
        },
    ),
    "four, direct and a link of our own at the end": (
        [(21, "QR/Print"), (14, "Email"), (7, "Internal"), (0, "Direct")],
        {
            "first_touch": [("QR/Print", 1)],
            "last_touch": [("Direct", 1)],
            "last_non_direct": [("Email", 1)],
            "linear": [("QR/Print", 0.25), ("Email", 0.25), ("Internal", 0.25), ("Direct", 0.25)],
            "position_based": [("QR/Print", 0.4), ("Email", 0.1), ("Internal", 0.1), ("Direct", 0.4)],
            "time_decay": [("QR/Print", 0.066667), ("Email", 0.133333), ("Internal", 0.266667), ("Direct", 0.533333)],
        },
    ),
    "only direct ones": (
        [(2, "Direct"), (1, "Direct")],
        {"last_non_direct": [("Direct", 1)], "first_touch": [("Direct", 1)]},
    ),
}  # fmt: skip


@pytest.mark.parametrize("touches, found", BY_HAND.values(), ids=BY_HAND)
def test_a_few_journeys_shared_out_by_hand(store: Store, touches: list, found: dict[str, list]) -> None:
    store.write(batch(*reversed(journey(*touches)), lead("l", 0, visitor_id="v")))
    assert {model: shares(store, model) for model in found} == found


def test_of_arrivals_in_the_same_microsecond_the_identifier_tells_the_order(store: Store) -> None:
    early = arrival(-5, "v", "a", "Email", event_id="e1")
    late = arrival(-5, "v", "a", "Referral", event_id="e2")
    store.write(batch(late, early, lead("l", 0, visitor_id="v")))
    assert (shares(store, "first_touch"), shares(store, "last_touch")) == ([("Email", 1)], [("Referral", 1)])


def test_an_arrival_in_the_moment_of_the_conversion_counts_and_a_later_one_does_not(store: Store) -> None:
    store.write(
        batch(arrival(0, "v", "a", "Email"), arrival(0.001, "v", "a", "Referral"), lead("l", 0, visitor_id="v"))
    )
    assert shares(store, "linear") == [("Email", 1)]


def test_ninety_days_are_looked_back_and_not_a_moment_more_wherever_the_analyst_sits(store: Store) -> None:
    # Noon of 22 November; in Berlin the clocks were put back within these 90 days.
    store.write(batch(*journey((90, "Email"), (90.001, "Referral")), lead("l", 0, visitor_id="v")))
    for zone in ("UTC", "Europe/Berlin", "America/New_York"):
        store.connection.execute(f"set timezone = '{zone}'")
        try:
            assert shares(store, "linear") == [("Email", 1)]
        finally:
            store.connection.execute("set timezone = 'UTC'")


def test_a_conversion_that_no_arrival_is_known_of_is_not_lost(store: Store) -> None:
    written = [
        *journey((100, "Email")),
        event(-1, visitor_id="v", visit_id="v"),
        lead("too long ago", 0, visitor_id="v"),
        lead("no cookie", 0),
        arrival(-1, "other", "o", "Email"),
    ]
    store.write(batch(*written))
    for model in ATTRIBUTIONS:
        found = store.connection.execute(
            "select conversion_id, channel, source, event_id, position, touchpoints, credit "
            f"from attribution_{model} order by 1"
        ).fetchall()
        assert found == [
            ("no cookie", "Unknown", None, None, 1, 1, 1.0),
            ("too long ago", "Unknown", None, None, 1, 1, 1.0),
        ]


def test_several_conversions_of_one_visitor_have_each_what_lay_behind_it(store: Store) -> None:
    early, late = lead("early", -5 * DAY, visitor_id="v"), lead("late", 0, visitor_id="v")
    store.write(batch(*journey((9, "Email"), (3, "Referral")), early, late))
    assert shares(store, "linear", "early") == [("Email", 1)]
    assert shares(store, "linear", "late") == [("Email", 0.5), ("Referral", 0.5)]


def test_arrivals_of_bots_get_nothing(store: Store) -> None:
    scanner = arrival(-2, "v", "v", "Link-scanner", is_bot=True)
    store.write(batch(*journey((3, "Email")), scanner, lead("l", 0, visitor_id="v")))
    assert {model: shares(store, model) for model in ATTRIBUTIONS} == {model: [("Email", 1)] for model in ATTRIBUTIONS}


@pytest.mark.parametrize("fact", ["refused", "unconfirmed", "submitted", "discarded"])
def test_forms_that_became_no_lead_are_no_conversions(store: Store, fact: str) -> None:
    facts = (
        [lead("l", 0, visitor_id="v"), lead("l", 1, fact)]
        if fact == "discarded"
        else [lead("l", 0, fact, visitor_id="v")]
    )
    store.write(batch(*journey((3, "Email")), *facts))
    assert {model: shares(store, model) for model in ATTRIBUTIONS} == {model: [] for model in ATTRIBUTIONS}


def test_the_value_is_shared_out_to_the_cent(store: Store) -> None:
    """Leads have no value yet; what conversions will have goes the same way."""
    store.write(batch(*journey((14, "Email"), (7, "Email"), (0, "Direct")), lead("l", 0, visitor_id="v")))
    worth = sql.read("views/conversions").replace("null as decimal", "100.01 as decimal")
    door.create(store.connection, {"conversions": worth})
    try:
        for model in ATTRIBUTIONS:
            ((sum_of_shares, whole),) = store.connection.execute(
                f"select sum(credited_value), sum(value * credit) from attribution_{model}"
            ).fetchall()
            assert round(sum_of_shares, 2) == Decimal("100.01"), model
            assert math.isclose(whole, 100.01)
    finally:
        door.create(store.connection, {"conversions": sql.read("views/conversions")})


# -- against plain Python


class Touch(NamedTuple):
    minutes: float
    visitor: str
    channel: str
    is_bot: bool


class Lead(NamedTuple):
    minutes: float
    visitor: str | None
    fact: str


MINUTES = st.one_of(
    st.integers(-3, 3).map(float),  # many of the same moment
    st.integers(-95 * DAY, 0).map(float),
)
TOUCHES = st.lists(
    st.builds(Touch, MINUTES, st.sampled_from("vw"), st.sampled_from(["Direct", "Internal", "Email", "Paid Search"]),
              st.sampled_from([False, False, False, True])),
    max_size=12,
)  # fmt: skip
LEADS = st.lists(
    st.builds(Lead, MINUTES, st.sampled_from(["v", "w", "x", None]), st.sampled_from(["accepted", "accepted", "refused"])),
    max_size=6,
)  # fmt: skip

Behind = list[tuple[int, Touch]]


def behind(one: Lead, touches: list[Touch]) -> Behind:
    found = [
        (number, touch)
        for number, touch in enumerate(touches)
        if touch.visitor == one.visitor and not touch.is_bot and 0 <= one.minutes - touch.minutes <= 90 * DAY
    ]
    return sorted(found, key=lambda pair: (pair[1].minutes, pair[0]))


def weights(model: str, one: Lead, found: Behind) -> list[float]:
    last = len(found) - 1
    if model == "first_touch":
        return [float(n == 0) for n in range(len(found))]
    if model == "last_touch":
        return [float(n == last) for n in range(len(found))]
    if model == "last_non_direct":
        brought = [n for n, (_, touch) in enumerate(found) if touch.channel not in ("Direct", "Internal")]
        return [float(n == (brought or [last])[-1]) for n in range(len(found))]
    if model == "linear":
        return [1.0] * len(found)
    if model == "position_based" and len(found) > 2:
        return [2.0 if n in (0, last) else 1 / (last - 1) for n in range(len(found))]
    if model == "time_decay":
        return [2 ** -((one.minutes - touch.minutes) / DAY / 7) for _, touch in found]
    return [1.0] * len(found)


@settings(max_examples=60, deadline=None)
@given(touches=TOUCHES, leads=LEADS)
def test_credit_is_what_plain_python_says_and_adds_up_to_the_conversions(
    shared: Store, touches: list[Touch], leads: list[Lead]
) -> None:
    forget(shared)
    written = [
        arrival(touch.minutes, touch.visitor, f"visit-{n}", touch.channel, event_id=f"{n:04d}", is_bot=touch.is_bot)
        for n, touch in enumerate(touches)
    ]
    facts = [lead(f"l{n}", one.minutes, one.fact, visitor_id=one.visitor) for n, one in enumerate(leads)]
    shared.write(batch(*written, *facts, event()))
    for model in ATTRIBUTIONS:
        rows = shared.connection.execute(
            f"select conversion_id, event_id, credit from attribution_{model} order by conversion_id, position"
        ).fetchall()
        sums: dict[str, float] = {}
        for conversion, _, credit in rows:
            sums[conversion] = sums.get(conversion, 0) + credit
        accepted = {f"l{n}": one for n, one in enumerate(leads) if one.fact == "accepted"}
        assert sums.keys() == accepted.keys()
        assert all(math.isclose(total, 1, abs_tol=1e-12) for total in sums.values())
        for conversion, one in accepted.items():
            found = behind(one, touches)
            shared_out = weights(model, one, found)
            total = sum(shared_out)
            wanted = [(f"{n:04d}", w / total) for (n, _), w in zip(found, shared_out, strict=True) if w] or [
                (None, 1.0)
            ]
            got = [(event_id, credit) for name, event_id, credit in rows if name == conversion]
            assert [name for name, _ in got] == [name for name, _ in wanted], model
            assert [credit for _, credit in got] == pytest.approx([credit for _, credit in wanted], abs=1e-9)
            if len(found) == 1:
                assert got == [(wanted[0][0], 1.0)]
