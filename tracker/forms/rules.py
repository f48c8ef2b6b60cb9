"""Which forms are looked at: what the operator said of each, and what no one has to say.

Knows rules, globs, and the addresses and fields of logins, searches, comments, checkouts and back ends. Knows nothing
of values. An operator's rule lifts every exclusion but one: a form with a password field is never looked at.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache

from tracker.forms.never_store import is_password
from tracker.paths import matcher
from tracker.settings import FormRule, TrackerSettings

# `Submission.rule` of a form without a rule of its own.
GENERIC = "generic"

# Segments of a path under which forms are no enquiries, in English and German. `anmelden` and `anmeldung` are not
# among them: people sign up for trainings and fairs there.
_EXCLUDED_SEGMENTS = {
    "login", "log-in", "signin", "sign-in", "logout", "log-out", "wp-login.php", "xmlrpc.php", "wp-comments-post.php",
    "einloggen", "passwort-vergessen", "password-reset", "reset-password", "lostpassword", "lost-password", "2fa",
    "search", "suche", "suchen", "suchergebnisse",
    "checkout", "kasse", "cart", "warenkorb", "basket", "payment", "zahlung",
    "comment", "comments", "comment-reply",
    "admin", "administrator", "wp-admin", "typo3", "cms-admin", "django-admin", "__debug__", "graphiql",
}  # fmt: skip
# WooCommerce's store API; search forms of Joomla.
_EXCLUDED_PARTS = ("/wc/store/", "/com_finder/", "/com_search/")
# Where WordPress takes forms of visitors in spite of the folder.
_NOT_EXCLUDED = ("/wp-admin/admin-ajax.php", "/wp-admin/admin-post.php")

# Fields by which a form shows what it is, wherever it is sent.
_EXCLUDED_FIELDS = {
    "comment_post_ID", "comment_parent", "add-to-cart", "update_cart", "woocommerce-login-nonce",
    "woocommerce-process-checkout-nonce", "woocommerce-register-nonce", "edd_action", "otp_token-otp_token",
    "login_form", "wp-submit",
}  # fmt: skip


@lru_cache(1024)
def glob(pattern: str) -> Callable[[str], bool]:
    """A test for a glob: `*` is any characters, `/` among them, `?` one; brackets are brackets, as in `a[b]`."""
    return matcher((pattern,))


def rule_for(settings: TrackerSettings, *, host: str, path: str, page: str | None) -> FormRule | None:
    """The first rule that fits a form sent to `path` of `host` (with or without port) from the page at path `page`."""
    host = host.lower()
    for rule in settings.forms.rules:
        if not glob(rule.path)(path):
            continue
        if rule.host is not None:
            wanted = glob(rule.host.lower())
            if not (wanted(host) or wanted(re.sub(r":\d+$", "", host))):
                continue
        if rule.page is not None and not (page is not None and glob(rule.page)(page)):
            continue
        return rule
    return None


def rule_named(settings: TrackerSettings, name: str) -> FormRule | None:
    """The rule a submission was taken by; None for the generic one and for rules that are gone."""
    if name == GENERIC:
        return None
    return next((rule for rule in settings.forms.rules if rule.name == name), None)


def is_excluded_path(settings: TrackerSettings, path: str) -> bool:
    """Whether the operator left this path out of the log."""
    return any(glob(pattern)(path) for pattern in settings.exclude)


def is_no_enquiry(path: str) -> bool:
    """Whether forms sent to this path are known to be something else than an enquiry."""
    lowered = path.lower()
    if lowered.endswith(_NOT_EXCLUDED):
        return False
    return any(part in lowered for part in _EXCLUDED_PARTS) or not _EXCLUDED_SEGMENTS.isdisjoint(lowered.split("/"))


def shows_no_enquiry(names: Iterable[str]) -> bool:
    """Whether a form's fields show that it is something else than an enquiry."""
    return not _EXCLUDED_FIELDS.isdisjoint(names)


def asks_for_password(names: Iterable[str]) -> bool:
    """Whether a form has a password field: a login or a registration. No rule makes that a lead."""
    return any(is_password(name) for name in names)
