"""Forms as they come: captured, mapped, cleaned, sealed; and what is passed over."""

from __future__ import annotations

import json
import logging
from urllib.parse import quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tracker.forms.requests import (
    BOUNDARY,
    LEAD_ID,
    MULTIPART,
    URLENCODED,
    answered,
    capture_with,
    contact_of,
    fed,
    multipart,
    post,
    urlencoded,
)
from tests.tracker.forms.test_never_store import ACCOUNTS, CARDS, TOKENS
from tracker.forms.bodies import FILES_FACTOR
from tracker.forms.capture import MAX_NAMES, MAX_TEXT_CHARS, REASONS
from tracker.forms.rules import rule_named
from tracker.forms.verdict import decide
from tracker.model import encode_line
from tracker.settings import FormRule, Text

ERIKA = {"name": "Erika Mustermann", "email": "erika@example.com", "message": "Bitte um ein Angebot."}

# -- real forms, as browsers send them

WAGTAIL = urlencoded(
    ("csrfmiddlewaretoken", "kq3S0vJ0y1Vh2q9w8e7r6t5z4u3i2o1pAsDfGhJkLyXcVbNmQwErTzUiOpLkJhGf"),
    ("name", "Erika Mustermann"),
    ("e_mail", "erika@example.com"),
    ("telefon", "030 901820"),
    ("nachricht", "Guten Tag,\r\nbitte um R\u00fcckruf.\r\nGr\u00fc\u00dfe"),
    ("datenschutz", "on"),
    ("utm_source", "google"),
)


def test_a_wagtail_form():
    submission, capture = fed(WAGTAIL, post("/kontakt/?utm_source=google"))
    assert capture.reason is None
    assert contact_of(submission) == {
        "name": "Erika Mustermann",
        "email": "erika@example.com",
        "phone": "030 901820",
        "message": "Guten Tag,\nbitte um R\u00fcckruf.\nGr\u00fc\u00dfe",
        "consent": "datenschutz: on",
    }
    assert submission.lead_id == LEAD_ID
    assert submission.form == "/kontakt/"
    assert submission.rule == "generic"
    assert submission.page == "/kontakt/"
    assert submission.lead_fields == ["name", "email", "phone", "message", "consent"]
    assert submission.field_names == [
        "csrfmiddlewaretoken", "name", "e_mail", "telefon", "nachricht", "datenschutz", "utm_source"
    ]  # fmt: skip
    assert (submission.withheld, submission.files, submission.answer) == (0, 0, None)


CONTACT_FORM_7 = multipart(
    ("_wpcf7", "5"),
    ("_wpcf7_version", "6.1.1"),
    ("_wpcf7_locale", "de_DE"),
    ("_wpcf7_unit_tag", "wpcf7-f5-p2-o1"),
    ("_wpcf7_container_post", "2"),
    ("_wpcf7_posted_data_hash", ""),
    ("your-name", "Erika M\u00fcller"),
    ("your-email", "erika@example.com"),
    ("your-subject", "Angebot"),
    ("your-message", "Siehe Zeichnung."),
    ("your-file", "zeichnung.pdf", b"%PDF-1.7\r\n" + bytes(range(256)) * 4000),
    ("acceptance-123", "1"),
)


def test_contact_form_7_with_a_file():
    exchange = post(
        "/wp-json/contact-form-7/v1/contact-forms/5/feedback",
        MULTIPART,
        origin="https://www.example.com",
        sec_fetch_site="same-origin",
    )
    submission, _ = fed(CONTACT_FORM_7, exchange)
    assert contact_of(submission) == {
        "name": "Erika M\u00fcller",
        "email": "erika@example.com",
        "subject": "Angebot",
        "message": "Siehe Zeichnung.",
        "consent": "acceptance-123: 1",
    }
    assert (submission.form, submission.files) == ("wpcf7-5", 1)
    assert b"zeichnung" not in encode_line(submission)


def test_a_form_sent_by_fetch_as_json():
    body = json.dumps({"contact": {"firstName": "Erika", "lastName": "M\u00fcller"}, "email": "erika@example.com",
                       "phoneNumber": "+49 30 901820", "privacy": True, "formName": "callback"}).encode()  # fmt: skip
    for content_type in ("application/json", "text/plain;charset=UTF-8", URLENCODED):
        submission, _ = fed(body, post("/api/leads", content_type))
        assert contact_of(submission) == {
            "first_name": "Erika",
            "last_name": "M\u00fcller",
            "email": "erika@example.com",
            "phone": "+49 30 901820",
            "consent": "privacy: true",
        }
        assert submission.form == "callback"


