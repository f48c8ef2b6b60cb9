"""Accepts connections that begin with a PROXY header, reads exactly that, and hands the socket on.

Knows sockets and the clock; what a header says is `proxy_protocol`'s, what becomes of the connection the caller's. The
header is plain text in front of TLS as well, so it must be gone, to the byte, before anybody else reads the socket.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

from proxy.forwarded import plain
from proxy.proxy_protocol import MAX_HEADER_BYTES, ProxyHeader, ProxyHeaderError, read

log = logging.getLogger(__name__)

# The paper's section 2 asks for at least three seconds: one lost SYN or segment must not cost a visitor the connection.
MIN_TIMEOUT_SECS = 3.0
# Headers arrive with the first segment. More than these waiting at once are no proxy's doing; the oldest goes.
MAX_UNFINISHED = 1_000
# Per turn of the loop, so that a flood of connections keeps no request waiting, and other workers get some.
ACCEPTS_PER_TURN = 16
# accept(2) with no descriptors left fails at once, again and again: without a pause it would take the whole processor.
PAUSE_SECS = 0.1
LOG_SECS = 60.0


class _Unfinished:
    __slots__ = ("begun", "timer")

    def __init__(self, timer: asyncio.TimerHandle) -> None:
        self.begun = b""  # what has been taken of the header
        self.timer = timer


class Acceptor:
    """One for each listening socket, which it owns from now on, as `create_server` would.

    `is_trusted` is asked with the peer's address, made plain ("unix" for a Unix socket). `connected` gets the socket, non-blocking,
    with the first byte after the header next, and the header; it owns the socket unless it raises.

    refused   how many connections were not handed on, by reason: untrusted, malformed, timed_out, left (before the
              header was whole), crowded_out; and failed, when `connected` raised, such as in a TLS handshake
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        listener: socket.socket,
        *,
        is_trusted: Callable[[str], bool],
        timeout_secs: float,
        connected: Callable[[socket.socket, ProxyHeader], Coroutine[Any, Any, object]],
        max_unfinished: int = MAX_UNFINISHED,
    ) -> None:
        self.refused: Counter[str] = Counter()
        self._loop = loop
        self._listener = listener
        self._is_trusted = is_trusted
        self._timeout_secs = max(timeout_secs, MIN_TIMEOUT_SECS)
        self._connected = connected
        self._max_unfinished = max_unfinished
        self._unfinished: dict[socket.socket, _Unfinished] = {}  # in the order they came
        self._handing_on: set[asyncio.Task[None]] = set()
        self._resumption: asyncio.TimerHandle | None = None
        self._said: dict[str, float] = {}
        listener.setblocking(False)
        loop.add_reader(listener, self._accept)

    @property
    def unfinished(self) -> int:
        """Connections whose header is not whole yet."""
        return len(self._unfinished)

    def close(self) -> None:
        """Accepts no more, closes the listener, and drops what is unfinished. What was handed on goes on."""
        if self._listener.fileno() < 0:
            return
        self._loop.remove_reader(self._listener)
        if self._resumption is not None:
            self._resumption.cancel()
        self._listener.close()
        for sock in list(self._unfinished):
            self._take_out(sock)
            sock.close()

    async def wait_closed(self) -> None:
        """Until every `connected` has returned. Cancelled (by a timeout, say), it cancels them."""
        await asyncio.gather(*self._handing_on, return_exceptions=True)

    # -- accepting

    def _accept(self) -> None:
        for _ in range(ACCEPTS_PER_TURN):
            try:
                sock, address = self._listener.accept()
            except (BlockingIOError, InterruptedError):
                return  # another worker was quicker
            except ConnectionAbortedError:
                continue
            except OSError as error:
                # EMFILE and ENFILE mostly. accept(2) lists more that pass, and none that is better for trying harder.
                self._pause(error)
                return
            peer = plain(address[0]) if sock.family in (socket.AF_INET, socket.AF_INET6) else "unix"
            if self._is_trusted(peer):
                self._begin(sock)
            else:
                sock.close()
                self._refuse("untrusted", 'do="add the proxy in front to proxy.trusted, or let no one else connect"')

    def _pause(self, error: OSError) -> None:
        self._loop.remove_reader(self._listener)
        self._resumption = self._loop.call_later(PAUSE_SECS, self._loop.add_reader, self._listener, self._accept)
        if self._may_say("accept"):
            log.warning('event=accept_failed error="%s" pause_secs=%s', error.strerror, PAUSE_SECS)

    # -- headers

    def _begin(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        if len(self._unfinished) >= self._max_unfinished:
            self._drop(next(iter(self._unfinished)), "crowded_out")
        timer = self._loop.call_later(self._timeout_secs, self._drop, sock, "timed_out")
        self._unfinished[sock] = _Unfinished(timer)
        self._read(sock)  # often it is there already
        if sock in self._unfinished:
            self._loop.add_reader(sock, self._read, sock)

    def _read(self, sock: socket.socket) -> None:
        """Takes what has come of the header and nothing else.

        Peeked at first: as long as the header is not whole, all of it belongs to the header, so it is taken, and the
        socket is silent until more comes. If it were left there, the loop would call for it again at once.
        """
        unfinished = self._unfinished[sock]
        begun = unfinished.begun
        try:
            arrived = sock.recv(MAX_HEADER_BYTES - len(begun), socket.MSG_PEEK)
            if not arrived:
                self._drop(sock, "left")
                return
            found = read(begun + arrived)
            unfinished.begun += sock.recv(len(arrived) if found is None else found[1] - len(begun))
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self._drop(sock, "left")
            return
        except ProxyHeaderError as error:
            self._drop(sock, "malformed", f'error="{error}" do="let the proxy in front send a PROXY header"')
            return
        if found is not None:
            self._take_out(sock)
            task = self._loop.create_task(self._hand_on(sock, found[0]))
            self._handing_on.add(task)
            task.add_done_callback(self._handing_on.discard)

    async def _hand_on(self, sock: socket.socket, header: ProxyHeader) -> None:
        try:
            await self._connected(sock, header)
        except OSError:  # ssl.SSLError and TimeoutError are among them
            self.refused["failed"] += 1
            sock.close()
        except asyncio.CancelledError:
            sock.close()
            raise
        except Exception:
            self.refused["failed"] += 1
            sock.close()
            log.exception('event=proxy_bug at="an accepted connection" connection=closed')

    def _take_out(self, sock: socket.socket) -> None:
        self._loop.remove_reader(sock)
        self._unfinished.pop(sock).timer.cancel()

    def _drop(self, sock: socket.socket, reason: str, advice: str = "") -> None:
        self._take_out(sock)
        sock.close()
        self._refuse(reason, advice)

    def _refuse(self, reason: str, advice: str) -> None:
        self.refused[reason] += 1
        if advice and self._may_say(reason):
            log.warning("event=proxy_header_refused reason=%s total=%d %s", reason, self.refused[reason], advice)

    def _may_say(self, what: str) -> bool:
        """Once a minute: what a stranger can cause must not fill the log."""
        now = self._loop.time()
        if now - self._said.get(what, -LOG_SECS) < LOG_SECS:
            return False
        self._said[what] = now
        return True
