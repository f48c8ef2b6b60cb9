"""The built-in site and its little ERP as a process beside ropo, for whoever has no site to try with.

Knows when they are wanted and where they listen once they run.
"""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import suppress

import msgspec

from ropo import secrets
from ropo.listening import StartError
from ropo.settings import Settings
from storage.layout import Layout

# Where the demo ERP listens: the shipped config.yaml sends its webhook there.
ERP_LISTEN = "127.0.0.1:8082"
START_SECS = 20.0


def demo_wanted(settings: Settings) -> bool:
    """The site is the built-in one, or a webhook goes to the built-in ERP."""
    return settings.proxy.upstream == "demo" or _erp_sink(settings) is not None


def _erp_sink(settings: Settings) -> str | None:
    for sink in settings.export.sinks:
        if getattr(sink, "origin", None) == f"http://{ERP_LISTEN}" and sink.secret == "":
            return sink.name
    return None


class Demo:
    """`site` and `erp` are their URLs once `start` has returned; erp is None if no sink goes there."""

    def __init__(self, settings: Settings, layout: Layout) -> None:
        self.site = ""
        self.erp: str | None = None
        self._settings = settings
        self._layout = layout
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> Settings:
        """Starts it and returns the settings with the site's real address. Raises StartError if it does not run."""
        arguments = ["-m", "ropo.demo", "--listen", "127.0.0.1:0", "--stdin-eof"]
        sink = _erp_sink(self._settings)
        if sink is not None:
            key_file = secrets.webhook_file(self._layout.secrets, sink)
            arguments += ["--erp-listen", ERP_LISTEN, "--erp-secret-file", str(key_file)]
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, *arguments, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, process_group=0
        )
        try:
            async with asyncio.timeout(START_SECS):
                said = json.loads(await self._process.stdout.readline() or b"{}")
        except (TimeoutError, ValueError):
            said = {}
        if "site" not in said:
            await self.stop()
            raise StartError(
                f"the built-in site did not start (it needs {ERP_LISTEN} for its ERP); see the messages above, or set "
                "proxy.upstream to a site of your own"
            )
        self.site, self.erp = said["site"], said.get("erp")
        return self.served(self._settings)

    def served(self, settings: Settings) -> Settings:
        """The settings with the site's real address in the place of `demo`."""
        if settings.proxy.upstream != "demo":
            return settings
        proxy = msgspec.structs.replace(settings.proxy, upstream=self.site.rstrip("/"))
        return msgspec.structs.replace(settings, proxy=proxy)

    async def stop(self) -> None:
        if self._process is None or self._process.returncode is not None:
            return
        with suppress(ProcessLookupError):
            self._process.terminate()
        try:
            async with asyncio.timeout(5):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
