"""What must never reach the disk: found by name and by value, and ordinary text left alone."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracker.forms.never_store import is_honeypot, is_password, is_technical, leaf, scrubbed, secret_kind, words

CARDS = [
    "4111111111111111", "4111 1111 1111 1111", "4111-1111-1111-1111", "4111.1111.1111.1111", "5555 5555 5555 4444",
    "378282246310005", "3782 822463 10005", "6011111111111117", "3530111333300000", "30569309025904", "4222222222222",
    "6304 0000 0000 0000 00", "4111\u00a01111\u202f1111\u20091111", "2223 0031 2200 3222",
]  # fmt: skip
ACCOUNTS = [
    "DE89370400440532013000", "DE89 3704 0044 0532 0130 00", "de89 3704 0044 0532 0130 00", "GB82 WEST 1234 5698 7654 32",
    "AT61 1904 3002 3457 3201", "CH93 0076 2011 6238 5295 7", "FR14 2004 1010 0505 0001 3M02 606", "NL91ABNA0417164300",
    "BE68-5390-0754-7034", "NO9386011117947", "ES91 2100 0418 4502 0005 1332",
]  # fmt: skip
TOKENS = [
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U",
    "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", "d41d8cd98f00b204e9800998ecf8427e",
    "k3J9vQ2xLwz8Rt5YbN1mHc7PdFs4GaUe0oXiKq6T", "AKfycbxP0x/kQ+9mZrT4v7sVwYt2nB8cLdE5fGhJ1kM=",
    "sk_live_51H8xQ2eZvKYlo2C0aB1cD3eF5gH7iJ9k",
]  # fmt: skip

HARMLESS = [
    "Bitte rufen Sie mich an: 0049 30 901820 oder 0171 1234567.",
    "Tel. +49 151 12345678, Fax +49 30 90182099",
    "+4915112345678",
    "Angebot Nr. 2026-11-0042 vom 22.11.2026, 1.250,00 EUR",
    "Kundennummer 4711, Artikel 4WE6J6X/EG24N9K4/V-4WE10E3X/CG24N9K4",
    "https://www.example.com/produkte/dichtungsringe-fuer-hydraulik-12345?seite=2",
    "https://www.example.com/Produkte/Katalog-2024-Hydraulik/Ventil-4WE6/Uebersicht",
    "Donaudampfschifffahrtsgesellschaftskapitaensmuetzenhersteller",
    "--------------------------------------------------",
    "________________________________________",
    "Ihre Lieferung be 12 wochen dauert uns zu lange, bitte um Antwort.",
    "Wie lautet das Passwort f\u00fcr den Downloadbereich?",
    "Seriennummer 550e8400-e29b-41d4-a716-446655440000",
    "Wir brauchen 12 x 400 mm, 16 x 500 mm, 20 x 600 mm und 24 x 700 mm.",
    "10115 Berlin, Unter den Linden 1",
    "",
]

SECRETS = [(card, "[removed: card number]") for card in CARDS]
SECRETS += [(account, "[removed: bank account]") for account in ACCOUNTS]
SECRETS += [(token, "[removed: token]") for token in TOKENS]


@pytest.mark.parametrize("secret, mark", SECRETS)
def test_a_secret_is_taken_out_of_the_text_around_it(secret: str, mark: str):
    assert scrubbed(secret, max_chars=500) == (mark, 1)
    assert scrubbed(f"Hallo, {secret}, danke", max_chars=500) == (f"Hallo, {mark}, danke", 1)
    assert scrubbed(f"({secret})\n7 St\u00fcck", max_chars=500) == (f"({mark})\n7 St\u00fcck", 1)


@pytest.mark.parametrize("text", HARMLESS)
def test_ordinary_text_stays_as_it_is(text: str):
    assert scrubbed(text, max_chars=500) == (text, 0)


@pytest.mark.parametrize(
    "text, expected",
    [
        ("Passwort: hunter2!, danke", "Passwort: [removed: password] danke"),
        ("my password is hunter2", "my password is [removed: password]"),
        ("Kennwort=geheim", "Kennwort=[removed: password]"),
        ("PIN 1234", "PIN [removed: code]"),
        ("CVC: 123", "CVC: [removed: code]"),
        ("Nr. 4111111111111111 12/27 CVV 737", "Nr. [removed: card number] 12/27 CVV [removed: code]"),
        ("IBANDE89370400440532013000", "IBAN[removed: bank account]"),
        ("12 4111111111111111", "12 [removed: card number]"),
        ("0 4111 1111 1111 1111 99", "0 [removed: card number] 99"),
        ("+4111111111111111", "+[removed: card number]"),
        ("\uff14111111111111111", "[removed: card number]"),
    ],
)
def test_secrets_are_found_where_people_put_them(text: str, expected: str):
    assert scrubbed(text, max_chars=500)[0] == expected


def test_numbers_that_fail_their_checksum_are_numbers():
    for text in ("4111111111111112", "DE88 3704 0044 0532 0130 00", "1234567890123"):
        assert scrubbed(text, max_chars=500) == (text, 0)


@pytest.mark.parametrize("number", ["4915112345678", "49 151 1234 5678", "4930 901820 120"])
def test_a_telephone_number_that_passes_for_a_card_is_kept_in_a_field_for_one(number: str):
    assert scrubbed(number, max_chars=500) == ("[removed: card number]", 1)
    assert scrubbed(number, max_chars=500, is_phone=True) == (number, 0)


@pytest.mark.parametrize("number", ["+4915112345678", "+49 151 1234 5678", "0049 151 12345678"])
def test_a_telephone_number_written_as_one_is_no_card_anywhere(number: str):
    assert scrubbed(f"Tel. {number}", max_chars=500) == (f"Tel. {number}", 0)


@pytest.mark.parametrize("card", ["4111 1111 1111 1111", "378282246310005", "30569309025904", "5555555555554444"])
def test_a_card_number_is_taken_out_of_a_field_for_telephone_numbers_too(card: str):
    assert scrubbed(card, max_chars=500, is_phone=True) == ("[removed: card number]", 1)


@given(
    st.sampled_from(SECRETS),
    st.text(" .,abcdefghij\n\u00fc()", max_size=60),
    st.text(" .,abcdefghij\n\u00fc()", max_size=60),
    st.integers(20, 300),
)
def test_no_secret_survives_wherever_it_stands_and_wherever_the_text_is_cut(
    planted: tuple[str, str], before: str, after: str, max_chars: int
):
    text, _ = scrubbed(f"{before} {planted[0]} {after}", max_chars=max_chars)
    # Not even the half of it that stands before the cut.
    assert planted[0][:12] not in text


@given(st.text(max_size=300), st.integers(0, 100))
def test_text_is_never_longer_than_its_limit_and_its_notes(text: str, max_chars: int):
    found, count = scrubbed(text, max_chars=max_chars)
    assert len(found) <= max_chars + count * len("[removed: bank account]")


def test_random_tokens_are_recognised():
    generator = random.Random(42)
    alphabets = {
        "base64url": "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_",
        "hex": "0123456789abcdef",
        "base36": "abcdefghijklmnopqrstuvwxyz0123456789",
    }
    for name, alphabet in alphabets.items():
        missed = sum(
            scrubbed("".join(generator.choices(alphabet, k=43)), max_chars=500)[1] == 0 for _ in range(1000)
        )  # fmt: skip
        assert missed <= 5, name


@pytest.mark.parametrize(
    "text",
    ["1 " * 10_000, "1" * 20_000, "DE1" * 7000, "DE12" * 5000, "eyJ" * 7000, "eyJaaaaaaaa." * 2000, "a" * 20_000],
)
def test_text_made_to_be_slow_is_read_to_its_end(text: str):
    assert len(scrubbed(text, max_chars=20_000)[0]) <= 20_000 + 40_000


# -- names


@pytest.mark.parametrize(
    "name, expected",
    [
        ("your-email", ["your", "email"]),
        ("contactEmail", ["contact", "email"]),
        ("tx_powermail_pi1[field][E-Mail]", ["tx", "powermail", "pi", "1", "field", "e", "mail"]),
        ("Stra\u00dfe_N\u00e4he", ["strasse", "naehe"]),
        ("cvv2", ["cvv", "2"]),
        ("", []),
    ],
)
def test_a_name_has_words(name: str, expected: list[str]):
    assert words(name) == expected


@pytest.mark.parametrize(
    "name, expected", [("a", "a"), ("a[b]", "b"), ("a[b][c]", "c"), ("a[]", "a"), ("a[b][]", "b"), ("[]", "")]
)
def test_a_name_has_an_innermost_name(name: str, expected: str):
    assert leaf(name) == expected


PASSWORDS = "password Passwort user_password userPassword user[password] user[plainPassword][first] pwd pass user_pass "
PASSWORDS += "pass1 current-password new_password1 passwort_mirror kennwort login[pw] passwordConfirm"


@pytest.mark.parametrize("name", PASSWORDS.split())
def test_a_field_for_a_password_is_one(name: str):
    assert is_password(name)


@pytest.mark.parametrize(
    "name", ["passport", "passenger", "kompass", "email", "passt_der_termin", "boarding_pass_no", "spass"]
)
def test_a_field_that_only_sounds_like_it_is_not_for_a_password(name: str):
    assert not is_password(name)


KINDS = {
    "password": "password pwd user[pass] tx_powermail_pi1[field][kennung_mirror] passphrase",
    "one-time code": "pin otp one-time-code one-time-password tan",
    "card": "cc-number cc-exp cc_csc card card_number cardNumber cvv cvc2 kreditkarte kreditkartennummer",
    "bank account": "iban IBAN bic kontonummer bankleitzahl account_number sepa_iban payment[iban]",
    "identity number": "ssn social_security_number steuer-id steuernummer sozialversicherungsnummer sozialvers_nr "
    "ausweisnummer passnummer versichertennummer",
}


@pytest.mark.parametrize("name, kind", [(name, kind) for kind, names in KINDS.items() for name in names.split()])
def test_a_name_tells_of_a_secret(name: str, kind: str):
    assert secret_kind(name) == kind


@pytest.mark.parametrize(
    "name",
    ["email", "name", "company", "topic", "shipping", "discard", "kompass", "spinner", "hotel", "gift-card[email]"],
)
def test_an_ordinary_name_tells_of_none(name: str):
    assert secret_kind(name) is None


TECHNICAL = """
    csrfmiddlewaretoken authenticity_token _token form_token form_build_id _wpnonce _wpcf7 _wpcf7_unit_tag
    tx_form_formframework[contact][__state] tx_form_formframework[contact][__currentPage] tx_x[__trustedProperties]
    tx_powermail_pi1[__referrer][@extension] gform_submit gform_unique_id state_5 is_submit_5 forminator_nonce
    g-recaptcha-response h-captcha-response cf-turnstile-response altcha d41d8cd98f00b204e9800998ecf8427e
    tx_powermail_pi1[field][__hp] honeypot my_honeypot_field
"""


@pytest.mark.parametrize("name", TECHNICAL.split())
def test_the_machinery_of_a_form_is_known(name: str):
    assert is_technical(name)


@pytest.mark.parametrize(
    "name", ["email", "your-name", "state_province", "announcement", "sicherheitsschuhe", "tx_x[field][mail]", "hp"]
)
def test_what_people_fill_in_is_no_machinery(name: str):
    assert not is_technical(name)


def test_a_honeypot_is_known_by_its_name():
    for name in ("tx_powermail_pi1[field][__hp]", "_gotcha", "bot-field", "my-honeypot", "wpforms[hp]"):
        assert is_honeypot(name)
    for name in ("hp", "website", "email", "honey"):
        assert not is_honeypot(name)
