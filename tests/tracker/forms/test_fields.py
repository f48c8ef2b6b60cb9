"""Which field of a form means what."""

from __future__ import annotations

import pytest

from tracker.forms.bodies import FormField
from tracker.forms.fields import is_email, is_phone, lead_field_of, mapped
from tracker.forms.rules import glob
from tracker.settings import LEAD_FIELDS

NAMES = """
    salutation   anrede Anrede title honorific-prefix gender your-salutation tx_powermail_pi1[field][anrede]
    first_name   vorname first_name firstName FirstName fname given-name contact[firstName] names[first_name] your-firstname
    last_name    nachname last-name lastName lname family-name surname tx_form_formframework[kontakt][nachname]
    name         name Name your-name full_name fullName jform[contact_name] vor-und-nachname field[name] ansprechpartner
    company      firma Firma company companyName organization unternehmen firma[name] company[name] your-company
    position     position job_title jobTitle organization-title funktion abteilung
    email        email Email e-mail E-Mail e_mail eMail your-email mail user_email email_address E-Mail-Adresse emailadresse
    email        jform[contact_email] tx_powermail_pi1[field][email] form_fields[email] variables[input][email] email-607
    phone        tel telefon Telefon phone phoneNumber your-tel tel-123 Telefonnummer rufnummer phone_work businessPhone
    mobile       mobil mobile handy Handynummer mobilePhone cell_phone
    street       strasse Stra\u00dfe street street-address address address-line1 strasse_hausnummer
    postcode     plz PLZ postcode postal-code zip zipCode postleitzahl plz_ort
    city         ort Ort city stadt address-level2 wohnort
    country      land country country-name
    subject      betreff subject your-subject jform[contact_subject] thema
    message      nachricht Nachricht message your-message jform[contact_message] anliegen comments bemerkungen textarea-12
    product      produkt product product_name product[name] artikelnummer interessiert_an
    callback_at  rueckruf R\u00fcckruf callback_time wunschtermin rueckruf_zeit erreichbarkeit
    consent      datenschutz Datenschutz privacy consent dsgvo acceptance-123 privacy_policy opt-in Datenschutz-Zustimmung
"""

UNKNOWN = """
    x input_1 input_1.3 wpforms[fields][3] field_ab12cd3 text-789 menu-456 kontakt color farbe
    email_confirm emailConfirmation email_wiederholen recipient to bcc cc email_to newsletter
    user_name username website url homepage company_id phone_type country_id mail_template filename file
    form_name formName form_id page_title utm_source gclid submit senden op action
    csrfmiddlewaretoken _wpcf7 _wpnonce g-recaptcha-response __referrer message_token
    password iban card_number steuer_id email_password
"""


@pytest.mark.parametrize(
    "name, lead_field",
    [(name, line.split()[0]) for line in NAMES.strip().splitlines() for name in line.split()[1:]]
    + [(name, None) for name in UNKNOWN.split()],
)
def test_a_field_means_what_german_and_english_forms_call_it(name: str, lead_field: str | None):
    assert lead_field_of(name) == lead_field


def test_every_lead_field_has_a_name_that_is_recognised():
    assert {line.split()[0] for line in NAMES.strip().splitlines()} == set(LEAD_FIELDS)


def fields(**values: str) -> list[FormField]:
    return [FormField(name.replace("__", "-"), value) for name, value in values.items()]


def values(found: dict[str, list[FormField]]) -> dict[str, list[str]]:
    return {lead_field: [field.value for field in parts] for lead_field, parts in found.items()}


def test_lead_fields_come_in_their_own_order_and_empty_ones_not_at_all():
    found = mapped(fields(nachricht="Hallo", email="a@example.com", telefon="  ", name="Erika"))
    assert list(found.items()) == [
        ("name", [FormField("name", "Erika")]),
        ("email", [FormField("email", "a@example.com")]),
        ("message", [FormField("nachricht", "Hallo")]),
    ]


def test_of_several_names_for_one_lead_field_the_best_known_counts_then_the_first():
    assert values(mapped(fields(email_2="b@x.de", email="a@x.de"))) == {"email": ["a@x.de"]}
    assert values(mapped(fields(email="a@x.de", mail="b@x.de"))) == {"email": ["a@x.de"]}
    assert values(mapped(fields(email="", mail="b@x.de"))) == {"email": ["b@x.de"]}


def test_values_of_a_repeated_name_stay_together():
    found = mapped([FormField("produkt[]", "A"), FormField("x", "1"), FormField("produkt[]", "B")])
    assert values(found) == {"product": ["A", "B"]}


def test_a_field_without_a_telling_name_is_the_email_if_it_holds_one():
    form = [FormField("input_1", "Erika"), FormField("input_3", "a@example.com"), FormField("input_4", "b@example.com")]
    assert values(mapped(form)) == {"email": ["a@example.com"]}
    assert values(mapped([FormField("wpforms[fields][3]", "a@example.com")])) == {"email": ["a@example.com"]}


def test_an_address_in_a_field_with_another_meaning_is_not_the_email():
    assert mapped(fields(recipient="info@example.com", bcc="b@example.com", color="c@example.com")) == {}


def test_what_a_rule_names_is_not_guessed_and_the_rest_is():
    form = fields(x17="Erika", name="Formular 3", email="a@example.com")
    assert values(mapped(form, named={"name": glob("x17")})) == {"name": ["Erika"], "email": ["a@example.com"]}
    assert values(mapped(form, named={"name": glob("missing")})) == {"email": ["a@example.com"]}
    assert values(mapped(form, named={"email": glob("missing")})) == {"name": ["Formular 3"]}


def test_a_field_that_a_rule_names_means_nothing_else():
    assert values(mapped(fields(email="see below"), named={"message": glob("email")})) == {"message": ["see below"]}


def test_a_glob_of_a_rule_takes_brackets_as_they_are():
    form = [FormField("data[Lead][f1]", "a@example.com"), FormField("dataL", "no")]
    assert values(mapped(form, named={"email": glob("data[Lead][*]")})) == {"email": ["a@example.com"]}


@pytest.mark.parametrize(
    "value, expected",
    [
        ("erika@example.com", True),
        (" erika.m+x@sub.example.co.uk ", True),
        ("erika@m\u00fcller.de", True),
        ("\u00e9rika@xn--mller-kva.de", True),
        ("erika", False),
        ("erika@example", False),
        ("erika@example.c", False),
        ("@example.com", False),
        ("erika@.com", False),
        ("a@b.de, c@d.de", False),
        ("a b@c.de", False),
        ("a@b@c.de", False),
        ("<a@b.de>", False),
        ("a" * 250 + "@example.com", False),
        ("", False),
    ],
)
def test_an_email_address_looks_like_one(value: str, expected: bool):
    assert is_email(value) is expected


@pytest.mark.parametrize(
    "value, expected",
    [
        ("030 901820", True),
        ("+49 (0)30 / 901820-12", True),
        ("0049 30 901820 dw 12", True),
        ("+1-555-0123456", True),
        ("12345", False),
        ("12.11.2026", True),  # a date has as many digits; it counts only in a field for telephone numbers
        ("call me", False),
        ("030 901820 or 0171 1234567", False),
        ("1" * 18, False),
        ("", False),
    ],
)
def test_a_telephone_number_looks_like_one(value: str, expected: bool):
    assert is_phone(value) is expected
