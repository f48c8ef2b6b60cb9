import pytest

from ropo.demo.forms import CALLBACK, CONTACT, filled

GOOD = {"name": "Erika Muster", "email": "erika@example.com", "nachricht": "Guten Tag", "datenschutz": "1"}


def test_a_complete_contact_form_is_accepted_and_its_values_are_trimmed():
    result = filled(CONTACT, GOOD | {"name": "  Erika Muster "}, "de")
    assert result.accepted
    assert result.values["name"] == "Erika Muster"
    assert "Erika" not in repr(result)


@pytest.mark.parametrize(
    ("sent", "wrong"),
    [
        ({"name": " "}, "name"),
        ({"email": ""}, "email"),
        ({"email": "erika@example"}, "email"),
        ({"email": "erika at example.com"}, "email"),
        ({"email": "a@b.de c@d.de"}, "email"),
        ({"nachricht": ""}, "message"),
        ({"nachricht": "x" * 5001}, "message"),
        ({"datenschutz": ""}, "privacy"),
        ({"telefon": "call me"}, "phone"),
        ({"telefon": "123"}, "phone"),
        ({"produkt": "MW-Other"}, "product"),
        ({"name": b"a file"}, "name"),
    ],
)
def test_each_field_that_is_wrong_is_told(sent, wrong):
    assert set(filled(CONTACT, GOOD | sent, "de").errors) == {wrong}


def test_complaints_are_in_the_language_of_the_form():
    assert filled(CONTACT, {}, "de").errors["privacy"] == "Bitte bestätigen."
    assert filled(CONTACT, {}, "en").errors["privacy"] == "Please confirm."


@pytest.mark.parametrize("phone", ["+49 7132 555-0100", "07132/5550100", "(07132) 555 01 00"])
def test_a_call_back_needs_a_number_and_a_time(phone):
    good = {"name": "E", "phone": phone, "preferred_time": "As soon as possible", "privacy": "on"}
    assert filled(CALLBACK, good, "en").accepted
    assert set(filled(CALLBACK, good | {"phone": "", "preferred_time": "never"}, "en").errors) == {"phone", "when"}
