"""What an exchange is called in the log: page_view, download, form_submit or request.

Knows methods, status codes, content types and Fetch Metadata (W3C Fetch Metadata Request Headers). Knows nothing of
visitors or campaigns.

Fetch Metadata comes over https from all current browsers; without it the answer's type has to do.
"""

from __future__ import annotations

import re
from functools import lru_cache

from tracker.model import ExchangeRecord

PAGE_VIEW, DOWNLOAD, FORM_SUBMIT, REQUEST = "page_view", "download", "form_submit", "request"

_PAGE_TYPES = {"text/html", "application/xhtml+xml"}
_FILE_TYPES = {
    "application/pdf", "application/x-pdf", "application/rtf", "text/rtf", "application/epub+zip",
    "application/postscript",
    "application/msword", "text/csv", "text/calendar", "text/vcard", "text/x-vcard", "text/directory",
    "application/zip", "application/x-zip-compressed", "application/x-zip", "application/gzip", "application/x-gzip",
    "application/x-tar", "application/x-7z-compressed", "application/vnd.rar", "application/x-rar-compressed",
    "application/x-bzip2", "application/x-xz", "application/zstd", "application/java-archive",
    "application/x-msdownload", "application/x-msi", "application/x-msdos-program", "application/x-apple-diskimage",
    "application/vnd.android.package-archive", "application/vnd.debian.binary-package", "application/x-rpm",
    "application/vnd.microsoft.portable-executable", "application/x-iso9660-image",
    "application/acad", "application/dxf", "application/step", "application/x-step", "application/iges",
    "image/vnd.dwg", "image/vnd.dxf", "image/x-dwg", "image/x-dxf", "model/step", "model/stl", "model/iges",
    "application/vnd.ms-pki.stl", "application/sla", "application/dicom",
}  # fmt: skip
_FILE_PREFIXES = (
    "application/vnd.openxmlformats-officedocument.",
    "application/vnd.oasis.opendocument.",
    "application/vnd.ms-excel",
    "application/vnd.ms-powerpoint",
    "application/vnd.ms-word",
    "application/vnd.ms-project",
    "application/vnd.visio",
    "application/vnd.apple.",
)
# What a page loads for itself, or frames: nobody asked for it.
_EMBEDDED = {
    "audio", "audioworklet", "embed", "fencedframe", "font", "frame", "iframe", "image", "manifest", "object",
    "paintworklet", "report", "script", "serviceworker", "sharedworker", "style", "track", "video", "webidentity",
    "worker", "xslt",
}  # fmt: skip
_PAGE_PATH = re.compile(r"/[^/.]*$|\.(?:x?html?|php\d?|aspx?|jsp|do|cfm)$", re.IGNORECASE)


def name_of(record: ExchangeRecord) -> str:
    """One of the four names above."""
    if record.submission is not None:
        return FORM_SUBMIT
    status, method = record.status, record.method
    if not (200 <= status < 300 or status == 304) or record.upgraded or record.purpose and is_ahead(record.purpose):
        return REQUEST
    dest = record.fetch_dest
    if method != "GET" and not (method == "POST" and dest == "document"):
        return REQUEST
    if dest in _EMBEDDED or status in (204, 205):
        return REQUEST
    kind = _kind_of(record.content_type) if record.content_type else ""
    if status == 304:
        # RFC 9110 15.4.5: a 304 need not repeat the type.
        is_page = kind == PAGE_VIEW or (not kind and _PAGE_PATH.search(record.target.partition("?")[0]) is not None)
        return PAGE_VIEW if is_page and dest != "empty" else REQUEST
    if record.disposition and record.disposition[:10].lower() == "attachment":
        # Some APIs mark JSON so, to keep browsers from showing it.
        return REQUEST if dest == "empty" and kind == "json" or _is_rest(status, dest) else DOWNLOAD
    if kind == PAGE_VIEW:
        return PAGE_VIEW if dest != "empty" and status != 206 else REQUEST
    if kind == DOWNLOAD:
        return REQUEST if _is_rest(status, dest) else DOWNLOAD
    return REQUEST


def is_navigation(record: ExchangeRecord) -> bool:
    """Whether a person's browser went there, whatever came back: a redirect or an error page as well.

    Without Fetch Metadata a redirect or error cannot be told from one of a page's parts; it is taken for a navigation,
    so ask only where the URL itself speaks for one.
    """
    if record.method != "GET" or record.upgraded or record.status == 499:
        return False
    if record.fetch_dest is not None and record.fetch_dest != "document":
        return False
    return not (record.purpose and is_ahead(record.purpose))


def is_ahead(purpose: str) -> bool:
    """Loaded in case the visitor will want it (Sec-Purpose, and Purpose of older browsers): nobody has seen it yet."""
    purpose = purpose.lower()
    return "prefetch" in purpose or "prerender" in purpose or "preview" in purpose


def _is_rest(status: int, dest: str | None) -> bool:
    """PDF viewers fetch a long file in ranges, after the navigation that asked for it."""
    return status == 206 and dest == "empty"


@lru_cache(maxsize=1024)
def _kind_of(content_type: str) -> str:
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type in _PAGE_TYPES:
        return PAGE_VIEW
    if media_type in _FILE_TYPES or media_type.startswith(_FILE_PREFIXES):
        return DOWNLOAD
    return "json" if media_type.endswith("json") else "other"
