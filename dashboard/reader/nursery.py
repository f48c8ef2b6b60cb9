"""The process that queries are forked from: it has loaded what they need, and opens nothing itself.

    python -m dashboard.reader.nursery SOCKET READER

SOCKET is a descriptor on which each message brings the socket of one query, READER the number of the process that
listens. Forked instead of started: a query's process is there in 2 ms instead of 200. It has one thread, as fork(2) wants;
DuckDB 1.5 starts another one when it is loaded, which sleeps and holds nothing.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from contextlib import suppress

import msgspec

from dashboard.reader import confine, query
from dashboard.reader.frames import read_order


def main(fd: int, reader: int) -> int:
    confine.end_with(reader)
    confine.step_back()
    confine.write_nothing()
    # Nobody asks how the children ended: the reader sees whether their answer was whole.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with socket.socket(fileno=fd) as control:
        while True:
            message, fds, _, _ = socket.recv_fds(control, 1, 1)
            if not message:
                return 0
            for one in fds:
                with socket.socket(fileno=one) as sock:
                    _fork(control, sock)


def _fork(control: socket.socket, sock: socket.socket) -> None:
    nursery = os.getpid()
    try:
        if os.fork():
            return
    except OSError:
        return  # the reader sees the socket close
    code = 1
    try:
        confine.end_with(nursery)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        control.close()
        # The reader may be gone, and what it said is our own: neither is worth a word.
        with suppress(ConnectionError, msgspec.DecodeError):
            if order := read_order(sock):
                query.serve(sock, order)
        code = 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        # No way back into the loop above, and none through what DuckDB does at an end.
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2])))