POWERMAIL = multipart(
    ("tx_powermail_pi1[__referrer][@extension]", "Powermail"),
    ("tx_powermail_pi1[__trustedProperties]", '{"field":{"vorname":1}}4a5b6c7d8e9f0a1b2c3d4e5f6a7b8c9d0e1f2a3b'),
    ("tx_powermail_pi1[mail][form]", "3"),
    ("tx_powermail_pi1[field][anrede]", "Frau"),
    ("tx_powermail_pi1[field][vorname]", "Erika"),
    ("tx_powermail_pi1[field][nachname]", "M\u00fcller"),
    ("tx_powermail_pi1[field][firma]", "M\u00fcller GmbH"),
    ("tx_powermail_pi1[field][email]", "erika@example.com"),
    ("tx_powermail_pi1[field][plz]", "10115"),
    ("tx_powermail_pi1[field][ort]", "Berlin"),
    ("tx_powermail_pi1[field][produkt][]", "Ventil"),
    ("tx_powermail_pi1[field][produkt][]", "Pumpe"),
    ("tx_powermail_pi1[field][__hp]", ""),
)


def test_powermail_with_its_nested_names():
    submission, _ = fed(POWERMAIL, post("/kontakt?tx_powermail_pi1%5Baction%5D=create", MULTIPART))
    assert contact_of(submission) == {
        "salutation": "Frau",
        "first_name": "Erika",
        "last_name": "M\u00fcller",
        "company": "M\u00fcller GmbH",
        "email": "erika@example.com",
        "postcode": "10115",
        "city": "Berlin",
        "product": "Ventil, Pumpe",
    }
    assert submission.form == "powermail-3"


FORM_NAMES = [
    ([("gform_submit", "5"), ("input_3", "a@example.com")], "gform-5"),
    ([("wpforms[id]", "17"), ("wpforms[fields][1]", "a@example.com")], "wpforms-17"),
    ([("tx_form_formframework[kontakt-12][email]", "a@example.com")], "kontakt-12"),
    ([("form_id", "webform_submission_contact_add_form"), ("email", "a@example.com")],
     "webform_submission_contact_add_form"),
    ([("form-name", "R\u00fcckruf <b>"), ("email", "a@example.com")], "/kontakt/"),
    ([("form_name", "erika@example.com"), ("email", "a@example.com")], "/kontakt/"),
    ([("form_id", "4111111111111111"), ("email", "a@example.com")], "/kontakt/"),
    ([("email", "a@example.com")], "/kontakt/"),
]  # fmt: skip


@pytest.mark.parametrize("pairs, name", FORM_NAMES)
def test_a_form_is_called_what_its_body_says_or_where_it_goes(pairs: list[tuple[str, str]], name: str):
    submission, _ = fed(urlencoded(*pairs), post("/kontakt/?id=17"))
    assert submission.form == name


# -- however the network cuts it


@settings(max_examples=50)
@given(st.sampled_from([(WAGTAIL, URLENCODED), (CONTACT_FORM_7[:3000] + CONTACT_FORM_7[-300:], MULTIPART),
                        (POWERMAIL, MULTIPART), (json.dumps(ERIKA).encode(), "application/json")]),
       st.lists(st.integers(0, 4000), max_size=20))  # fmt: skip
def test_any_split_of_a_body_gives_the_same_submission(form: tuple[bytes, str], cuts: list[int]):
    body, content_type = form
    whole, _ = fed(body, post(content_type=content_type))
    capture = capture_with().wanted(post(content_type=content_type))
    places = [0, *sorted(min(cut, len(body)) for cut in cuts), len(body)]
    for start, end in zip(places, places[1:], strict=False):
        assert capture.feed(body[start:end])
    split = capture.submission()
    assert contact_of(split) == contact_of(whole)
    split.contact = whole.contact
    assert split == whole


# -- which requests are looked at


@pytest.mark.parametrize(
    "exchange, reason",
    [
        (post("/wp-login.php"), "no_enquiry"),
        (post("/suche/"), "no_enquiry"),
        (post("/wp-json/wc/store/v1/cart", "application/json"), "no_enquiry"),
        (post(sec_fetch_site="cross-site", referer="https://evil.example/"), "foreign"),
        (post(sec_fetch_site="cross-site", referer=""), "foreign"),
        (post(origin="https://evil.example"), "foreign"),
        (post(origin="null", referer="https://evil.example/x"), "foreign"),
        (post(content_encoding="gzip"), "encoded"),
        (post(content_length="104857600"), "too_large"),
        (post(content_type=MULTIPART, content_length=str(1_048_576 * FILES_FACTOR + 1)), "too_large"),
        (post(content_type="multipart/form-data"), "unparsable"),
    ],
)
def test_the_head_of_a_request_is_often_enough(exchange, reason: str):
    forms = capture_with()
    assert forms.wanted(exchange) is None
    assert forms.passed_over == {reason: 1}


