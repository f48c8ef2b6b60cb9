"""The site's two forms: their fields and what the site accepts. Pure; knows nothing of HTTP."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from ropo.demo.catalogue import Language, Text

# Good enough for a contact form: one @, a dot after it, no spaces. Only a mail that arrives proves an address.
EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s.]+")
PHONE = re.compile(r"\+?[0-9 ()/.-]+")
LONGEST = 5000


@dataclass(frozen=True)
class Field:
    """One input. `names` are what it is called in each language's form, `wrong` is said when it is not accepted."""

    key: str
    names: Text
    labels: Text
    kind: str = "text"
    autocomplete: str = ""
    required: bool = False
    wrong: Text = field(default_factory=lambda: {"de": "Bitte ausfüllen.", "en": "Please fill in."})
    choices: dict[Language, tuple[str, ...]] = field(default_factory=dict)


NAME = Field("name", {"de": "name", "en": "name"}, {"de": "Name", "en": "Name"}, "text", "name", True)
COMPANY = Field("company", {"de": "firma", "en": "company"}, {"de": "Firma", "en": "Company"}, "text", "organization")
EMAIL_FIELD = Field(
    "email", {"de": "email", "en": "email"}, {"de": "E-Mail", "en": "E-mail"}, "email", "email", True,
    {"de": "Bitte eine gültige E-Mail-Adresse angeben.", "en": "Please give a valid e-mail address."},
)  # fmt: skip
PHONE_FIELD = Field(
    "phone", {"de": "telefon", "en": "phone"}, {"de": "Telefon", "en": "Phone"}, "tel", "tel", False,
    {"de": "Bitte eine gültige Telefonnummer angeben.", "en": "Please give a valid phone number."},
)  # fmt: skip
MESSAGE = Field(
    "message", {"de": "nachricht", "en": "message"}, {"de": "Nachricht", "en": "Message"}, "textarea", "", True
)
PRIVACY = Field(
    "privacy", {"de": "datenschutz", "en": "privacy"},
    {"de": "Ich habe die Datenschutzhinweise gelesen.", "en": "I have read the privacy notice."}, "checkbox", "", True,
    {"de": "Bitte bestätigen.", "en": "Please confirm."},
)  # fmt: skip
PRODUCT = Field(
    "product", {"de": "produkt", "en": "product"}, {"de": "Maschine", "en": "Machine"}, "select",
    choices={
        "de": ("", "MW-Press 160", "MW-Laser 3015", "MW-Finish 900"),
        "en": ("", "MW-Press 160", "MW-Laser 3015", "MW-Finish 900"),
    },
)  # fmt: skip
WHEN = Field(
    "when", {"de": "rueckruf_zeit", "en": "preferred_time"}, {"de": "Wann passt es?", "en": "When does it suit you?"},
    "select", "", True, {"de": "Bitte auswählen.", "en": "Please choose."},
    {
        "de": ("", "Vormittags, 8 bis 12 Uhr", "Nachmittags, 12 bis 17 Uhr", "So bald wie möglich"),
        "en": ("", "In the morning, 8 to 12", "In the afternoon, 12 to 5", "As soon as possible"),
    },
)  # fmt: skip

CONTACT = (NAME, COMPANY, EMAIL_FIELD, PHONE_FIELD, PRODUCT, MESSAGE, PRIVACY)
CALLBACK = (NAME, replace(PHONE_FIELD, required=True), WHEN, PRIVACY)


@dataclass(frozen=True)
class Filled:
    """A form as someone filled it in: values and complaints by the field's key."""

    values: dict[str, str] = field(default_factory=dict, repr=False)
    errors: dict[str, str] = field(default_factory=dict)

    @property
    def accepted(self) -> bool:
        return not self.errors


def filled(fields: tuple[Field, ...], sent: Mapping[str, object], language: Language) -> Filled:
    """What was sent, checked. Whatever is not text (an uploaded file) counts as empty."""
    values, errors = {}, {}
    for one in fields:
        raw = sent.get(one.names[language], "")
        value = raw.strip() if isinstance(raw, str) else ""
        values[one.key] = value
        if not (is_right(one, value, language) if value else not one.required):
            errors[one.key] = one.wrong[language]
    return Filled(values, errors)


def is_right(one: Field, value: str, language: Language) -> bool:
    if len(value) > LONGEST:
        return False
    if one.kind == "email":
        return EMAIL.fullmatch(value) is not None
    if one.kind == "tel":
        return PHONE.fullmatch(value) is not None and 6 <= sum(character.isdigit() for character in value) <= 15
    if one.kind == "select":
        return value in one.choices[language]
    return True
