"""A page read for one question: does it show the same form again, and what is marked as wrong in it?

Knows HTML forms and the classes with which frameworks mark errors. Knows nothing of responses, and keeps no text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import urlsplit

from selectolax.lexbor import LexborDocumentOptions, LexborHTMLParser, LexborNode

from tracker.forms.never_store import is_technical

# What of the sent names must be in a form for it to be the same: browsers leave unticked boxes out, and engines add
# fields of their own.
SAME_SHARE = 0.6

# How much work a page may be, in tags times their depth: 20 times what pages usually need. The tree builder walks the
# open elements at every tag (WHATWG HTML section 13.2.4.2), so 500 kB of nested tags cost it 40 seconds.
MAX_EFFORT = 1_000_000

# Every attribute is compared with those before it (section 13.2.5.33).
MAX_ATTRIBUTES = 1000


class PageReading(NamedTuple):
    """`form_again` as `FormAnswer` has it; `errors`: how many things are marked as wrong. None: could not be told."""

    form_again: bool | None
    errors: int | None


UNTOLD = PageReading(None, None)

# Django, Bootstrap, Foundation, Symfony, Rails, Yii, jQuery Validation and Parsley; CF7, Powermail, TYPO3 Form,
# Gravity Forms, WPForms, Formidable, Drupal.
_ERRORS = ", ".join([
    '[aria-invalid="true"]', '[role="alert"]', ".error", ".errors", ".errorlist", ".error-message", ".has-error",
    ".is-invalid", ".invalid", ".is-invalid-input", ".field-error", ".field_with_errors", ".form-error",
    ".form-errors", ".form__error", ".help-block-error", ".parsley-error", ".errornote", ".alert-danger",
    ".alert-error", ".fehler", ".wpcf7-not-valid", ".wpcf7-not-valid-tip", ".wpcf7-validation-errors",
    ".powermail_message_error", ".powermail_field_error", ".gform_validation_error", ".gfield_error",
    ".gfield_validation_message", ".wpforms-error", ".wpforms-has-error", ".frm_error", ".frm_error_style",
    ".messages--error", ".form-item--error", ".elementor-message-danger",
])  # fmt: skip
# Bootstrap's texts stand in every fresh form and are shown only if a field is marked.
_ERRORS_IF_MARKED = (".invalid-feedback", ".is-invalid, .was-validated")
# Those that are meant also where the form itself is not to be seen.
_ERRORS_ANYWHERE = ", ".join([
    ".alert-danger", ".alert-error", ".errorlist", ".errornote", ".error-summary", ".errorsummary",
    ".messages--error", ".powermail_message_error", ".gform_validation_error", ".wpcf7-validation-errors",
    ".elementor-message-danger",
])  # fmt: skip

# The engine's own word that this form has been sent, though it stands there still (Contact Form 7 without script).
_SENT = '[data-status="sent"]'

# Fields that carry a form of several pages from one to the next: TYPO3 Form, Gravity Forms.
_is_step = re.compile(r".*\[__(?:currentpage|state)\]|gform_target_page_number_\d+|is_submit_\d+").fullmatch

_UNSEEN = {"hidden", "submit", "button", "image", "reset"}
_TEXTUAL = {"", "text", "email", "tel", "url", "search", "number", "date", "time", "datetime-local"}


def read_page(html: str, *, path: str, field_names: Iterable[str]) -> PageReading:
    """What a page says of a form that was sent to `path` with these field names (cut to 100 characters).

    The form is there again if most of the names are in one form, at least one of them to be seen, and something is
    marked as wrong or the values are still in it. If it stands there fresh, it may have been accepted, or it may be
    the next of several pages: that is None.
    """
    if not html.strip() or not is_bearable(html):
        return UNTOLD
    names = set(field_names)
    # `[removed: token]` and its like stand for names that were not kept.
    sent = {name for name in names if not is_technical(name) and not name.startswith("[")}
    if not sent:
        return UNTOLD
    steps = {name for name in names if _is_step(name.lower())}
    # Lexbor's events keep <selectedcontent> up to date; with them a select of 10,000 options costs a second.
    tree = LexborHTMLParser(html, options=LexborDocumentOptions.WO_EVENTS)
    anywhere = _count(tree.root, _ERRORS_ANYWHERE) if tree.root else 0
    again: bool | None = False
    for form in tree.css("form"):
        outside = anywhere - _count(form, _ERRORS_ANYWHERE)
        reading = _read_form(form, path=path, sent=sent, steps=steps, errors=outside)
        if reading is UNTOLD:
            again = None
        elif reading is not None:
            return reading
    return PageReading(again, anywhere)


def _read_form(form: LexborNode, *, path: str, sent: set[str], steps: set[str], errors: int) -> PageReading | None:
    """What one form says, with the `errors` marked outside it; None if it is another form."""
    controls = _controls(form)
    is_step = not steps.isdisjoint(controls)
    shared = sent & controls.keys()
    if len(shared) < SAME_SHARE * len(sent):
        return UNTOLD if is_step else None
    seen = [name for name in shared if any(_is_seen(control) for control in controls[name])]
    if not seen:
        # All that was sent, but hidden: "please confirm what you wrote".
        return UNTOLD
    if not _goes_to(form, path) and (len(shared) < len(sent) or len(sent) < 3):
        return None
    text, marked = _ERRORS_IF_MARKED
    errors += _count(form, _ERRORS) + (_count(form, text) if form.css_matches(marked) else 0)
    if errors:
        return PageReading(True, errors)
    if form.css_matches(_SENT):
        return PageReading(False, 0)
    # On the next of several pages the values of the one before stand as well.
    return PageReading(True, 0) if not is_step and _is_filled_in(controls, seen) else UNTOLD


def _controls(form: LexborNode) -> dict[str, list[LexborNode]]:
    controls: dict[str, list[LexborNode]] = {}
    for control in form.css("input, select, textarea, button"):
        if name := control.attributes.get("name"):
            controls.setdefault(" ".join(name.split())[:100], []).append(control)
    return controls


def _is_seen(control: LexborNode) -> bool:
    return control.tag != "button" and (control.attributes.get("type") or "").lower() not in _UNSEEN


def _is_filled_in(controls: dict[str, list[LexborNode]], names: Iterable[str]) -> bool:
    """Whether at least half of the text fields among `names` hold something."""
    filled = [
        bool((control.text() if control.tag == "textarea" else control.attributes.get("value") or "").strip())
        for name in names
        for control in controls[name]
        if control.tag == "textarea"
        or (control.tag == "input" and (control.attributes.get("type") or "").lower() in _TEXTUAL)
    ]
    return bool(filled) and sum(filled) * 2 >= len(filled)


def _goes_to(form: LexborNode, path: str) -> bool:
    """Whether the form is sent to `path`. Without an action it goes to where the page came from, which is `path`."""
    action = (form.attributes.get("action") or "").strip()
    if not action:
        return True
    try:
        parts = urlsplit(action)
    except ValueError:
        return False
    if not parts.path:
        return True
    if parts.path.startswith("/"):
        return parts.path.rstrip("/") == path.rstrip("/")
    return path.endswith("/" + parts.path.removeprefix("./"))


def _count(node: LexborNode, selector: str) -> int:
    """How many elements are marked and seen; an empty box waits for a script to fill it."""
    return sum(
        1
        for found in node.css(selector)
        if "hidden" not in found.attributes
        and "none" not in (found.attributes.get("style") or "")
        and "success" not in (found.attributes.get("class") or "")
        and (found.tag in ("input", "select", "textarea") or found.text(deep=True).strip())
    )


_tags = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9-]*)").finditer
# WHATWG HTML section 13.1.2: these have no content. And those that the next of their kind closes by itself.
_LEVEL = {
    "area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track", "wbr",
    "p", "li", "dt", "dd", "option", "tr", "td", "th", "thead", "tbody", "tfoot",
}  # fmt: skip
_FORMATTING = {"a", "b", "big", "code", "em", "font", "i", "nobr", "s", "small", "strike", "strong", "tt", "u"}


_attribute = re.compile(r"[\s/]+[^\s\"'<>/=]+(?:\s*=\s*(?:\"[^\"]*\"|'[^']*'|[^\s\"'>]+))?").match


def _has_many_attributes(html: str, at: int) -> bool:
    """Whether the tag whose name ends at `at` has more than `MAX_ATTRIBUTES`."""
    for _ in range(MAX_ATTRIBUTES):
        found = _attribute(html, at)
        if found is None:
            return False
        at = found.end()
    return True


def is_bearable(html: str) -> bool:
    """Whether building the tree of this page is within `MAX_EFFORT`. An estimate, rather too high than too low."""
    effort, stack = 0, []
    before: re.Match[str] | None = None
    for tag in _tags(html):
        if (
            before is not None
            and tag.start() - before.end() > 4 * MAX_ATTRIBUTES
            and _has_many_attributes(html, before.end())
        ):
            return False
        before = tag
        name = tag[2].lower()
        if name in _LEVEL:
            effort += len(stack)
        elif not tag[1]:
            stack.append(name)
            effort += len(stack)
        else:
            for back in range(1, min(len(stack), 32) + 1):
                if stack[-back] == name:
                    # A formatting element leaves alone what was opened inside it (section 13.2.6.4.7).
                    if name in _FORMATTING:
                        del stack[-back]
                    else:
                        del stack[-back:]
                    break
        if effort > MAX_EFFORT:
            return False
    return before is None or not _has_many_attributes(html, before.end())
