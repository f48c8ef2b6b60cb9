"""SQL over HTTP: requests become questions, answers go back as they come. Knows HTTP, no DuckDB.

POST /sql       the statement as application/sql, or {"sql", "parameters", "format"} as application/json
GET  /sql?q=    the same for tools on this machine
GET  /schema    the views and their columns
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import msgspec
from aiohttp import web

from dashboard.guard import secure
from dashboard.reader.asking import Asking
from dashboard.reader.formats import MEDIA_TYPES, has_arrow, wanted
from dashboard.reader.frames import GRACE_SECS
from dashboard.reader.guard import Guard
from dashboard.reader.problem import Problem, Refused, too_late
from dashboard.reader.slots import Slots, TooManyError
from dashboard.settings import SqlSettings, address
from storage.layout import Layout

logger = logging.getLogger(__name__)

# A statement is text somebody wrote; parameters may be some.
MAX_BODY_BYTES = 1 << 20
# From the head of a request to the end of its body.
BODY_SECS = 10.0
# Whoever waits behind so many would rather be told.
WAITING_PER_SLOT = 8

USAGE = """\
ropo answers SQL here, read-only.

  curl -H 'Content-Type: application/sql' --data-binary 'from visits limit 5' http://{host}/sql
  format=json|ndjson|csv|arrow, or Accept; GET /schema tells of the views