@pytest.mark.parametrize(
    "exchange",
    [
        post(sec_fetch_site="same-origin", origin="https://behind-another-proxy.example"),
        post(sec_fetch_site="same-site", origin="https://blog.example.com"),
        post(sec_fetch_site="none", referer=""),
        post(origin="https://WWW.example.com:8443"),
        post(origin="null", referer=""),
        post(referer=""),
        post(referer="http://[broken"),
        post(content_length="1048576"),
        post(content_length="not a number"),
        post("https://www.example.com/kontakt/"),
        post(content_type=f" {URLENCODED.upper()} ; charset=UTF-8"),
    ],
)
def test_a_form_of_the_site_itself_is_wanted(exchange):
    assert capture_with().wanted(exchange) is not None


def test_a_request_that_is_no_form_is_neither_wanted_nor_counted():
    forms = capture_with()
    get = post()
    get.method = "GET"
    for exchange in (get, post(content_type=""), post(content_type="image/png"), post(content_type="application/grpc")):
        assert forms.wanted(exchange) is None
    assert forms.passed_over == {}


def test_forms_on_further_hosts_of_the_site_are_its_own():
    exchange = post(sec_fetch_site="cross-site", origin="https://aktion.example.net", referer="")
    assert capture_with().wanted(exchange) is None
    assert capture_with(own_hosts=["*.example.net"]).wanted(exchange) is not None


def test_excluded_paths_and_switched_off_capture_are_left_alone():
    forms = capture_with(exclude=["/kontakt/*"])
    assert forms.wanted(post("/kontakt/?x=1")) is None
    assert forms.passed_over == {"excluded": 1}
    assert capture_with(capture="off").wanted(post()) is None


# -- rules


def test_only_configured_forms_are_taken_if_so_configured():
    forms = capture_with(FormRule(name="contact", path="/kontakt/"), capture="configured")
    assert forms.wanted(post("/kontakt/")) is not None
    assert forms.wanted(post("/anders/")) is None
    assert forms.passed_over == {"no_rule": 1}


def test_an_ignored_form_is_not_looked_at():
    forms = capture_with(FormRule(name="internal", path="/kontakt/", ignore=True))
    assert forms.wanted(post()) is None
    assert forms.passed_over == {"ignored": 1}


def test_a_rule_names_fields_and_takes_a_form_without_a_way_to_reach_anybody():
    rule = FormRule(name="brochure", path="/katalog", fields={"product": "f_17", "company": "data[x]"})
    body = urlencoded(("f_17", "Katalog 3"), ("data[x]", "M\u00fcller GmbH"), ("f_18", "egal"))
    submission, _ = fed(body, post("/katalog"), capture_with(rule))
    assert contact_of(submission) == {"company": "M\u00fcller GmbH", "product": "Katalog 3"}
    assert (submission.form, submission.rule) == ("brochure", "brochure")


def test_a_rule_lifts_an_exclusion_but_not_the_one_of_passwords():
    rule = FormRule(name="odd", path="/login")
    submission, _ = fed(urlencoded(("email", "a@example.com")), post("/login"), capture_with(rule))
    assert submission is not None
    submission, capture = fed(
        urlencoded(("email", "a@example.com"), ("password", "x")), post("/login"), capture_with(rule)
    )
    assert (submission, capture.reason) == (None, "password")


def test_a_rule_cannot_store_what_is_never_stored():
    rule = FormRule(name="greedy", path="/kontakt/", fields={"message": "iban", "subject": "csrf*", "product": "note"})
    body = urlencoded(("email", "a@example.com"), ("iban", "x-secret"), ("csrf_token", "y-secret"), ("note", "ok"))
    submission, _ = fed(body, post(), capture_with(rule))
    assert contact_of(submission) == {"email": "a@example.com", "product": "ok"}
    assert submission.withheld == 1


def test_a_rule_is_found_by_the_page_the_form_stands_on():
    rule = FormRule(name="only-there", path="/kontakt/", page="/landing/*")
    submission, _ = fed(WAGTAIL, post(referer="https://www.example.com/landing/a?x"), capture_with(rule))
    assert (submission.rule, submission.page) == ("only-there", "/landing/a")
    assert fed(WAGTAIL, post(), capture_with(rule))[0].rule == "generic"


def test_the_page_is_told_only_if_it_is_ours():
    for referer in ("", "https://other.example/x"):
        submission, _ = fed(WAGTAIL, post(referer=referer, sec_fetch_site="same-site"))
        assert submission.page is None


