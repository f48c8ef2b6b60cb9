"""Real upstream servers: a small company site that remembers what it was sent, and origins that answer oddly.

Each runs in a thread with an event loop of its own, and can be stopped and started again on the same port.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import threading
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from email.parser import BytesParser
from email.policy import HTTP
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import WSMsgType, web

from tests.support.ports import free_port

KEPT_BODY_BYTES = 1_048_576

PAGE = """<!doctype html><html lang="de"><title>{title}</title>
<nav><a href="/">Start</a> <a href="/produkte/pumpe">Pumpe</a> <a href="/kontakt">Kontakt</a></nav>
<h1>{title}</h1>{body}</html>"""
FORM = """{errors}<form id="kontakt" method="post" action="/kontakt">
<input type="hidden" name="csrf_token" value="4c1fb3d2a90e">
<input name="name" autocomplete="name"><input name="email" type="email"><input name="telefon" type="tel">
<textarea name="nachricht"></textarea><input type="checkbox" name="datenschutz"><button>Senden</button></form>"""
ERRORS = '<ul class="errorlist"><li id="error_email">Bitte geben Sie eine E-Mail-Adresse an.</li></ul>'


@dataclass(frozen=True)
class Seen:
    """A request as it reached the origin. `body` holds its first megabyte; `bytes` and `sha256` are of all of it."""

    method: str
    target: str
    fields: dict[str, str]
    bytes: int
    sha256: str
    body: bytes

    def form(self) -> dict[str, str]:
        """The fields of an urlencoded or multipart body, files left out."""
        content_type = self.fields.get("content-type", "")
        if content_type.startswith("multipart/"):
            head = f"Content-Type: {content_type}\r\n\r\n".encode()
            parts = BytesParser(policy=HTTP).parsebytes(head + self.body).iter_parts()
            return {
                str(part.get_param("name", header="content-disposition")): part.get_content().strip()
                for part in parts
                if part.get_filename() is None and part.get_content_type() == "text/plain"
            }
        return dict(parse_qsl(self.body.decode("utf-8", "replace"), keep_blank_values=True))


class Origin:
    """A server in a thread of its own. `serve` opens it on `port` and returns what closes it."""

    def __init__(self) -> None:
        self.port = free_port()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._close: Callable[[], Awaitable[None]] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def serve(self) -> Callable[[], Awaitable[None]]:
        raise NotImplementedError

    def start(self) -> Origin:
        """Listens when it returns. Raises OSError if the port was taken."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"origin-{self.port}", daemon=True)
        self._thread.start()
        self._close = self._run(self.serve())
        return self

    def stop(self) -> None:
        """Closes the listener and every connection. Stopping twice is harmless."""
        if self._loop is None:
            return
        if self._close is not None:
            self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=10)
        self._loop.close()
        self._loop = self._thread = self._close = None

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=15)

    def __enter__(self) -> Origin:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


