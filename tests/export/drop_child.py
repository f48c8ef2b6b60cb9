"""A process that drops one file and is killed, for real, right after a named step. Run as a module; see its arguments.

`--as-nobody` gives up root first, so that permissions count. `--limit` bounds the size of a file, as a quota does.
Prints the outcome when it gets that far.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import signal

from export.drop_folder import DropFolder

KEY = "c3a64e9bd6c82f7f9ff5508cda625f44"
NAME = "lead-20261122T100000Z-1.csv"
CONTENT = b"lead_id;email\r\n1;erika@muster.example\r\n" * 200


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("folder")
    arguments.add_argument("--kill-after", default="")
    arguments.add_argument("--forget", action="store_true")
    arguments.add_argument("--as-nobody", action="store_true")
    arguments.add_argument("--limit", type=int, default=0)
    given = arguments.parse_args()
    if given.limit:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (given.limit, given.limit))
    if given.as_nobody and os.getuid() == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)

    def at_step(step: str) -> None:
        if step == given.kill_after:
            os.kill(os.getpid(), signal.SIGKILL)

    asyncio.run(drop(DropFolder(given.folder, at_step=at_step), forget=given.forget))


async def drop(folder: DropFolder, *, forget: bool) -> None:
    if forget:
        await folder.forget(KEY)
    else:
        print(repr(await folder.put(KEY, NAME, CONTENT)))


if __name__ == "__main__":
    main()