def test_the_page_is_ours_if_the_browser_says_so_behind_a_proxy_that_changed_the_host():
    exchange = post(host="10.0.0.7", referer="https://www.example.com/kontakt/?a", sec_fetch_site="same-origin")
    assert fed(WAGTAIL, exchange)[0].page == "/kontakt/"


# -- what is no submission

OTHER = [
    (urlencoded(("log", "erika"), ("pwd", "geheim")), "password"),
    (urlencoded(("email", "a@example.com"), ("user[password]", "")), "password"),
    (urlencoded(("author", "E"), ("email", "a@example.com"), ("comment_post_ID", "3")), "no_enquiry"),
    (urlencoded(("email", "a@example.com"), ("_gotcha", "filled")), "honeypot"),
    (urlencoded(("q", "ventile")), "no_contact"),
    (urlencoded(("name", "Erika"), ("email", "kaputt")), "no_contact"),
    (urlencoded(("name", "Erika"), ("telefon", "keins")), "no_contact"),
    (urlencoded(("recipient", "info@example.com"), ("name", "Erika")), "no_contact"),
    (b"", "not_a_form"),
    (b"{}", "not_a_form"),
    (b"just text", "unparsable"),
    (b"&".join(b"a%d=1" % number for number in range(10_000)), "too_many_fields"),
    (b"a=" + b"x" * 1_048_576, "too_large"),
    (b"[" * 100_000, "too_deep"),
]


@pytest.mark.parametrize("body, reason", OTHER)
def test_what_is_no_form_of_ours_is_passed_over_and_counted(body: bytes, reason: str):
    forms = capture_with()
    submission, capture = fed(body, forms=forms)
    assert (submission, capture.reason) == (None, reason)
    assert forms.passed_over == {reason: 1}
    assert reason in REASONS


def test_an_empty_honeypot_is_as_it_should_be():
    assert fed(urlencoded(("email", "a@example.com"), ("_gotcha", "")))[0] is not None


def test_a_telephone_number_is_enough():
    submission, _ = fed(urlencoded(("telefon", "+49 30 901820")))
    assert contact_of(submission) == {"phone": "+49 30 901820"}


def test_an_upload_of_100_megabytes_is_given_up_and_not_kept(caplog: pytest.LogCaptureFixture):
    chunk = b"x" * 65_536
    forms = capture_with()
    with caplog.at_level(logging.INFO):
        for content_type, fits in ((URLENCODED, 16), (MULTIPART, 16 * FILES_FACTOR)):
            head = (
                multipart(("email", "a@example.com"), ("f", "f.bin", b""))[: -len(BOUNDARY) - 8]
                if content_type == MULTIPART
                else b""
            )
            capture = forms.wanted(post(content_type=content_type))
            assert capture.feed(head) is True
            taken = 0
            while taken < 1600 and capture.feed(chunk):
                taken += 1
            assert fits - 1 <= taken <= fits
            assert capture.feed(chunk) is False
            assert (capture.submission(), capture.reason) == (None, "too_large")
    assert forms.passed_over == {"too_large": 2}
    # Said once, and with what to do.
    assert [record.message.count("tracker.forms.max_body_bytes") for record in caplog.records] == [1]


def test_a_body_that_was_given_up_is_not_read_further():
    capture = capture_with(max_body_bytes=1024).wanted(post())
    assert capture.feed(b"a" * 2000) is False
    assert capture.feed(b"email=a@example.com") is False
    assert capture.submission() is None


# -- what is stored


def test_names_are_cut_counted_and_never_values():
    pairs = [("email", "a@example.com"), ("n" * 400, "1"), ("a\x00b\nc", "1")]
    pairs += [(f"f{number}", "1") for number in range(300)]
    submission, _ = fed(urlencoded(*pairs))
    assert submission.field_names[:3] == ["email", "n" * 100, "ab c"]
    assert len(submission.field_names) == MAX_NAMES


@pytest.mark.parametrize(
    "name",
    ["erika@example.com", "<b>Erika</b>", "a=b;c", "030 901820", '{"name"', *CARDS[:3], *ACCOUNTS[:2], *TOKENS[:3]],
)
def test_a_value_in_the_place_of_a_name_is_not_listed(name: str):
    submission, _ = fed(f"email=a%40example.com&{quote_plus(name)}=1".encode())
    assert name not in submission.field_names
    assert submission.field_names[0] == "email"
    assert name.encode() not in encode_line(submission)


