import pytest

from export.circuit import FIRST_PROBE_SECS, MAX_HOLD_SECS, Circuit
from export.connector import Delivered, Later, Never, Parked
from export.settings import CircuitSettings

SETTINGS = CircuitSettings(failures=5, open_secs=30, parked_secs=300)


def after(circuit, outcome, delivery_id="a", now=0.0):
    return circuit.after(outcome, delivery_id=delivery_id, now=now, settings=SETTINGS)


def fail(circuit, ids, now=0.0):
    for delivery_id in ids:
        circuit = after(circuit, Later("down"), delivery_id, now)
    return circuit


def places(circuit, now=0.0, running=0):
    return circuit.places(now=now, running=running, concurrency=2)


def test_a_closed_circuit_gives_as_many_places_as_the_connector_takes():
    assert [places(Circuit(), running=running) for running in (0, 1, 2, 3)] == [2, 1, 0, 0]


def test_five_failures_in_a_row_of_more_than_one_lead_open_it():
    circuit = fail(Circuit(), "abab")
    assert circuit.state == "closed"
    circuit = fail(circuit, "a")
    assert circuit.state == "open"
    assert places(circuit, now=29.9) == 0
    assert places(circuit, now=30) == 1


def test_one_lead_that_always_fails_does_not_open_it():
    circuit = fail(Circuit(), "a" * 50)
    assert circuit.state == "closed"
    assert places(circuit) == 2


def test_a_success_or_a_refusal_in_between_starts_the_count_again():
    for answer in (Delivered(), Never("no")):
        circuit = fail(after(fail(Circuit(), "abcd"), answer), "abcd")
        assert circuit.state == "closed"


def test_an_open_circuit_lets_one_through_and_closes_when_that_arrives():
    circuit = fail(Circuit(), "abcde")
    assert places(circuit, now=30, running=1) == 0
    assert after(circuit, Delivered(), now=30).state == "closed"
    assert places(after(circuit, Delivered(), now=30), now=30) == 2


def test_a_probe_that_fails_keeps_it_open_for_another_pause():
    circuit = fail(fail(Circuit(), "abcde"), "f", now=30)
    assert circuit.state == "open"
    assert (places(circuit, now=59), places(circuit, now=60)) == (0, 1)


@pytest.mark.parametrize("outcome", [Delivered(), Never("malformed")])
def test_any_answer_to_the_message_closes_a_parked_sink(outcome):
    circuit = after(Circuit(), Parked("key refused"))
    assert circuit.state == "parked"
    assert after(circuit, outcome, now=300).state == "closed"


def test_a_refusal_of_us_parks_it_at_once_for_the_longer_pause():
    circuit = after(Circuit(), Parked("key refused"))
    assert (places(circuit, now=299), places(circuit, now=300)) == (0, 1)


def test_a_sink_that_worked_a_moment_ago_is_asked_again_soon_but_only_once():
    circuit = after(after(Circuit(), Delivered()), Parked("firewall?"), now=100)
    assert (places(circuit, now=100 + FIRST_PROBE_SECS - 1), places(circuit, now=100 + FIRST_PROBE_SECS)) == (0, 1)
    circuit = after(circuit, Parked("no"), now=110)
    assert (places(circuit, now=409), places(circuit, now=410)) == (0, 1)


def test_retry_after_holds_the_whole_sink_but_not_for_days():
    circuit = after(Circuit(), Later("429", after_secs=90))
    assert circuit.state == "closed"
    assert (places(circuit, now=89), places(circuit, now=90)) == (0, 2)
    circuit = after(Circuit(), Later("429", after_secs=10**9))
    assert places(circuit, now=MAX_HOLD_SECS) == 2


def test_a_delivery_that_arrives_meanwhile_does_not_shorten_the_wait_a_remote_asked_for():
    circuit = after(after(Circuit(), Later("429", after_secs=90)), Delivered(), now=1)
    assert (places(circuit, now=89), places(circuit, now=90)) == (0, 2)


def test_a_retry_after_longer_than_the_pause_keeps_an_open_circuit_waiting():
    circuit = after(fail(Circuit(), "abcd"), Later("503", after_secs=600), "e")
    assert circuit.state == "open"
    assert (places(circuit, now=599), places(circuit, now=600)) == (0, 1)
