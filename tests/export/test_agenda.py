from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from export.agenda import Agenda
from export.outbox import PendingDelivery
from tracker.clock import text_of


def at(secs: float) -> str:
    return text_of(int(secs * 1e6))


def owed(name: str, *, lead: str | None = None, since: float = 0, attempts: int = 0, due: float | None = None):
    return PendingDelivery(
        delivery_id=name,
        lead_id=lead or f"lead-{name}",
        sink="erp",
        owed_at=at(since),
        attempts=attempts,
        next_attempt_at=None if due is None else at(due),
    )


def agenda_of(*pending: PendingDelivery) -> Agenda:
    agenda = Agenda()
    agenda.replace(pending)
    return agenda


def all_taken(agenda: Agenda, now: float) -> list[str]:
    taken = []
    while pending := agenda.take(now):
        taken.append(pending.delivery_id)
    return taken


def test_fresh_leads_go_before_those_that_failed_and_older_before_younger():
    agenda = agenda_of(
        owed("tired", since=1, attempts=3), owed("young", since=9), owed("old", since=2), owed("once", attempts=1)
    )
    assert all_taken(agenda, now=10) == ["old", "young", "once", "tired"]


def test_nothing_goes_before_its_time():
    agenda = agenda_of(owed("a", due=50), owed("b", due=20))
    assert agenda.take(19) is None
    assert agenda.next_at(19) == 20
    assert agenda.take(20).delivery_id == "b"
    assert agenda.next_at(20) == 50
    assert all_taken(agenda, 50) == ["a"]
    assert agenda.next_at(50) is None


def test_what_is_taken_is_not_given_twice_even_if_the_log_still_says_it_is_owed():
    agenda = agenda_of(owed("a"))
    assert agenda.take(0).delivery_id == "a"
    agenda.replace([owed("a")])
    assert agenda.take(0) is None
    assert len(agenda) == 1


@pytest.mark.parametrize("then", ["failed", "arrived"])
def test_what_is_taken_stays_until_its_outcome_is_known_even_if_the_log_knows_it_no_more(then):
    agenda = agenda_of(owed("a"), owed("b"))
    pending = agenda.take(0)
    agenda.replace([owed("b")])
    assert "a" in agenda
    if then == "failed":
        agenda.put_back(pending)
        agenda.replace([owed("b")])
    else:
        agenda.drop("a")
    assert all_taken(agenda, 0) == ["b"]


def test_what_is_put_back_goes_again_at_its_new_time():
    agenda = agenda_of(owed("a"))
    pending = agenda.take(0)
    agenda.put_back(replace(pending, attempts=1, next_attempt_at=at(10)))
    assert agenda.take(9) is None
    assert agenda.take(10).attempts == 1


def test_the_log_has_the_last_word_on_what_waits():
    agenda = agenda_of(owed("gone"), owed("kept"), owed("requeued", attempts=4, due=9999))
    agenda.replace([owed("kept"), owed("requeued"), owed("new")])
    assert sorted(all_taken(agenda, now=1)) == ["kept", "new", "requeued"]
    assert "gone" not in agenda


def test_one_the_sink_would_not_talk_about_lets_the_others_go_first():
    agenda = agenda_of(owed("a", since=1), owed("b", since=2), owed("c", since=3))
    first = agenda.take(5)
    agenda.refused("a")
    agenda.put_back(first)
    assert all_taken(agenda, 5) == ["b", "c", "a"]


def test_two_deliveries_of_one_lead_go_one_after_the_other():
    agenda = agenda_of(owed("won", lead="x", since=2), owed("created", lead="x", since=1), owed("other", since=3))
    assert all_taken(agenda, 5) == ["created", "other"]
    agenda.drop("created")
    assert all_taken(agenda, 5) == ["won"]


def test_the_second_waits_as_long_as_the_first_has_to():
    agenda = agenda_of(owed("created", lead="x", since=1), owed("won", lead="x", since=2))
    pending = agenda.take(5)
    agenda.put_back(replace(pending, attempts=1, next_attempt_at=at(100)))
    assert agenda.take(50) is None
    assert all_taken(agenda, 100) == ["created"]


