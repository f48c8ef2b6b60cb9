"""What systemd gives a service and wants to hear from it: sockets, and a word on how it stands.

Knows the environment that sd_listen_fds(3) and sd_notify(3) describe. Whatever goes wrong in telling never harms the
service. Without systemd all of this does nothing.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections.abc import Mapping, MutableMapping, Sequence
from contextlib import suppress

from ropo.listening import KEYS, StartError, address_of, is_at

log = logging.getLogger(__name__)

# sd_listen_fds(3): SD_LISTEN_FDS_START
FIRST_FD = 3
MOST_FDS = 256

Given = tuple[str, socket.socket]


def given_sockets(environ: MutableMapping[str, str], *, first_fd: int = FIRST_FD) -> list[Given]:
    """The sockets of socket activation, with their names. The environment forgets them: no child may take them for its.

    Raises StartError for one that is not a listening TCP socket.
    """
    pid, count, names = (environ.pop(name, "") for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"))
    environ.pop("LISTEN_PIDFDID", None)
    if pid != str(os.getpid()) or not (count.isascii() and count.isdigit()):
        return []  # nothing, or meant for a process before us
    named = names.split(":") if names else []
    found: list[Given] = []
    for number in range(min(int(count), MOST_FDS)):
        name = named[number] if number < len(named) else ""
        found.append((name, _listener(first_fd + number, name)))
    return found


def _listener(fd: int, name: str) -> socket.socket:
    wrong = StartError(
        f"systemd gave the descriptor {fd} ({name or 'without a name'}), which is no listening TCP socket; the socket "
        "unit needs ListenStream= with a port, and Accept=no"
    )
    try:
        os.set_inheritable(fd, False)
        one = socket.socket(fileno=fd)
    except OSError:
        raise wrong from None
    if (
        one.family not in (socket.AF_INET, socket.AF_INET6)
        or one.type != socket.SOCK_STREAM
        or not one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    ):
        one.close()
        raise wrong
    return one


def sorted_out(given: Sequence[Given], listens: Mapping[str, str]) -> dict[str, list[socket.socket]]:
    """The sockets by what they are for: the one their name says, `http` or `https`, else the one that has the address.

    `listens` is where the settings want to listen. A socket that nobody wants is closed, and that is said.
    """
    found: dict[str, list[socket.socket]] = {}
    for name, one in given:
        at = [kind for kind, listen in listens.items() if is_at(one, KEYS[kind], listen)]
        kind = name if name in KEYS else at[0] if at else ""
        if kind not in listens:
            log.warning(
                'event=socket_unused name=%s address=%s next="name it http or https (FileDescriptorName=), or write its '
                'address into %s"',
                name, address_of(one), " or ".join(KEYS.values()),
            )  # fmt: skip
            one.close()
            continue
        if kind not in at:
            log.info("event=socket_given for=%s address=%s instead_of=%s", kind, address_of(one), listens[kind])
        found.setdefault(kind, []).append(one)
    return found


class Notifier:
    """Tells the service manager. `watchdog_secs`: how often it wants to hear that we live; None: not at all."""

    def __init__(self, environ: MutableMapping[str, str]) -> None:
        path = environ.pop("NOTIFY_SOCKET", "")
        usec, pid = environ.pop("WATCHDOG_USEC", ""), environ.pop("WATCHDOG_PID", "")
        # sd_notify(3): a leading @ stands for the zero octet of the abstract namespace.
        self._address = "\0" + path[1:] if path.startswith("@") else path if path.startswith("/") else ""
        self.watchdog_secs: float | None = None
        if usec.isascii() and usec.isdigit() and int(usec) and pid in ("", str(os.getpid())):
            self.watchdog_secs = int(usec) / 1e6

    def ready(self, status: str) -> None:
        self._say("READY=1", _status(status))

    def reloading(self) -> None:
        # systemd.service(5), Type=notify-reload: the moment tells an answer to this SIGHUP from one to an earlier.
        self._say("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}", "STATUS=Reloading")

    def stopping(self) -> None:
        self._say("STOPPING=1", "STATUS=Stopping")

    def status(self, status: str) -> None:
        self._say(_status(status))

    async def watch(self) -> None:
        """Says that the loop turns, twice as often as is asked for (sd_watchdog_enabled(3)). Until it is cancelled."""
        while self.watchdog_secs is not None:
            self._say("WATCHDOG=1")
            await asyncio.sleep(self.watchdog_secs / 2)

    def _say(self, *lines: str) -> None:
        if not self._address:
            return
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.setblocking(False)
            sender.sendto("\n".join(lines).encode(), self._address)


def _status(text: str) -> str:
    return "STATUS=" + " ".join(text.split())
