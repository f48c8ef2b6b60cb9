"""Takes a copy of a form while it passes, and makes a submission of it: read, mapped, cleaned, sealed.

Knows in which order the rules of this package apply to one request. Knows nothing of what the site answers, and keeps
no value longer than it takes to seal it. The request itself is never touched, delayed or refused here.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Protocol
from urllib.parse import urlsplit

from tracker import paths
from tracker.forms import never_store, rules
from tracker.forms.answer import AnswerCapture, Answered
from tracker.forms.bodies import FILES_FACTOR, BodyReader, FormField, Unreadable, reader_for
from tracker.forms.fields import is_email, is_phone, mapped
from tracker.model import Submission
from tracker.sealing import Sealer
from tracker.settings import FormRule, TrackerSettings

log = logging.getLogger(__name__)

# Why a request that could have been a form is none we keep: the closed list.
REASONS = {
    "excluded": "its path is listed in tracker.exclude",
    "ignored": "its rule says so",
    "no_rule": "tracker.forms.capture is `configured`, and no rule fits",
    "no_enquiry": "a login, search, comment, checkout or back end, by its path or its fields",
    "password": "it has a password field",
    "foreign": "it was sent from a page of another site",
    "encoded": "its body has a Content-Encoding",
    "too_large": "its body is larger than tracker.forms.max_body_bytes allows",
    "too_many_fields": "it has more fields than a person fills in",
    "too_deep": "its JSON is nested too deep",
    "unparsable": "its body is not what its Content-Type says",
    "not_a_form": "its body holds no fields",
    "honeypot": "a field that people cannot see is filled in",
    "no_contact": "nothing in it looks like an e-mail address or a telephone number",
}

MAX_TEXT_CHARS = 20_000
MAX_VALUE_CHARS = 500
MAX_NAMES = 200
MAX_NAME_CHARS = 100

_FORM_TYPES = (b"application/x-www-form-urlencoded", b"multipart/form-data", b"application/json", b"text/plain")


class Submitted(Answered, Protocol):
    """What is read of an exchange; `lowered` are the request's fields by their lower-case names."""

    method: str
    target: str
    lowered: dict[bytes, bytes]

    def get(self, name: bytes) -> str | None: ...