def test_an_earlier_one_that_turns_up_later_goes_first():
    agenda = agenda_of(owed("won", lead="x", since=2))
    agenda.replace([owed("won", lead="x", since=2), owed("created", lead="x", since=1)])
    assert all_taken(agenda, 5) == ["created"]
    agenda.drop("created")
    assert all_taken(agenda, 5) == ["won"]


def test_leads_owed_at_the_same_moment_go_in_the_order_of_the_log():
    names = [str(number) for number in range(50)]
    assert all_taken(agenda_of(*map(owed, names)), 1) == names


def test_an_earlier_one_that_turns_up_later_does_not_run_beside_the_other():
    agenda = agenda_of(owed("won", lead="x", since=2))
    pending = agenda.take(5)
    agenda.replace([owed("won", lead="x", since=2), owed("created", lead="x", since=1)])
    assert agenda.take(5) is None
    agenda.put_back(pending)
    assert all_taken(agenda, 5) == ["created"]


class AgendaBook(RuleBasedStateMachine):
    """Whatever happens in whatever order: each owed delivery is in exactly one place, and none is ever lost."""

    def __init__(self) -> None:
        super().__init__()
        self.agenda = Agenda()
        self.owed: dict[str, PendingDelivery] = {}
        self.out: dict[str, PendingDelivery] = {}
        self.now = 0.0
        self.number = 0

    @rule(due=st.none() | st.integers(0, 50), lead=st.none() | st.sampled_from("xy"))
    def a_lead_is_owed(self, due, lead):
        self.number += 1
        self.owed[str(self.number)] = owed(str(self.number), lead=lead, since=self.number, due=due)

    @rule(data=st.data())
    def one_is_owed_no_more(self, data):
        if waiting := sorted(self.owed.keys() - self.out.keys()):
            del self.owed[data.draw(st.sampled_from(waiting))]

    @rule()
    def the_log_is_read(self):
        self.agenda.replace(self.owed.values())

    @rule(secs=st.integers(0, 20))
    def time_passes(self, secs):
        self.now += secs

    @rule()
    def one_is_taken(self):
        pending = self.agenda.take(self.now)
        if pending:
            assert pending.delivery_id not in self.out
            assert pending.lead_id not in [other.lead_id for other in self.out.values()]
            self.out[pending.delivery_id] = pending

    @rule(wait=st.integers(0, 30))
    def one_fails(self, wait):
        if self.out:
            name, pending = self.out.popitem()
            back = replace(pending, attempts=pending.attempts + 1, next_attempt_at=at(self.now + wait))
            self.owed[name] = back
            self.agenda.put_back(back)

    @rule()
    def one_arrives(self):
        if self.out:
            name, _ = self.out.popitem()
            self.owed.pop(name, None)
            self.agenda.drop(name)

    @invariant()
    def it_holds_what_is_owed(self):
        assert set(self.out) <= set(self.agenda.delivery_ids())
        due = self.agenda.next_at(self.now)
        assert due is None or due >= 0

    def teardown(self):
        for name in list(self.out):
            self.out.pop(name)
            self.agenda.drop(name)
            self.owed.pop(name, None)
        self.the_log_is_read()
        given_out = []
        while pending := self.agenda.take(10**6):
            given_out.append(pending.delivery_id)
            self.agenda.drop(pending.delivery_id)
        assert sorted(given_out) == sorted(self.owed)
        assert len(self.agenda) == 0


TestAgendaBook = AgendaBook.TestCase


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 100)), max_size=30))
def test_everything_owed_is_given_exactly_once(figures):
    pending = [owed(str(number), attempts=attempts, due=due) for number, (attempts, due) in enumerate(figures)]
    assert sorted(all_taken(agenda_of(*pending), now=100)) == sorted(p.delivery_id for p in pending)