def test_long_text_is_cut():
    submission, _ = fed(urlencoded(("email", "a@example.com"), ("message", "x " * 40_000), ("firma", "y" * 5000)))
    contact = contact_of(submission)
    assert len(contact["message"]) <= MAX_TEXT_CHARS
    assert len(contact["company"]) == 500


def test_secrets_in_mapped_fields_are_taken_out_and_counted():
    message = f"Meine Karte: {CARDS[1]}, Konto {ACCOUNTS[1]}. Passwort: hunter2"
    submission, _ = fed(urlencoded(("email", "a@example.com"), ("message", message), ("cvv", "737"), ("pin", "")))
    assert contact_of(submission)["message"] == (
        "Meine Karte: [removed: card number], Konto [removed: bank account]. Passwort: [removed: password]"
    )
    assert submission.withheld == 2


SECRET_NAMES = ["pin", "cvv", "card_number", "iban", "cc-exp", "ssn", "steuer_id", "otp", "_wpnonce", "form_token",
                "csrfmiddlewaretoken", "g-recaptcha-response", "kontonummer", "tx_x[__state]"]  # fmt: skip
OPEN_NAMES = ["name", "message", "firma", "betreff", "telefon", "strasse", "produkt[]", "datenschutz", "unknown"]


def _may_be_phone(secret: str) -> bool:
    """A telephone number has up to 15 digits, and a field for one keeps what may be one: see never_store.scrubbed."""
    return secret.replace(" ", "").isdigit() and len(secret.replace(" ", "")) < 16


@settings(max_examples=150)
@given(
    st.lists(st.tuples(st.sampled_from(SECRET_NAMES), st.just("Zq7secretZq7")), max_size=4),
    st.lists(
        st.tuples(
            st.sampled_from(OPEN_NAMES),
            st.text(" .,:;abc\n\u00fc", max_size=40),
            st.sampled_from(CARDS + ACCOUNTS + TOKENS),
            st.text(" .,:;abc\n\u00fc", max_size=40),
        ).filter(lambda planted: planted[0] != "telefon" or not _may_be_phone(planted[2])),
        max_size=4,
    ),
    st.sampled_from([URLENCODED, MULTIPART, "application/json"]),
)
def test_no_planted_secret_is_ever_stored(
    secrets: list[tuple[str, str]], planted: list[tuple[str, str, str, str]], content_type: str
):
    pairs = [("email", "erika@example.com"), *secrets]
    pairs += [(name, f"{before} {secret} {after}") for name, before, secret, after in planted]
    if content_type == URLENCODED:
        body = urlencoded(*pairs)
    elif content_type == MULTIPART:
        body = multipart(*pairs)
    else:
        body = json.dumps([{"name": name, "value": value} for name, value in pairs]).encode()
    submission, _ = fed(body, post(content_type=content_type))
    stored = json.dumps(contact_of(submission), ensure_ascii=False) + encode_line(submission).decode()
    assert "Zq7secretZq7" not in stored
    for _, _, secret, _ in planted:
        assert secret not in stored
        assert secret[:14] not in stored


@given(st.binary(max_size=400), st.sampled_from([URLENCODED, MULTIPART, "application/json", "text/plain"]))
def test_no_body_is_too_strange(body: bytes, content_type: str):
    submission, capture = fed(body, post(content_type=content_type))
    assert (submission is None) == (capture.reason in REASONS)


# -- and its answer


AGAIN = "<form action='/kontakt/'><ul class='errorlist'><li>x</li></ul>" + "".join(
    f"<input name='{name}'>" for name in ("name", "e_mail", "telefon", "nachricht", "datenschutz", "utm_source")
)


@pytest.mark.parametrize(
    "target, page, expected",
    [
        ("/kontakt/", "<p>Danke!</p>", ("accepted", "form_gone")),
        ("/kontakt/", AGAIN, ("refused", "form_again")),
        ("/odd", AGAIN + "Alles gut", ("accepted", "rule_met")),
        ("/odd", "<p>Danke!</p>", ("refused", "rule_not_met")),
    ],
)
def test_a_form_and_its_answer_come_to_a_verdict(target: str, page: str, expected: tuple[str, str]):
    forms = capture_with(FormRule(name="odd", path="/odd", success=Text(contains="Alles gut")))
    exchange = post(target)
    submission, _ = fed(WAGTAIL, exchange, forms)
    # The recorder asks for it as soon as the request is whole; the answer is still to come.
    answer = forms.answer(submission, exchange)
    answered(exchange, 200)
    assert answer.feed(page.encode()) is True
    submission.answer = answer.read()
    rule = rule_named(forms.settings, submission.rule)
    assert decide(submission, method="POST", target=target, status=200, ended_by=None, rule=rule) == expected