class Site(Origin):
    """A company site: pages, a contact form that validates, an API, a download, slow and endless answers, an echo.

    GET  /  /produkte/{name}  /kontakt  /danke     pages
    POST /kontakt                                  200 with the form and errors, or 303 to /danke
    POST /api/kontakt                              JSON: {"success": true} or {"success": false, "errors": [...]}
    POST /upload                                   200 and the number of bytes received
    GET  /prospekt.pdf                             a file
    GET  /slow?secs=S   /stream?chunks=N           waits before the answer / sends it in N chunks
    GET  /drip, then /drip-on                      sends a line, and the second one when /drip-on was asked for
    GET  /ws                                       WebSocket that sends back what it gets
    any  /any/...                                  sends back the body, and the method as X-Method
    """

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Seen] = []
        self._drip = asyncio.Event()

    async def serve(self) -> Callable[[], Awaitable[None]]:
        app = web.Application()
        app.add_routes(
            [
                web.get("/", self._page),
                web.get("/produkte/{name}", self._page),
                web.get("/danke", self._page),
                web.get("/kontakt", self._contact),
                web.post("/kontakt", self._contact_sent),
                web.post("/api/kontakt", self._api),
                web.post("/upload", self._upload),
                web.get("/prospekt.pdf", self._download),
                web.get("/slow", self._slow),
                web.get("/stream", self._stream),
                web.get("/drip", self._dripping),
                web.get("/drip-on", self._drip_on),
                web.get("/ws", self._echo),
                web.route("*", "/any/{rest:.*}", self._any),
            ]
        )
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", self.port, reuse_address=True).start()
        return runner.cleanup

    def received(self, method: str, path: str) -> list[Seen]:
        """The requests that reached the site, oldest first."""
        return [seen for seen in list(self.seen) if seen.method == method and seen.target.split("?")[0] == path]

    async def _note(self, request: web.Request) -> Seen:
        digest, body, size = hashlib.sha256(), bytearray(), 0
        async for chunk in request.content.iter_any():
            digest.update(chunk)
            size += len(chunk)
            body += chunk[: KEPT_BODY_BYTES - len(body)]
        seen = Seen(
            method=request.method,
            target=request.raw_path,
            fields={name.lower(): value for name, value in request.headers.items()},
            bytes=size,
            sha256=digest.hexdigest(),
            body=bytes(body),
        )
        self.seen.append(seen)
        return seen

    async def _page(self, request: web.Request) -> web.Response:
        await self._note(request)
        title = {"/": "Start", "/danke": "Vielen Dank"}.get(request.path, request.match_info.get("name", "").title())
        return web.Response(text=PAGE.format(title=title, body="<p>Text</p>"), content_type="text/html")

    async def _contact(self, request: web.Request) -> web.Response:
        await self._note(request)
        return web.Response(text=PAGE.format(title="Kontakt", body=FORM.format(errors="")), content_type="text/html")

    async def _contact_sent(self, request: web.Request) -> web.Response:
        seen = await self._note(request)
        if "@" not in seen.form().get("email", ""):
            page = PAGE.format(title="Kontakt", body=FORM.format(errors=ERRORS))
            return web.Response(text=page, content_type="text/html")
        return web.Response(status=303, headers={"Location": "/danke"})

    async def _api(self, request: web.Request) -> web.Response:
        seen = await self._note(request)
        try:
            email = str(json.loads(seen.body)["email"])
        except (ValueError, KeyError, TypeError):
            email = ""
        if "@" not in email:
            return web.json_response({"success": False, "errors": ["email"]})
        return web.json_response({"success": True})

    async def _upload(self, request: web.Request) -> web.Response:
        seen = await self._note(request)
        return web.Response(text=f"{seen.bytes} bytes received")

    async def _download(self, request: web.Request) -> web.Response:
        await self._note(request)
        return web.Response(body=b"%PDF-1.4 prospekt", content_type="application/pdf")

    async def _slow(self, request: web.Request) -> web.Response:
        await self._note(request)
        await asyncio.sleep(float(request.query.get("secs", "1")))
        return web.Response(text="at last")

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        await self._note(request)
        response = web.StreamResponse()
        await response.prepare(request)
        for number in range(int(request.query.get("chunks", "10"))):
            await response.write(b"chunk %06d\n" % number)
        return response

    async def _dripping(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"first\n")
        await self._drip.wait()
        await response.write(b"second\n")
        return response

    async def _drip_on(self, request: web.Request) -> web.Response:
        self._drip.set()
        return web.Response(text="on")

    async def _any(self, request: web.Request) -> web.Response:
        seen = await self._note(request)
        return web.Response(body=seen.body, headers={"X-Method": request.method})

    async def _echo(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            if message.type is WSMsgType.TEXT:
                await socket.send_str(message.data)
            elif message.type is WSMsgType.BINARY:
                await socket.send_bytes(message.data)
        return socket


class OddOrigin(Origin):
    """Sends the same bytes to whoever asks, whatever they are, then closes: for answers no framework would give."""

    def __init__(self, answer: bytes) -> None:
        super().__init__()
        self.answer = answer

    async def serve(self) -> Callable[[], Awaitable[None]]:
        server = await asyncio.start_server(self._answer, "127.0.0.1", self.port)

        async def close() -> None:
            server.close()
            await server.wait_closed()

        return close

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(self.answer)
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass  # whoever asked has gone
        finally:
            writer.close()