"""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Question(msgspec.Struct, forbid_unknown_fields=True):
    """The body as JSON."""

    sql: str
    parameters: list | dict | None = None
    format: str | None = None


class Reader:
    """The application and what it counts."""

    def __init__(self, layout: Layout, settings: SqlSettings) -> None:
        self.asking = Asking(layout, settings)
        self.slots = Slots(settings.max_concurrent, waiting=WAITING_PER_SLOT * settings.max_concurrent)
        self.answered, self.problems = 0, Counter[str]()
        self.busy: set[Any] = set()
        self._settings = settings
        host, _ = address(settings.listen)
        self._guard = Guard(host, settings.allowed_hosts, token=settings.token, get_allowed=settings.is_local)
        self.app = web.Application(middlewares=[self._watched], client_max_size=MAX_BODY_BYTES)
        self.app.on_response_prepare.append(secure)
        self.app.cleanup_ctx.append(self._closing)
        self.app.router.add_get("/", self._usage)
        self.app.router.add_get("/sql", self._sql, allow_head=False)
        self.app.router.add_post("/sql", self._sql)
        self.app.router.add_get("/schema", self._schema)

    def state(self) -> dict[str, Any]:
        return {
            "queries": self.answered,
            "running": self.slots.running,
            "waiting": self.slots.waiting,
            "problems": dict(self.problems),
            "lost": self.asking.lost,
        }

    async def _closing(self, app: web.Application) -> AsyncIterator[None]:
        yield
        await self.asking.close()

    @web.middleware
    async def _watched(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self.busy.add(request.protocol)
        try:
            refusal = self._guard.refusal(
                request.method, request.path, request.headers, request.headers.getall("Host", [])
            )
            return self._told(refusal) if refusal else await handler(request)
        except Refused as refused:
            return self._told(refused.problem)
        except TooManyError:
            return self._told(Problem(429, "too_many", "Others are being answered (dashboard.sql.max_concurrent)."))
        except web.HTTPRequestEntityTooLarge:
            return self._told(Problem(413, "too_large", f"The body has more than {MAX_BODY_BYTES} bytes."))
        except web.HTTPNotFound:
            return self._told(Problem(404, "path", "There is /sql and /schema."))
        except web.HTTPMethodNotAllowed:
            return self._told(Problem(405, "method", "Send a query with POST /sql."))
        except web.HTTPException:
            raise
        except Exception:
            logger.exception("the reader failed: path=%r", request.path[:100])
            return self._told(Problem(500, "internal", "This request failed. The log of ropo says why."))
        finally:
            self.busy.discard(request.protocol)

    def _told(self, problem: Problem) -> web.Response:
        self.problems[problem.kind] += 1
        more = {401: {"WWW-Authenticate": "Bearer"}, 405: {"Allow": "GET, POST"}, 429: {"Retry-After": "1"}}
        response = web.Response(
            status=problem.status,
            body=problem.body(),
            content_type="application/json",
            headers=more.get(problem.status),
        )
        if problem.status in (408, 413):
            response.force_close()  # what is left of the body is not waited for
        return response

    async def _usage(self, request: web.Request) -> web.Response:
        return web.Response(text=USAGE.format(host=request.host))

    async def _sql(self, request: web.Request) -> web.StreamResponse:
        question = await _question(request)
        form = wanted(request.headers.get("Accept", ""), request.query.get("format", question.format))
        if form is None:
            raise Refused(Problem(406, "format", f"Ask for {', '.join(MEDIA_TYPES.values())}."))
        if form == "arrow" and not has_arrow():
            message = "Arrow streams need pyarrow beside ropo: pip install 'ropo[arrow]', and start it again."
            raise Refused(Problem(406, "format", message))
        until = time.monotonic() + self._settings.timeout_secs
        async with (
            self.slots.turn(patience_secs=self._settings.timeout_secs),
            self.asking.answer(question.sql, parameters=question.parameters, form=form, until=until) as pieces,
        ):
            response = Answer(headers={"Content-Type": MEDIA_TYPES[form]})
            response.enable_chunked_encoding()
            await response.prepare(request)
            self.answered += 1
            try:
                # Whoever does not read holds up others: the time limit is for them, too.
                async with asyncio.timeout(max(0.0, until + GRACE_SECS - time.monotonic())):
                    async for piece in pieces:
                        await response.write(piece)
            except TimeoutError:
                self._breaks_off(response, too_late(self._settings.timeout_secs))
            except Refused as refused:
                self._breaks_off(response, refused.problem)
        return response

    def _breaks_off(self, response: Answer, problem: Problem) -> None:
        self.problems[problem.kind] += 1
        response.is_whole = False

    async def _schema(self, request: web.Request) -> web.Response:
        until = time.monotonic() + self._settings.timeout_secs
        async with (
            self.slots.turn(patience_secs=self._settings.timeout_secs),
            self.asking.answer(None, until=until) as pieces,
        ):
            rows = msgspec.json.decode(b"".join([piece async for piece in pieces]))["rows"]
        return web.Response(body=schema(rows), content_type="application/json")


class Answer(web.StreamResponse):
    """A stream that ends as one that broke off unless it is whole: without its last chunk (RFC 9112 8)."""

    is_whole = True

    async def write_eof(self, data: bytes = b"") -> None:
        if not self.is_whole:
            raise ConnectionResetError("the answer is not whole")
        await super().write_eof(data)


def schema(rows: list[list[Any]]) -> bytes:
    """`{"views": [{"name", "comment", "columns": [{"name", "type", "comment"}]}]}`"""
    views: dict[str, dict[str, Any]] = {}
    for view, view_comment, column, type_, comment in rows:
        one = views.setdefault(view, {"name": view, "comment": view_comment, "columns": []})
        one["columns"].append({"name": column, "type": type_, "comment": comment})
    return msgspec.json.encode({"views": list(views.values())})


async def _question(request: web.Request) -> Question:
    if request.method != "POST":
        if (text := request.query.get("q")) is None:
            raise Refused(Problem(400, "sql", "Name the query: /sql?q=..."))
        return Question(text)
    try:
        async with asyncio.timeout(BODY_SECS):
            body = await request.read()
    except TimeoutError:
        raise Refused(Problem(408, "slow", f"The body did not come within {BODY_SECS:g} s.")) from None
    try:
        if request.content_type == "application/json":
            return msgspec.json.decode(body, type=Question)
        return Question(body.decode("utf-8-sig"))
    except msgspec.DecodeError as error:
        raise Refused(Problem(400, "body", f'The body is not {{"sql": "...", "parameters": [...]}}: {error}')) from None
    except UnicodeDecodeError:
        raise Refused(Problem(400, "body", "The body is not UTF-8 text.")) from None


class Idle:
    """Ends connections on which nothing was asked for a while: also those that began a request and never end it."""

    def __init__(self, *, secs: float) -> None:
        self._secs = secs
        self._since: dict[Any, float] = {}

    def sweep(self, connections: list[Any], busy: set[Any], now: float) -> list[Any]:
        """Which to end, at `now` in seconds of any clock. To be asked every second or so."""
        self._since = {one: now if one in busy else self._since.get(one, now) for one in connections}
        return [one for one, since in self._since.items() if now - since > self._secs]
