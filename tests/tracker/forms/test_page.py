"""Does a page show the same form again?"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracker.forms.page import UNTOLD, is_bearable, read_page

NAMES = ["csrfmiddlewaretoken", "name", "e_mail", "telefon", "nachricht", "datenschutz"]


def django(*, errors: str = "", value: str = "", action: str = "/kontakt/", method: str = "post") -> str:
    return f"""<!doctype html><title>Kontakt</title>
    <form id="suche" action="/suche/"><input name="query"></form>
    <form id="kontakt" method="{method}" action="{action}">
      <input type="hidden" name="csrfmiddlewaretoken" value="abc">
      <p><label>Name:</label><input type="text" name="name" value="{value}"></p>
      {errors}<p><input type="email" name="e_mail" value="{value}"></p>
      <p><input type="text" name="telefon" value="{value}"></p>
      <p><textarea name="nachricht">\n{value}</textarea></p>
      <p><input type="checkbox" name="datenschutz"></p>
      <button name="senden">Senden</button>
    </form>"""


def read(html: str, names: list[str] = NAMES, path: str = "/kontakt/"):
    return read_page(html, path=path, field_names=names)


def test_a_page_without_the_form_does_not_show_it_again():
    assert read("<!doctype html><title>Danke</title><p>Vielen Dank!</p>") == (False, 0)
    assert read('<p>Danke!</p><form action="/suche"><input name="query"></form>') == (False, 0)


def test_the_form_with_an_error_in_it_is_there_again():
    assert read(django(errors='<ul class="errorlist"><li>Ung\u00fcltig</li></ul>', value="x")) == (True, 1)
    assert read(django(errors='<ul class="errorlist"><li>Ung\u00fcltig</li></ul>')) == (True, 1)


def test_the_form_with_its_values_in_it_is_there_again():
    assert read(django(value="x")) == (True, 0)


def test_a_fresh_form_cannot_be_told_from_the_thanks_above_it():
    assert read("<p>Danke!</p>" + django()) == (None, 0)


ERRORS = [
    '<input name="x" aria-invalid="true">',
    '<input name="x" class="form-control is-invalid">',
    '<span class="error">Pflichtfeld</span>',
    '<div class="form-group has-error">Pflichtfeld</div>',
    '<p class="field-error">Pflichtfeld</p>',
    '<div class="invalid-feedback">x</div><input name="x" class="is-invalid">',
    '<div role="alert">Bitte pr\u00fcfen Sie Ihre Eingaben</div>',
    '<span class="wpcf7-not-valid-tip">Pflichtfeld</span>',
    '<ul class="powermail_message powermail_message_error"><li>Pflichtfeld</li></ul>',
    '<div class="gform_validation_error">Fehler</div>',
    '<em class="wpforms-error">Pflichtfeld</em>',
]


@pytest.mark.parametrize("error", ERRORS)
def test_what_frameworks_mark_as_wrong_is_counted(error: str):
    found = read(django(errors=error))
    assert found.form_again is True
    assert found.errors >= 1


@pytest.mark.parametrize(
    "template",
    [
        '<div class="error"></div>',
        '<div class="error" hidden>Pflichtfeld</div>',
        '<div class="error" style="display: none">Pflichtfeld</div>',
        '<div class="invalid-feedback">Bitte ausf\u00fcllen</div>',
        '<div role="alert" class="alert alert-success">Danke!</div>',
        '<input name="x" aria-invalid="false">',
    ],
)
def test_what_waits_in_a_fresh_form_is_no_error(template: str):
    assert read(django(errors=template)) == (None, 0)


def test_an_error_above_the_form_counts_for_the_form():
    assert read('<div class="alert alert-danger">Bitte pr\u00fcfen</div>' + django()) == (True, 1)


def test_an_error_on_a_page_without_the_form_is_told():
    assert read('<div class="alert alert-danger">Versand fehlgeschlagen</div>') == (False, 1)


def test_a_form_for_something_else_is_another_form():
    newsletter = '<p>Danke!</p><form action="/newsletter"><input type="email" name="e_mail" value="a@x.de"></form>'
    assert read(newsletter) == (False, 0)
    # One field alone is in many forms: then it must also go where the first one went.
    assert read(newsletter, ["e_mail"]) == (False, 0)
    assert read(newsletter, ["e_mail"], path="/newsletter") == (True, 0)


@pytest.mark.parametrize(
    "action, expected",
    [
        ("", True),
        ("#form", True),
        ("?step=1", True),
        ("/kontakt", True),
        ("https://www.example.com/kontakt/?x=1", True),
        ("/suche/", False),
        ("http://[broken", False),
    ],
)
def test_a_form_is_the_same_only_if_it_goes_to_the_same_place(action: str, expected: bool):
    form = f'<form action="{action}"><input name="email" value="x"><input name="name" value="x"></form>'
    assert (read(form, ["email", "name"]).form_again is True) is expected


def test_a_relative_action_is_seen_from_the_path():
    form = '<form action="senden.php"><input name="email" value="x"></form>'
    assert read(form, ["email"], path="/kontakt/senden.php") == (True, 0)
    assert read(form, ["email"], path="/kontakt/anders.php") == (False, 0)


def test_a_form_with_all_its_fields_is_the_same_wherever_it_goes():
    form = (
        '<form action="/x"><input name="a" value="1"><input name="b" value="1"><textarea name="c">1</textarea></form>'
    )
    assert read(form, ["a", "b", "c"]) == (True, 0)


def test_a_page_that_asks_to_confirm_holds_the_values_hidden():
    names = ["tx_powermail_pi1[field][name]", "tx_powermail_pi1[field][email]"]
    hidden = "".join(f'<input type="hidden" name="{name}" value="x">' for name in names)
    html = f'<div class="powermail_confirmation"><form action="/kontakt/">{hidden}<input type="submit"></form></div>'
    assert read(html, names) == UNTOLD._replace(errors=0)


def test_the_next_of_several_pages_is_not_the_form_again():
    form = "tx_form_formframework[kontakt-12]"
    names = [f"{form}[__state]", f"{form}[__currentPage]", f"{form}[name]", f"{form}[email]"]
    html = f"""<form action="/kontakt/"><input type="hidden" name="{form}[__state]" value="x">
        <input type="hidden" name="{form}[__currentPage]" value="2"><textarea name="{form}[message]"></textarea></form>"""
    assert read(html, names) == (None, 0)


def test_the_next_page_of_gravity_forms_still_holds_the_values_of_the_first():
    names = ["input_1", "input_3", "is_submit_5", "gform_target_page_number_5"]
    html = """<form action="/kontakt/#gf_5"><div style="display:none"><input name="input_1" value="Erika">
        <input name="input_3" value="a@x.de"></div><input name="input_7">
        <input type="hidden" name="is_submit_5" value="1">%s</form>"""
    assert read(html % "", names) == (None, 0)
    assert read(html % '<div class="gform_validation_error">Fehler</div>', names) == (True, 1)


def test_a_form_that_its_engine_marks_as_sent_is_not_there_again():
    html = """<form class="wpcf7-form sent" data-status="sent" action="/kontakt/#wpcf7-f5">
        <input type="hidden" name="_wpcf7" value="5"><input name="your-name"><input name="your-email">
        <div class="wpcf7-response-output">Danke!</div></form>"""
    assert read(html, ["_wpcf7", "your-name", "your-email"]) == (False, 0)


def test_names_are_compared_as_they_were_stored():
    long = "n" * 150
    assert read(f'<form><input name="{long}" value="x"></form>', [long[:100]]) == (True, 0)
    assert read('<form><input name="[removed: token]" value="x"></form>', ["[removed: token]"]) == UNTOLD


def test_a_submission_without_names_tells_nothing():
    assert read(django(), ["csrfmiddlewaretoken"]) == UNTOLD
    assert read("", NAMES) == UNTOLD
    assert read("  \n", NAMES) == UNTOLD


# -- pages made to be slow


@pytest.mark.parametrize(
    "html",
    [
        "<div>" * 100_000,
        "<b>" * 1000 + "<p>x" * 100_000,
        "<div></x>" * 60_000,
        "<object></div>" * 30_000,
        "<template>" * 50_000,
        "<form " + " ".join(f"a{number}=1" for number in range(60_000)) + ">",
        "<table><td>" * 40_000,
    ],
)
def test_a_page_that_would_take_seconds_to_read_is_not_read(html: str):
    assert not is_bearable(html)
    assert read(html) == UNTOLD


@pytest.mark.parametrize(
    "html",
    [
        django(),
        "<table><tr>" + "<td>x" * 10_000,
        "<p>x" * 20_000,
        "<form><select name=name>" + "<option value=1>x</option>\n" * 10_000,
        "<ul>" + "<li><a href='/x'><img src=x><b>x</b></a>" * 5000,
        "<div data-x='" + "a b c=1 " * 20_000 + "'>",
        "<script>" + "if (a<b) x();" * 1000 + "</script>",
    ],
)
def test_a_large_page_of_the_usual_kind_is_read(html: str):
    assert is_bearable(html)
    assert read(html) != UNTOLD


@given(st.text(max_size=300) | st.lists(st.sampled_from(
    ["<form>", "<form action='", "'", '"', ">", "<input name=name", " value=x", "</form>", "<", "</", "<!--", "-->",
     "<script>", "<select name=e_mail>", "<option>", "<textarea name=nachricht>", "&lt;", "\0", "<svg>", "<p>", "<b>"]
), max_size=30).map("".join))  # fmt: skip
def test_whatever_the_site_sends_is_read(html: str):
    assert read(html).form_again in (True, False, None)
