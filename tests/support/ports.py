"""Ports on loopback. Knows which one is free now, and nothing of who will listen there."""

from __future__ import annotations

import random
import socket

# Below the range the kernel takes ports from for outgoing connections (32768 on Linux): a server that a test stops and
# starts again finds its port free.
FIRST, LAST = 20_000, 30_000


def free_port() -> int:
    """A port nothing listens on, and that no outgoing connection will be given by chance."""
    for _ in range(200):
        port = random.randint(FIRST, LAST)
        with socket.socket() as candidate:
            try:
                candidate.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError(f"no free port between {FIRST} and {LAST} on 127.0.0.1")


def is_open(port: int) -> bool:
    """Whether something accepts connections there."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
