"""The dashboard's three answers: the page, `/healthz` and `/metrics`. Knows HTTP; what is shown is made elsewhere."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime
from hashlib import sha256
from pathlib import Path

import jinja2
from aiohttp import web

from dashboard import text
from dashboard.guard import Hosts, only_for, secure
from dashboard.health import health_of, healthz
from dashboard.metrics import CONTENT_TYPE, metrics_text
from dashboard.settings import DashboardSettings, address
from dashboard.state import Snapshot, moment
from dashboard.watch import Watch, utc_now
from storage.layout import Layout

PAGES = Path(__file__).parent / "pages"
ICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><rect width="16" height="16" rx="4" fill="#0f766e"/>'
    '<path d="M3 11l4-4 2 2 4-5" fill="none" stroke="#fff" stroke-width="2"/></svg>'
)
# Ledger lines on the page; the rest is summed up below them.
LEDGER_ROWS = 8

WATCH = web.AppKey("watch", Watch)
REQUESTS = web.AppKey("requests", list[int])


def make_app(
    layout: Layout, settings: DashboardSettings, *, sinks: Sequence[str], now: Callable[[], datetime] = utc_now
) -> web.Application:
    """The dashboard over the files of `layout`. `sinks` are the names of the configured ones."""
    page = Page(settings)
    host, _ = address(settings.listen)
    app = web.Application(middlewares=[only_for(Hosts(host, settings.allowed_hosts))])
    app.on_response_prepare.append(secure)
    app[WATCH] = watch = Watch(layout, settings, sinks=sinks, now=now)
    app[REQUESTS] = [0]

    async def counted(request: web.Request, response: web.StreamResponse) -> None:
        app[REQUESTS][0] += 1

    async def index(request: web.Request) -> web.Response:
        return web.Response(text=page.html(await watch.snapshot()), content_type="text/html")

    async def health(request: web.Request) -> web.Response:
        seen = await watch.snapshot()
        return web.json_response(healthz(seen), status=health_of(seen).http_status)

    async def metrics(request: web.Request) -> web.Response:
        return web.Response(body=metrics_text(await watch.counters()), headers={"Content-Type": CONTENT_TYPE})

    async def style(request: web.Request) -> web.Response:
        # Its address names its content, so it may be kept for ever: no flicker when the page loads itself again.
        return web.Response(
            text=page.css, content_type="text/css", headers={"Cache-Control": "public, max-age=31536000, immutable"}
        )

    async def icon(request: web.Request) -> web.Response:
        return web.Response(text=ICON, content_type="image/svg+xml", headers={"Cache-Control": "max-age=86400"})

    async def closing(app: web.Application) -> AsyncIterator[None]:
        yield
        await watch.close()

    app.on_response_prepare.append(counted)
    app.cleanup_ctx.append(closing)
    app.router.add_get("/", index)
    app.router.add_get("/healthz", health)
    app.router.add_get("/metrics", metrics)
    app.router.add_get("/style.css", style)
    app.router.add_get("/favicon.ico", icon)
    return app


class Page:
    """A snapshot as HTML. Everything foreign passes `cut` or `path`, and jinja2's escaping."""

    def __init__(self, settings: DashboardSettings) -> None:
        self.settings = settings
        self.css = (PAGES / "style.css").read_text()
        environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(PAGES),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        environment.filters.update(
            cut=text.cut, path=text.path, count=text.count, size=text.size, span=text.span, moment=text.moment
        )
        environment.globals.update(ago=text.ago, parsed=moment)
        self.template = environment.get_template("index.html")
        self.style_tag = sha256(self.css.encode()).hexdigest()[:12]

    def html(self, seen: Snapshot) -> str:
        shown = seen.ledger[:LEDGER_ROWS]
        return self.template.render(
            seen=seen,
            now=seen.now,
            health=health_of(seen),
            log=seen.log,
            ledger=shown,
            earlier=seen.ledger[len(shown) :],
            any_gap=any(seen.is_gap(one) for one in seen.ledger),
            totals={
                name: sum(getattr(one, name) for one in seen.ledger)
                for name in ("received", "logged", "dropped", "running", "missing")
            },
            refresh_secs=self.settings.refresh_secs,
            style_tag=self.style_tag,
        )
