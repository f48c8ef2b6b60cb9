"""Which of a site's servers takes the next request. Decisions only: whoever asks keeps `running` and tries the next.

The one with the fewest running requests in this worker, in turn where several have equally few; a server that rests or
is unhealthy is left out as long as another is up.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from proxy.servers import Server


class Balancer:
    """Over at least one server; ValueError without any."""

    def __init__(self, servers: Sequence[Server]) -> None:
        if not servers:
            raise ValueError("expected at least one upstream server")
        self.servers = tuple(servers)
        self._only = self.servers[0] if len(self.servers) == 1 else None
        self._turn = 0
        if self._only is None:
            for server in self.servers:
                server.may_rest = True

    def choose(self, tried: Collection[Server] = ()) -> Server | None:
        """The server for a request that failed at those `tried`. None only if all of them were."""
        if self._only is not None:
            return None if tried and self._only in tried else self._only
        turn = self._turn
        in_turn = self.servers[turn:] + self.servers[:turn]
        untried = [server for server in in_turn if server not in tried] if tried else in_turn
        chosen = _least_running(server for server in untried if server.is_up)
        if chosen is None:
            # None is known to be well, which we may be wrong about: to try is worth more than a page that says so.
            chosen = _least_running(untried)
            if chosen is None:
                return None
        elif chosen.awaits_probe:
            chosen.rest()  # this request is the probe; the others leave the server alone until its answer
        self._turn = (self.servers.index(chosen) + 1) % len(self.servers)
        return chosen


def _least_running(servers: Iterable[Server]) -> Server | None:
    return min(servers, key=lambda server: server.running, default=None)  # the first of several equals
