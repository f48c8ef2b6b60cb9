import pytest
from hypothesis import given
from hypothesis import strategies as st

from export.backoff import MAX_RETRY_AFTER_SECS, MIN_WAIT_SECS, next_attempt_at, wait_secs
from export.settings import RetrySettings

DAY = 86_400
RETRY = RetrySettings()
chances = st.floats(0, 1, exclude_max=True)


@pytest.mark.parametrize(
    ("attempts", "longest"),
    [(1, 10), (2, 60), (3, 300), (4, 1800), (5, 7200), (6, 21_600), (7, 43_200), (8, DAY), (9, DAY), (50, DAY)],
)
def test_the_longest_wait_follows_the_schedule_and_then_stays_a_day(attempts, longest):
    assert wait_secs(RETRY, attempts=attempts, random=lambda: 1.0) == longest
    assert wait_secs(RETRY, attempts=attempts, random=lambda: 0.5) == longest / 2


@given(st.integers(1, 100), chances)
def test_a_wait_is_never_shorter_than_a_breath_nor_longer_than_scheduled(attempts, chance):
    longest = wait_secs(RETRY, attempts=attempts, random=lambda: 1.0)
    assert MIN_WAIT_SECS <= wait_secs(RETRY, attempts=attempts, random=lambda: chance) <= longest


@pytest.mark.parametrize(
    ("asked", "waited"), [(0, MIN_WAIT_SECS), (-5, MIN_WAIT_SECS), (120, 120), (10**12, MAX_RETRY_AFTER_SECS)]
)
def test_what_the_remote_asks_for_wins_within_reason(asked, waited):
    assert wait_secs(RETRY, attempts=1, random=lambda: 0.3, after_secs=asked) == waited


def test_an_empty_schedule_goes_straight_to_the_last_figure():
    retry = RetrySettings(schedule_secs=[], then_every_secs=5)
    assert wait_secs(retry, attempts=1, random=lambda: 1.0) == 5


def test_it_is_given_up_after_the_days_and_tried_once_more_at_their_very_end():
    end = 7 * DAY
    assert next_attempt_at(RETRY, owed_at=0, now=end - 100, attempts=20, random=lambda: 1.0) == end
    assert next_attempt_at(RETRY, owed_at=0, now=end, attempts=21, random=lambda: 1.0) is None


@given(st.floats(0, 8 * DAY), st.integers(1, 100), chances, st.none() | st.floats(0, 1e9))
def test_the_next_attempt_lies_ahead_and_not_past_the_end(now, attempts, chance, after_secs):
    at = next_attempt_at(RETRY, owed_at=0, now=now, attempts=attempts, random=lambda: chance, after_secs=after_secs)
    assert (at is None) == (now >= 7 * DAY)
    assert at is None or now < at <= 7 * DAY


@given(chances)
def test_a_remote_that_is_down_for_a_week_is_tried_often_but_not_endlessly(chance):
    now, attempts = 0.0, 0
    while now is not None:
        attempts += 1
        now = next_attempt_at(RETRY, owed_at=0, now=now, attempts=attempts, random=lambda: max(chance, 0.1))
    assert 10 <= attempts <= 90
