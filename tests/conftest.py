"""What holds for all tests: whole houses last, and properties without a stopwatch."""

from __future__ import annotations

from pathlib import Path

import hypothesis
import pytest

E2E = Path(__file__).parent / "e2e"

# How long an example takes depends on what else the machine does: speed is for benchmarks/, not for tests.
hypothesis.settings.register_profile(
    "ropo", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow], print_blob=True
)
hypothesis.settings.load_profile("ropo")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks what lies in tests/e2e, and runs it after all else: a broken room says so first, and in a word."""
    for item in items:
        if item.path.is_relative_to(E2E):
            item.add_marker(pytest.mark.e2e)
            # Whole houses start and stop in there: on a busy machine that takes its time.
            item.add_marker(pytest.mark.timeout(400))
    items.sort(key=lambda item: item.path.is_relative_to(E2E))
