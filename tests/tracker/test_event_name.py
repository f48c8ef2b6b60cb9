"""What an exchange is called."""

from __future__ import annotations

from typing import Any

import pytest

from tests.tracker.records import exchange, submission
from tracker import event_name

PDF, HTML, JSON = "application/pdf", "text/html; charset=utf-8", "application/json"
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


@pytest.mark.parametrize(
    "changes, name",
    [
        # Pages.
        ({}, "page_view"),
        ({"fetch_dest": None}, "page_view"),
        ({"content_type": "TEXT/HTML"}, "page_view"),
        ({"content_type": "application/xhtml+xml"}, "page_view"),
        ({"status": 203}, "page_view"),
        ({"method": "POST"}, "page_view"),
        ({"method": "POST", "fetch_dest": None}, "request"),
        ({"method": "HEAD"}, "request"),
        ({"method": "PUT"}, "request"),
        ({"fetch_dest": "iframe"}, "request"),
        ({"fetch_dest": "empty"}, "request"),
        ({"fetch_dest": "image"}, "request"),
        ({"content_type": None}, "request"),
        ({"content_type": "text/css"}, "request"),
        ({"content_type": "text/html-template"}, "request"),
        ({"status": 204}, "request"),
        ({"status": 206}, "request"),
        ({"status": 301, "location": "/x"}, "request"),
        ({"status": 404}, "request"),
        ({"status": 502}, "request"),
        ({"status": 499, "ended_by": "client"}, "request"),
        ({"status": 101, "upgraded": True}, "request"),
        ({"ended_by": "client"}, "page_view"),
        # Seen again, from the browser's own store.
        ({"status": 304}, "page_view"),
        ({"status": 304, "content_type": None}, "page_view"),
        ({"status": 304, "content_type": None, "fetch_dest": None, "target": "/a/b?x=1.css"}, "page_view"),
        ({"status": 304, "content_type": None, "fetch_dest": None, "target": "/index.html"}, "page_view"),
        ({"status": 304, "content_type": None, "fetch_dest": None, "target": "/a.css"}, "request"),
        ({"status": 304, "content_type": None, "fetch_dest": "style", "target": "/a"}, "request"),
        ({"status": 304, "content_type": "image/png", "target": "/a"}, "request"),
        ({"status": 304, "content_type": None, "fetch_dest": "empty", "target": "/a"}, "request"),
        # Loaded in case somebody will want it.
        ({"purpose": "prefetch"}, "request"),
        ({"purpose": "prefetch;prerender"}, "request"),
        ({"purpose": "Preview"}, "request"),
        ({"purpose": "prefetch", "content_type": PDF}, "request"),
        # Files.
        ({"content_type": PDF}, "download"),
        ({"content_type": PDF, "fetch_dest": None}, "download"),
        ({"content_type": PDF, "status": 206}, "download"),
        ({"content_type": PDF, "status": 206, "fetch_dest": "empty"}, "request"),
        ({"content_type": PDF, "fetch_dest": "empty"}, "download"),
        ({"content_type": PDF, "fetch_dest": "embed"}, "request"),
        ({"content_type": PDF, "fetch_dest": "iframe"}, "request"),
        ({"content_type": PDF, "method": "HEAD"}, "request"),
        ({"content_type": PDF, "status": 404}, "request"),
        ({"content_type": "application/zip"}, "download"),
        ({"content_type": XLSX}, "download"),
        ({"content_type": "application/msword"}, "download"),
        ({"content_type": "text/vcard"}, "download"),
        ({"content_type": "application/octet-stream"}, "request"),
        ({"content_type": "application/octet-stream", "disposition": "attachment"}, "download"),
        ({"content_type": "image/png", "disposition": "Attachment; filename=x.png"}, "download"),
        ({"content_type": HTML, "disposition": "attachment"}, "download"),
        ({"content_type": None, "disposition": "attachment", "fetch_dest": None}, "download"),
        ({"content_type": PDF, "disposition": "inline"}, "download"),
        ({"content_type": JSON, "disposition": "attachment", "fetch_dest": "empty"}, "request"),
        ({"content_type": "application/octet-stream", "disposition": "attachment", "fetch_dest": "empty"}, "download"),
        # Forms.
        ({"method": "POST", "status": 303, "submission": submission()}, "form_submit"),
        ({"method": "POST", "status": 422, "submission": submission(), "fetch_dest": "empty"}, "form_submit"),
    ],
)
def test_an_exchange_has_its_name(changes: dict[str, Any], name: str):
    assert event_name.name_of(exchange(**changes)) == name


@pytest.mark.parametrize(
    "changes, goes",
    [
        ({"status": 302}, True),
        ({"status": 404}, True),
        ({"status": 503}, True),
        ({"status": 302, "fetch_dest": None}, True),
        ({"status": 302, "fetch_dest": "image"}, False),
        ({"status": 302, "fetch_dest": "empty"}, False),
        ({"status": 302, "method": "POST"}, False),
        ({"status": 302, "purpose": "prefetch"}, False),
        ({"status": 499}, False),
        ({"status": 101, "upgraded": True}, False),
    ],
)
def test_a_navigation_is_one_whatever_came_back(changes: dict[str, Any], goes: bool):
    assert event_name.is_navigation(exchange(**changes)) is goes