class FormCapture:
    """Forms of one site. `new_id` makes lead ids. `passed_over` counts what was not kept, by `REASONS`."""

    def __init__(self, settings: TrackerSettings, sealer: Sealer, new_id: Callable[[], str]) -> None:
        self.settings = settings
        self.sealer = sealer
        self.new_id = new_id
        self.passed_over: Counter[str] = Counter()
        own = list(settings.own_hosts)
        if settings.cookie.domain:
            domain = settings.cookie.domain.removeprefix(".")
            own += [domain, f"*.{domain}"]
        self._own_hosts = [rules.glob(host.lower()) for host in own]

    def wanted(self, exchange: Submitted) -> RequestCapture | None:
        """A capture for this request, if it may be a form we care for. Looks at its head only."""
        if exchange.method != "POST" or self.settings.forms.capture == "off":
            return None
        content_type = exchange.lowered.get(b"content-type", b"")
        if not _is_form_type(content_type):
            return None
        path = paths.split(exchange.target)[0]
        host = exchange.get(b"host") or ""
        page = self._page(exchange, host)
        rule = rules.rule_for(self.settings, host=host, path=path, page=page)
        try:
            self._refuse_head(exchange, path, host, rule)
            reader = reader_for(content_type, max_bytes=self.settings.forms.max_body_bytes)
        except Unreadable as error:
            self.pass_over(error.reason)
            return None
        return None if reader is None else RequestCapture(self, reader, rule=rule, path=path, page=page)

    def answer(self, submission: Submission, exchange: Submitted) -> AnswerCapture:
        """A capture for what the site answers to this submission. The answer need not have begun."""
        rule = rules.rule_named(self.settings, submission.rule)
        return AnswerCapture(
            exchange,
            path=paths.split(exchange.target)[0],
            field_names=submission.field_names,
            success=None if rule is None else rule.success,
            max_bytes=self.settings.forms.max_answer_bytes,
        )

    def pass_over(self, reason: str) -> None:
        self.passed_over[reason] += 1
        if reason == "too_large" and self.passed_over[reason] == 1:
            log.info(
                "a form was larger than ropo looks at; it went to the site, no lead was made of it (said once) "
                "limit=%d setting=tracker.forms.max_body_bytes",
                self.settings.forms.max_body_bytes,
            )

    def _refuse_head(self, exchange: Submitted, path: str, host: str, rule: FormRule | None) -> None:
        """Raises Unreadable for a request of which the head says enough."""
        if rules.is_excluded_path(self.settings, path):
            raise Unreadable("excluded")
        if rule is not None and rule.ignore:
            raise Unreadable("ignored")
        if rule is None and self.settings.forms.capture == "configured":
            raise Unreadable("no_rule")
        if rule is None and rules.is_no_enquiry(path):
            raise Unreadable("no_enquiry")
        if self._is_foreign(exchange, host):
            raise Unreadable("foreign")
        if exchange.lowered.get(b"content-encoding", b"identity").strip().lower() not in (b"", b"identity"):
            raise Unreadable("encoded")
        length = exchange.lowered.get(b"content-length", b"").strip()
        limit = self.settings.forms.max_body_bytes
        if b"multipart" in exchange.lowered[b"content-type"].lower():
            limit *= FILES_FACTOR
        if length.isdigit() and len(length) < 20 and int(length) > limit:
            raise Unreadable("too_large")

    def _is_foreign(self, exchange: Submitted, host: str) -> bool:
        """Whether the form stands on a page of another site: not ours, and often an attack (CSRF) or spam."""
        # W3C Fetch Metadata: the browser's own word, right also where a proxy in front of us changed the Host.
        site = exchange.lowered.get(b"sec-fetch-site", b"").strip().lower()
        if site not in (b"", b"cross-site"):
            return False
        # RFC 6454 section 7.1: `null` says that the browser keeps it to itself.
        origin = exchange.get(b"origin")
        sender = _host_of(exchange.get(b"referer") or "" if origin in (None, "null") else origin)
        return not self._is_own(sender, host) if sender else site == b"cross-site"

    def _is_own(self, sender: str, host: str) -> bool:
        name = re.sub(r":\d+$", "", sender)
        return name == re.sub(r":\d+$", "", host.lower()) or any(fits(name) for fits in self._own_hosts)

    def _page(self, exchange: Submitted, host: str) -> str | None:
        """The path of the page the form stands on. Without its query, which may name a person."""
        referrer = exchange.get(b"referer")
        if not referrer:
            return None
        # Behind a proxy that changed the Host only the browser's own word tells.
        is_own = exchange.lowered.get(b"sec-fetch-site") == b"same-origin" or self._is_own(_host_of(referrer), host)
        return paths.split(referrer)[0][:500] if is_own else None


def _is_form_type(content_type: bytes) -> bool:
    media_type = content_type.lstrip()[:80].lower()
    return media_type.startswith(_FORM_TYPES) or b"+json" in media_type


class RequestCapture:
    """One request body on its way to the site. `reason`: why nothing came of it, from `REASONS`."""

    __slots__ = ("_forms", "_page", "_path", "_reader", "_rule", "reason")

    def __init__(
        self, forms: FormCapture, reader: BodyReader, *, rule: FormRule | None, path: str, page: str | None
    ) -> None:
        self.reason: str | None = None
        self._forms = forms
        self._reader: BodyReader | None = reader
        self._rule = rule
        self._path = path
        self._page = page

    def feed(self, chunk: bytes) -> bool:
        """The next bytes of the body. False: it is none of ours, and no more is wanted."""
        if self._reader is None:
            return False
        try:
            self._reader.feed(chunk)
        except Unreadable as error:
            self._give_up(error.reason)
            return False
        return True

    def submission(self) -> Submission | None:
        """What the whole body comes to; None if it is no form we care for, and then `reason` says why.

        To be called once: no value of the body is left afterwards but those that are sealed in the submission.
        """
        if self._reader is None:
            return None
        try:
            body = self._reader.body()
            self._reader = None
            return self._submission(body.fields, body.files)
        except Unreadable as error:
            self._give_up(error.reason)
            return None

    def _give_up(self, reason: str) -> None:
        self._reader = None
        self.reason = reason
        self._forms.pass_over(reason)

    def _submission(self, fields: tuple[FormField, ...], files: int) -> Submission:
        """Raises Unreadable."""
        rule = self._rule
        names = [field.name for field in fields]
        if not any(names):
            raise Unreadable("not_a_form")
        if rules.asks_for_password(names):
            raise Unreadable("password")
        if rule is None and rules.shows_no_enquiry(names):
            raise Unreadable("no_enquiry")
        if any(field.value.strip() and never_store.is_honeypot(field.name) for field in fields):
            raise Unreadable("honeypot")

        secret = {name for name in set(names) if never_store.secret_kind(name)}
        open_fields = [
            field for field in fields if field.name not in secret and not never_store.is_technical(field.name)
        ]
        named = {lead_field: rules.glob(name) for lead_field, name in rule.fields.items()} if rule else None
        chosen = mapped(open_fields, named=named)
        if not (chosen if rule else _can_be_reached(chosen)):
            raise Unreadable("no_contact")

        contact, scrubbed = {}, 0
        for lead_field, parts in chosen.items():
            contact[lead_field], found = never_store.scrubbed(
                _joined(lead_field, parts),
                max_chars=MAX_TEXT_CHARS if lead_field == "message" else MAX_VALUE_CHARS,
                is_phone=lead_field in ("phone", "mobile"),
            )
            scrubbed += bool(found)
        lead_id = self._forms.new_id()
        return Submission(
            lead_id=lead_id,
            form=rule.name if rule else _form_name(fields, self._path),
            rule=rule.name if rule else rules.GENERIC,
            page=self._page,
            contact=self._forms.sealer.seal(contact, lead_id),
            lead_fields=list(contact),
            field_names=_shown_names(names),
            withheld=scrubbed + sum(bool(field.value) for field in fields if field.name in secret),
            files=files,
        )


