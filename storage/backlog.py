"""Lines that wait in memory while the disk refuses them, and the count of those that had to be let go.

Knows bounds and counts. Knows nothing of files.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from tracker.model import LossRecord

# Forms may go over the bound for page views by this share: they are worth more, and there are few of them.
DURABLE_SHARE = 1.1


@dataclass
class Loss:
    """Exchanges whose records were let go for one reason: how many, and between which numbers."""

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
        self._losses: dict[str, Loss] = {}

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
            loss = self._losses.get(reason)
            if loss is None:
                self._losses[reason] = Loss(seq, seq, 1)
            else:
                loss.first_seq = min(loss.first_seq, seq)
                loss.last_seq = max(loss.last_seq, seq)
                loss.count += 1
        return False

    def drop_first(self) -> None:
        """The first line stands in a file now."""
        self._bytes -= len(self._lines.popleft())

    def next_loss(self, occurred_at: str) -> tuple[str, LossRecord] | None:
        """A reason and the record that tells what was let go for it; None if there is nothing to tell."""
        for reason, loss in self._losses.items():
            return reason, LossRecord(
                occurred_at=occurred_at,
                first_seq=loss.first_seq,
                last_seq=loss.last_seq,
                count=loss.count,
                reason=reason,
            )
        return None

    def told(self, reason: str) -> None:
        """The record of this loss stands in a file now."""
        del self._losses[reason]
