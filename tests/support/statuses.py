"""Status files as ropo's processes write them, for tests of whoever reads them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

NOW = datetime(2026, 11, 22, 10, 0, 0, tzinfo=UTC)
EPOCH = 1_795_000_000_000_000_000


def text(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S.%f")


def state(kind: str, *, now: datetime = NOW, seen_secs: float = 0.5, **more: Any) -> dict[str, Any]:
    return {
        "kind": kind,
        "pid": 4711,
        "started_at": text(now - timedelta(hours=2)),
        "updated_at": text(now - timedelta(seconds=seen_secs)),
        **more,
    }


def upstream(url: str = "http://127.0.0.1:9000", state: str = "up", **more: Any) -> dict[str, Any]:
    """A server of the site, as one worker sees it."""
    return {"url": url, "state": state, "idle": 4, "running": 3, "failures": 2, **more}


def worker(*, now: datetime = NOW, seen_secs: float = 0.5, spool: dict[str, int] | None = None, **more: Any) -> dict:
    counters = {"records": 1200, "bytes": 700_000, "syncs": 300, "pending": 0, "lost": 0, **(spool or {})}
    return state(
        "worker",
        now=now,
        seen_secs=seen_secs,
        **{
            "epoch": EPOCH,
            "exchanges": 1203,
            "in_flight": 3,
            "connections": 7,
            "statuses": {"2xx": 1100, "3xx": 80, "4xx": 20, "5xx": 3},
            "refusals": {"upstream_down": 2},
            "upstreams": [upstream()],
            "observer_errors": 0,
            "spool": counters,
            "forms": {"seen": 5},
            **more,
        },
    )


def collector(*, now: datetime = NOW, seen_secs: float = 0.5, **more: Any) -> dict:
    return state(
        "collector",
        now=now,
        seen_secs=seen_secs,
        **{
            "events": 1200,
            "batches": 60,
            "last_batch_at": text(now - timedelta(seconds=1)),
            "last_publish_at": text(now - timedelta(seconds=2)),
            "waiting_files": 0,
            "oldest_waiting_secs": 0.0,
            "quarantined": 0,
            "errors": 0,
            "sinks": {
                "erp": {"owed": 1, "delivered": 4, "failed": 0, "dead": 0, "circuit": "closed", "last_error": None}
            },
            **more,
        },
    )


def supervisor(*, now: datetime = NOW, **more: Any) -> dict:
    return state("supervisor", now=now, **{"restarts": {"worker-2": 1}, "listen": "127.0.0.1:8080", **more})


def house(**changed: dict) -> dict[str, dict]:
    """A healthy house with two workers, by name; `worker_1={...}` and so on replace or add a state."""
    states = {
        "supervisor": supervisor(),
        "collector": collector(),
        "worker-1": worker(),
        "worker-2": worker(epoch=EPOCH + 1),
    }
    return states | {name.replace("_", "-"): value for name, value in changed.items()}
