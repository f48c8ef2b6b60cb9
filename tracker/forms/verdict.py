"""Did the site accept the form? Decided from facts alone, so that it can be decided again over history.

Knows what answers mean: an operator's rule first, then the engine's own word, then what any site does. Knows nothing
of bodies. What cannot be told is `unconfirmed`: kept, shown, and not sent to anybody until a person has looked.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple
from urllib.parse import urlsplit

from tracker import paths
from tracker.forms.rules import glob
from tracker.model import FormAnswer, Submission
from tracker.settings import FormRule, Json, Redirect, Status, Success, Text


class Verdict(NamedTuple):
    """`reason` is a key of REASONS."""

    state: Literal["accepted", "refused", "unconfirmed"]
    reason: str


# Every verdict there is: the closed list.
REASONS = {
    "rule_met": "the answer is the one the rule waits for",
    "rule_not_met": "the answer is not the one the rule waits for",
    "rule_untold": "the part of the answer that was read does not tell whether the rule is met",
    "json_yes": "the JSON answer says that it went well",
    "json_no": "the JSON answer says that it did not go well",
    "redirected": "the site led the visitor to another page",
    "redirected_back": "the site led the visitor to the same page; only that page tells how it went",
    "redirected_in_doubt": "the site led the visitor to a page for a login or an error",
    "sent_again": "the site had the browser send the form elsewhere; what counts is what came of that",
    "error_status": "the site answered with an error",
    "no_answer": "no answer came: the site was down or slow, or the visitor left",
    "done_status": "the site answered that it is done (201, 202 or 204)",
    "form_again": "the page shows the form again",
    "form_gone": "the page shows the form no more",
    "error_shown": "the page shows no form, but an error",
    "undecided": "the answer does not tell",
    "sent_by_bot": "the site accepted it, but what sent it says that it is no person's browser",
}

# In the last part of a path: it leads somewhere else than to thanks.
_is_doubtful = re.compile(
    r"(?i)login|log-in|signin|sign-in|anmelden|captcha|challenge|error|fehler|failed|forbidden|denied"
).search


def for_bot(verdict: Verdict) -> Verdict:
    """A bot's submission is kept and shown, and goes to nobody until somebody confirms it by hand."""
    return Verdict("unconfirmed", "sent_by_bot") if verdict.state == "accepted" else verdict


def decide(
    submission: Submission, *, method: str, target: str, status: int, ended_by: str | None, rule: FormRule | None
) -> Verdict:
    """What the facts of one exchange say of its submission.

    `method`, `target`, `status` and `ended_by` as the exchange's record has them; `rule` the one that is configured
    for this submission now, None if there is none. Without `submission.answer` the answer never came whole.
    """
    answer = submission.answer
    if answer is None:
        if ended_by is None and status >= 400:
            return Verdict("refused", "error_status")
        # 499, a 502 or 504 of ours, or cut off: the site may have taken the form all the same.
        return Verdict("unconfirmed", "no_answer")
    if rule is not None and rule.success is not None:
        return _by_rule(answer, rule.success, target)
    if status >= 400:
        return Verdict("refused", "error_status")
    if answer.json_ok is not None:
        return Verdict("accepted", "json_yes") if answer.json_ok else Verdict("refused", "json_no")
    if 300 <= status < 400:
        return _redirected(answer, target)
    if status in (201, 202, 204):
        # RFC 9110 sections 15.3.2, 15.3.3 and 15.3.5: what was asked for has been done, or will be.
        return Verdict("accepted", "done_status")
    if answer.form_again:
        return Verdict("refused", "form_again")
    if answer.form_again is False:
        return Verdict("unconfirmed", "error_shown") if answer.errors else Verdict("accepted", "form_gone")
    return Verdict("unconfirmed", "undecided")


def _by_rule(answer: FormAnswer, success: Success, target: str) -> Verdict:
    if isinstance(success, Redirect):
        met: bool | None = 300 <= answer.status < 400 and _leads_to(answer.location, success.to, target)
    elif isinstance(success, Status):
        met = answer.status in success.codes
    elif isinstance(success, Text):
        met = answer.text_found
    elif isinstance(success, Json):
        met = answer.json_ok
    if met is None and answer.status >= 400:
        return Verdict("refused", "error_status")
    if met is None:
        return Verdict("unconfirmed", "rule_untold")
    return Verdict("accepted", "rule_met") if met else Verdict("refused", "rule_not_met")


def _leads_to(location: str | None, wanted: str, target: str) -> bool:
    """Whether a Location is the wanted path, path with query, or URL. Relative ones are seen from `target`."""
    if not location:
        return False
    fits = glob(wanted)
    if fits(location):
        return True
    path = _path_of(location, target)
    query = location.partition("#")[0].partition("?")[2]
    return path is not None and (fits(path) or bool(query and fits(f"{path}?{query}")))


def _redirected(answer: FormAnswer, target: str) -> Verdict:
    if answer.status in (307, 308):
        # RFC 9110 sections 15.4.8 and 15.4.9: the browser repeats the POST, and we see it again.
        return Verdict("refused", "sent_again")
    path = _path_of(answer.location, target) if answer.location else None
    if path is None or answer.status == 304:
        return Verdict("unconfirmed", "undecided")
    if path.rstrip("/") == paths.split(target)[0].rstrip("/"):
        return Verdict("unconfirmed", "redirected_back")
    if _is_doubtful(path.rstrip("/").rpartition("/")[2]):
        return Verdict("unconfirmed", "redirected_in_doubt")
    return Verdict("accepted", "redirected")


def _path_of(location: str, target: str) -> str | None:
    """The path a Location leads to (RFC 3986 section 5.2, as far as servers need it); None if it is none."""
    try:
        parts = urlsplit(location.strip())
    except ValueError:
        return None
    if parts.scheme not in ("", "http", "https"):
        return None
    path = paths.split(target)[0]
    if parts.netloc or parts.path.startswith("/"):
        return parts.path or "/"
    if not parts.path:
        return path
    return path.rsplit("/", 1)[0] + "/" + parts.path.removeprefix("./")
