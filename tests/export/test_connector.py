import inspect

import pytest

from export.connector import Connector
from export.sinks import CONNECTORS
from tests.export.leads import CONTACT_MARK, lead, message
from tests.export.world import Sink


def test_the_repr_of_a_message_shows_no_contact():
    given = message(lead(1))
    assert CONTACT_MARK in str(given.data)
    assert CONTACT_MARK not in repr(given)
    assert given.delivery_id in repr(given)


@pytest.mark.parametrize("kind", [*CONNECTORS.values(), Sink], ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("call", ["open", "deliver", "settled", "close"])
def test_every_connector_and_the_fake_of_the_tests_have_the_calls_as_they_are_made(kind, call):
    ours, theirs = getattr(Connector, call), getattr(kind, call)
    assert inspect.iscoroutinefunction(theirs)
    assert list(inspect.signature(theirs).parameters) == list(inspect.signature(ours).parameters)


@pytest.mark.parametrize("kind", CONNECTORS.values(), ids=lambda kind: kind.__name__)
def test_every_connector_says_how_many_messages_it_takes_at_once(kind):
    assert kind.concurrency >= 1
