"""Lines that wait in memory while the disk refuses them, and the count of those that had to be let go.

Knows bounds and counts, and of a line its number and its moment. Knows nothing of files.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import msgspec

from tracker import clock
from tracker.model import LossRecord

# Forms may go over the bound for page views by this share: they are worth more, and there are few of them.
DURABLE_SHARE = 1.1

# `2026-11-22 10`: losses are told by the hour, because the ledger adds up by the hour.
_HOUR = 13

LossKey = tuple[str, str]


class Told(msgspec.Struct):
    """What a line says of itself, whatever its kind."""

    t: str = ""
    seq: int = 0
    occurred_at: str = ""


_read = msgspec.json.Decoder(Told).decode


def seq_of(line: bytes) -> int:
    """The number of the exchange whose record this is; 0 if the line is no exchange's own record."""
    try:
        told = _read(line)
    except ValueError:
        return 0
    return told.seq if told.t == "exchange" else 0


@dataclass
class Loss:
    """Exchanges of one hour whose records were let go for one reason: how many, and between which numbers."""

    occurred_at: str
    first_seq: int
    last_seq: int
    count: int


class Backlog:
    """First in, first out. At most `max_lines` lines and `max_bytes` bytes; what comes on top is counted and let go."""

    def __init__(self, *, max_lines: int, max_bytes: int) -> None:
        self.max_lines = max_lines
        self.max_bytes = max_bytes
        self.lost = 0
        self._lines: deque[bytes] = deque()
        self._bytes = 0
        self._losses: dict[LossKey, Loss] = {}

    def __len__(self) -> int:
        return len(self._lines)

    @property
    def first(self) -> bytes:
        return self._lines[0]

    def keep(self, line: bytes, seq: int, *, durable: bool, reason: str) -> bool:
        """Takes one more line; False if it was let go. `seq` 0: the line is no exchange's only record."""
        share = DURABLE_SHARE if durable else 1.0
        if len(self._lines) < self.max_lines * share and self._bytes + len(line) <= self.max_bytes * share:
            self._lines.append(line)
            self._bytes += len(line)
            return True
        self.lost += 1
        if seq:
            self._lose(_moment_of(line), seq, reason)
        return False

    def _lose(self, occurred_at: str, seq: int, reason: str) -> None:
        loss = self._losses.get(key := (reason, occurred_at[:_HOUR]))
        if loss is None:
            self._losses[key] = Loss(occurred_at, seq, seq, 1)
        else:
            loss.first_seq = min(loss.first_seq, seq)
            loss.last_seq = max(loss.last_seq, seq)
            loss.count += 1

    def let_go_all(self, reason: str) -> None:
        """Nothing of what waits will be written any more."""
        while self._lines:
            line = self.first
            self.drop_first()
            self.lost += 1
            if seq := seq_of(line):
                self._lose(_moment_of(line), seq, reason)

    def drop_first(self) -> None:
        """The first line stands in a file now."""
        self._bytes -= len(self._lines.popleft())

    def next_loss(self) -> tuple[LossKey, LossRecord] | None:
        """The record that tells of some of what was let go, and a key for `told`; None if there is nothing to tell."""
        for key, loss in self._losses.items():
            return key, LossRecord(
                occurred_at=loss.occurred_at,
                first_seq=loss.first_seq,
                last_seq=loss.last_seq,
                count=loss.count,
                reason=key[0],
            )
        return None

    def told(self, key: LossKey) -> None:
        """The record of this loss stands in a file now."""
        del self._losses[key]


def _moment_of(line: bytes) -> str:
    """When it happened what the line tells; a line that does not say so is lost now."""
    try:
        return _read(line).occurred_at or clock.now_text()
    except ValueError:
        return clock.now_text()
