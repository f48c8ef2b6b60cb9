"""An ERP's inbox for leads: a webhook endpoint and a page. Keeps the last leads in memory, nothing on disk.

Verifies the signature (Standard Webhooks 1.0) with code of its own: it stands for a system that strangers wrote.
"""

from __future__ import annotations

import base64
import hmac
import json
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import jinja2
from aiohttp import web

from dashboard.guard import Hosts, only_for, secure

PAGES = Path(__file__).parent / "pages"
MAX_BODY_BYTES = 1_048_576
TOLERANCE_SECS = 300
KEPT_LEADS = 200
# Identifiers are kept for longer than leads: a webhook may be repeated for days.
KEPT_IDS = 10_000
SHOWN_TOUCHES = 6


@dataclass
class Received:
    """One lead as it came in. `times` counts how often it was sent; only the first one is booked."""

    number: int
    webhook_id: str
    received_at: str
    data: dict[str, Any] = field(repr=False)
    times: int = 1


class Inbox:
    """The leads by webhook-id, oldest first."""

    def __init__(self) -> None:
        self.leads: OrderedDict[str, Received] = OrderedDict()
        self.known: OrderedDict[str, int] = OrderedDict()

    def take(self, webhook_id: str, data: dict[str, Any], received_at: str) -> tuple[int, bool]:
        """The lead's number here, and whether it is new."""
        if webhook_id in self.known:
            if lead := self.leads.get(webhook_id):
                lead.times += 1
            return self.known[webhook_id], False
        number = next(reversed(self.known.values()), 1000) + 1
        self.known[webhook_id] = number
        self.leads[webhook_id] = Received(number, webhook_id, received_at, data)
        while len(self.leads) > KEPT_LEADS:
            self.leads.popitem(last=False)
        while len(self.known) > KEPT_IDS:
            self.known.popitem(last=False)
        return number, True


INBOX = web.AppKey("inbox", Inbox)


def make_erp(
    secret_file: Path | None, *, listen_host: str = "127.0.0.1", now: Callable[[], float] = time.time
) -> web.Application:
    """The ERP as an application. The secret (`whsec_…`) is read anew for each webhook, so it may be made later."""
    # The inbox shows contact data, so a web page must not be able to read it by pointing its name at us.
    guard = only_for(Hosts(listen_host), methods=frozenset({"GET", "HEAD", "POST"}))
    app = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=[guard])
    app.on_response_prepare.append(secure)
    app[INBOX] = inbox = Inbox()
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(PAGES), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.get_template("erp.html")
    css = (PAGES / "erp.css").read_text()

    async def receive(request: web.Request) -> web.Response:
        body = await request.read()
        keys = read_keys(secret_file)
        if not keys:
            return web.json_response({"error": "the ERP has no secret to check signatures with"}, status=503)
        if reason := refusal(request.headers, body, keys, now()):
            return web.json_response({"error": reason}, status=401)
        try:
            message = json.loads(body)
            data = message["data"]
            is_lead = message["type"] == "lead.created" and isinstance(data, dict)
        except (ValueError, TypeError, KeyError, RecursionError):
            is_lead = False
        if not is_lead:
            return web.json_response({"error": "not a lead: expected type lead.created, and data"}, status=422)
        received_at = datetime.fromtimestamp(now(), UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        number, is_new = inbox.take(request.headers["webhook-id"], data, received_at)
        return web.json_response({"id": f"L-{number}", "duplicate": not is_new}, status=201 if is_new else 200)

    async def listed(request: web.Request) -> web.Response:
        return web.json_response(
            [
                {"id": f"L-{one.number}", "webhook_id": one.webhook_id, "times": one.times, "data": one.data}
                for one in inbox.leads.values()
            ]
        )

    async def page(request: web.Request) -> web.Response:
        leads = [shown(one) for one in reversed(inbox.leads.values())]
        return web.Response(text=template.render(leads=leads), content_type="text/html")

    async def style(request: web.Request) -> web.Response:
        return web.Response(text=css, content_type="text/css", headers={"Cache-Control": "max-age=3600"})

    app.router.add_post("/leads", receive)
    app.router.add_get("/leads", listed)
    app.router.add_get("/", page)
    app.router.add_get("/erp.css", style)
    return app


def refusal(headers: Mapping[str, str], body: bytes, keys: list[bytes], now_secs: float) -> str | None:
    """Why this webhook is not to be believed; None if it is. Standard Webhooks 1.0, "Verifying webhook authenticity"."""
    webhook_id, sent_at = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not webhook_id or not (sent_at.isascii() and sent_at.isdigit() and len(sent_at) <= 12):
        return "webhook-id or webhook-timestamp is missing"
    if abs(now_secs - int(sent_at)) > TOLERANCE_SECS:
        return "webhook-timestamp is more than 5 minutes off"
    signed = f"{webhook_id}.{sent_at}.".encode("utf-8", "surrogateescape") + body
    wanted = [base64.b64encode(hmac.digest(key, signed, sha256)) for key in keys]
    for signature in headers.get("webhook-signature", "").split():
        version, _, value = signature.partition(",")
        given = value.encode("utf-8", "surrogateescape")
        if version == "v1" and any([hmac.compare_digest(given, one) for one in wanted]):
            return None
    return "webhook-signature does not match"


def read_keys(secret_file: Path | None) -> list[bytes]:
    """The keys in the file, one `whsec_…` on each line; `#` begins a comment. None if it cannot be read."""
    if secret_file is None:
        return []
    try:
        lines = [line.strip() for line in secret_file.read_text("utf-8").splitlines()]
        words = [line.removeprefix("whsec_") for line in lines if line and not line.startswith("#")]
        return [base64.b64decode(word, validate=True) for word in words]
    except (OSError, ValueError):
        return []


def shown(lead: Received) -> dict[str, Any]:
    """What the page shows of a lead. Whatever shape `data` has, each value here is text, or a list of it."""
    data = lead.data
    contact = data.get("contact")
    contact = contact if isinstance(contact, dict) else {}
    name = " ".join(str(contact[key]) for key in ("first_name", "last_name") if contact.get(key))
    touches = data.get("touchpoints")
    touches = touches if isinstance(touches, list) else []
    return {
        "number": f"L-{lead.number}",
        "received_at": lead.received_at,
        "times": lead.times,
        "name": str(contact.get("name") or name or contact.get("email") or contact.get("phone") or "?"),
        "contact": [(key.replace("_", " "), str(value)) for key, value in contact.items() if value and key != "name"],
        "page": str(data.get("page") or data.get("action") or ""),
        "first": touch(data.get("first_touch")),
        "last": touch(data.get("last_touch")),
        "touches": [touch(one) for one in touches[-SHOWN_TOUCHES:]],
        "visits": str(data.get("visits") or ""),
        "page_views": str(data.get("page_views") or ""),
    }


def touch(value: Any) -> str:
    """A touchpoint in one line: `Paid Search: google / cpc / spring`."""
    if not isinstance(value, dict):
        return ""
    parts = [str(value[key]) for key in ("source", "medium", "campaign") if value.get(key)]
    return ": ".join(part for part in (str(value.get("channel") or ""), " / ".join(parts)) if part)
