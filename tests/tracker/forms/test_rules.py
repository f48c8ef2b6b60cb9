"""Which forms are looked at."""

from __future__ import annotations

import pytest

from tracker.forms import rules
from tracker.forms.rules import asks_for_password, glob, is_no_enquiry, rule_for, rule_named, shows_no_enquiry
from tracker.settings import FormRule, FormSettings, TrackerSettings


def settings(*given: FormRule, exclude: tuple[str, ...] = ()) -> TrackerSettings:
    return TrackerSettings(forms=FormSettings(rules=list(given)), exclude=list(exclude))


@pytest.mark.parametrize(
    "pattern, text, fits",
    [
        ("/contact", "/contact", True),
        ("/contact", "/contact/", False),
        ("/contact/*", "/contact/a/b", True),
        ("/contact/*", "/contact/", True),
        ("/*/contact", "/de/contact", True),
        ("/a?c", "/abc", True),
        ("/a?c", "/ac", False),
        ("a[b]", "a[b]", True),
        ("a[b]", "ab", False),
        ("/a.b", "/axb", False),
        ("*", "", True),
        ("/Contact", "/contact", False),
    ],
)
def test_a_glob_knows_only_stars_and_question_marks(pattern: str, text: str, fits: bool):
    assert glob(pattern)(text) is fits


FIRST = FormRule(name="first", path="/contact*", page="/de/*")
HOSTED = FormRule(name="hosted", path="/*", host="*.Example.com")
LAST = FormRule(name="last", path="/contact")


@pytest.mark.parametrize(
    "host, path, page, name",
    [
        ("x.net", "/contact", "/de/kontakt", "first"),
        ("x.net", "/contact", "/en/contact", "last"),
        ("x.net", "/contact", None, "last"),
        ("www.example.com", "/contact", None, "hosted"),
        ("WWW.example.com:8443", "/else", None, "hosted"),
        ("example.com", "/else", None, None),
        ("x.net", "/contact/", "/", None),
    ],
)
def test_the_first_rule_that_fits_is_taken(host: str, path: str, page: str | None, name: str | None):
    found = rule_for(settings(FIRST, HOSTED, LAST), host=host, path=path, page=page)
    assert (found.name if found else None) == name


def test_a_host_with_its_port_can_be_named():
    rule = FormRule(name="local", path="/*", host="127.0.0.1:8080")
    assert rule_for(settings(rule), host="127.0.0.1:8080", path="/", page=None) is rule
    assert rule_for(settings(rule), host="127.0.0.1:9090", path="/", page=None) is None


def test_a_submission_finds_its_rule_again_by_name():
    rule = FormRule(name="contact", path="/contact")
    shadow = FormRule(name=rules.GENERIC, path="/x")
    assert rule_named(settings(rule), "contact") is rule
    assert rule_named(settings(rule), "gone") is None
    assert rule_named(settings(shadow), rules.GENERIC) is None


@pytest.mark.parametrize(
    "path, expected",
    [
        ("/wp-login.php", True),
        ("/blog/wp-login.php", True),
        ("/wp-comments-post.php", True),
        ("/wp-admin/post.php", True),
        ("/wp-admin/admin-ajax.php", False),
        ("/wp-admin/admin-post.php", False),
        ("/wp-json/wc/store/v1/checkout", True),
        ("/wp-json/contact-form-7/v1/contact-forms/5/feedback", False),
        ("/accounts/Login/", True),
        ("/suche", True),
        ("/de/warenkorb/", True),
        ("/admin/pages/3/edit/", True),
        ("/administration-contact", False),
        ("/seminare/anmeldung/", False),
        ("/kontakt/", False),
        ("/", False),
    ],
)
def test_logins_searches_comments_checkouts_and_back_ends_are_no_enquiries(path: str, expected: bool):
    assert is_no_enquiry(path) is expected


def test_a_form_shows_what_it_is_by_its_fields():
    assert shows_no_enquiry(["author", "email", "comment_post_ID"])
    assert not shows_no_enquiry(["author", "email", "comment"])
    assert asks_for_password(["email", "user[password]"])
    assert not asks_for_password(["email", "passport"])


def test_a_path_left_out_of_the_log_is_excluded():
    given = settings(exclude=("/health", "/api/*"))
    assert rules.is_excluded_path(given, "/api/lead")
    assert not rules.is_excluded_path(given, "/kontakt/")