def _can_be_reached(chosen: dict[str, list[FormField]]) -> bool:
    return is_email(_first(chosen, "email")) or is_phone(_first(chosen, "phone")) or is_phone(_first(chosen, "mobile"))


def _first(chosen: dict[str, list[FormField]], lead_field: str) -> str:
    return chosen[lead_field][0].value if lead_field in chosen else ""


def _joined(lead_field: str, parts: list[FormField]) -> str:
    values = [part.value.strip() for part in parts]
    if lead_field == "consent":
        # Evidence: what was ticked, under which name. When, the lead's own time says.
        return "; ".join(f"{part.name}: {value}" for part, value in zip(parts, values, strict=True))
    return ", ".join(dict.fromkeys(values))


# -- names

# What no name of a field holds, but values do that were taken for one: markup, addresses, assignments.
_is_no_name = re.compile(r"[\"<>{}\\;=]|\S@\S").search


def _shown_names(names: Iterable[str]) -> list[str]:
    """The names of fields as they may be stored: cut, each once, and never a value that stood in a name's place."""
    shown: dict[str, None] = {}
    for name in names:
        if len(shown) >= MAX_NAMES:
            break
        if name:
            is_no_name = _is_no_name(name) or is_phone(name)
            shown["[not a name]" if is_no_name else never_store.scrubbed(name, max_chars=MAX_NAME_CHARS)[0]] = None
    return list(shown)


# How engines number or name their forms in the body: the field, and what goes before its value.
_FORM_HINTS = {
    "_wpcf7": "wpcf7-",
    "tx_powermail_pi1[mail][form]": "powermail-",
    "gform_submit": "gform-",
    "wpforms[id]": "wpforms-",
    "forminator_form_id": "forminator-",
    "form_id": "",
    "formId": "",
    "form_name": "",
    "formName": "",
    "form-name": "",
}
_is_hint = re.compile(r"[A-Za-z0-9][A-Za-z0-9 _.:/-]{0,59}").fullmatch
_typo3_form = re.compile(r"tx_form_formframework\[([A-Za-z0-9_-]{1,60})\]").match


def _form_name(fields: Iterable[FormField], path: str) -> str:
    """A stable, readable name: what the body says of its form, else the path it is sent to."""
    for field in fields:
        prefix = _FORM_HINTS.get(field.name)
        if prefix is not None and _is_hint(field.value) and (prefix or not is_phone(field.value)):
            text, found = never_store.scrubbed(field.value, max_chars=60)
            if not found:
                return prefix + text
        if typo3 := _typo3_form(field.name):
            return typo3[1]
    return path[:200]


def _host_of(url: str) -> str:
    """Host, with its port if it has one, in lower case; empty if there is none."""
    try:
        return urlsplit(url).netloc.rpartition("@")[2].lower()
    except ValueError:
        return ""
