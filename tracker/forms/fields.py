"""Which field of a form means what: a form's own names onto lead fields.

Knows the names German and English forms use, HTML's autofill tokens, and how engines nest names. Knows nothing of
rules' success, secrets or sealing. What is not mapped here is dropped by whoever asks.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache

from tracker.forms.bodies import FormField
from tracker.forms.never_store import is_technical, leaf, secret_kind, words
from tracker.settings import LEAD_FIELDS

# Words around the one that counts: `your-email`, `contact[firstName]`, `tx_powermail_pi1[field][email]`.
_NOISE = {
    "your", "my", "the", "of", "ihr", "ihre", "ihren", "deine", "dein", "mein", "meine", "der", "die", "das",
    "form", "forms", "formular", "field", "fields", "feld", "felder", "input", "txt", "text", "textarea", "fld", "frm",
    "contact", "contactform", "kontakt", "kontaktformular", "kunde", "customer", "lead", "person", "personal", "data",
    "ansprechpartner", "anfrage", "request", "enquiry", "inquiry", "billing", "value", "values", "attributes",
    "properties", "payload", "variables", "jform", "wpforms", "tx", "pi", "powermail", "formframework", "webform",
    "elementor", "fluentform", "submitted", "submission", "required", "req", "pflicht", "mandatory",
}  # fmt: skip

# All words of a name but the noise, joined. WHATWG HTML section 4.13.1.8.3 names the autofill tokens.
_EXACT: dict[str, str] = {
    "salutation": "anrede salutation honorificprefix title titel gender geschlecht herrfrau mrmrs prefix",
    "first_name": "firstname vorname givenname forename fname namefirst firstnames vname rufname",
    "last_name": "lastname nachname familyname surname familienname lname namelast zuname nname sname",
    "name": "name fullname vollername vorundnachname vornamenachname vornameundnachname namevorname nachnamevorname "
    "firstlastname firstandlastname completename vorundzuname ansprechpartner kontaktperson contactperson contactname",
    "company": "company organization organisation firma unternehmen firmenname companyname firmaname "
    "unternehmensname org organizationname betrieb institution employer arbeitgeber business businessname",
    "position": "position jobtitle organizationtitle funktion function role rolle job beruf abteilung department",
    "email": "email mail emailadresse emailaddress mailadresse mailaddress emailadress replyto",
    "phone": "phone tel telefon telephone phonenumber telefonnummer telnr fon telnumber rufnummer "
    "telefonnr telnational phoneno festnetz telefonfestnetz telefongeschaeftlich businessphone phonework tele",
    "mobile": "mobile mobil handy mobilephone mobiltelefon mobilnummer handynummer cell cellphone mobilenumber mobilnr",
    "street": "street strasse streetaddress address adresse addressline address1 addressline1 strassehausnummer "
    "strassenr strassehausnr strasseundhausnummer anschrift strassenname strassehnr addressstreet",
    "postcode": "postcode plz postalcode zip zipcode postleitzahl postal addresszip addresspostalcode",
    "city": "city ort stadt town addresslevel2 wohnort locality addresscity standort",
    "country": "country land countryname staat addresscountry countrycode",
    "subject": "subject betreff thema topic anliegenart reason grund betreffzeile",
    "message": "message nachricht anliegen mitteilung comment comments kommentar bemerkung bemerkungen ihrenachricht "
    "freitext beschreibung description details question frage fragen body notes note notiz anmerkung anmerkungen "
    "nachrichtentext messagetext content inhalt msg hinweis wuensche wunsch textarea",
    "product": "product produkt artikel article productname produktname model modell item artikelnummer interest "
    "interesse interessiertan produktinteresse productinterest sku productid produktid",
    "callback_at": "callbackat callback rueckruf rueckrufzeit callbacktime wunschtermin termin preferredtime "
    "erreichbarkeit erreichbar rueckruftermin callbackdate wunschzeit preferreddate appointment rueckrufzeitpunkt",
    "consent": "consent datenschutz privacy einwilligung dsgvo gdpr agb terms privacypolicy datenschutzerklaerung "
    "acceptance zustimmung accept privacyaccepted datenschutzhinweis einverstaendnis optin policy dataprivacy",
}  # fmt: skip

_BY_EXACT = {joined: lead_field for lead_field, names in _EXACT.items() for joined in names.split()}

# A single word that is enough wherever it stands, tried only when the whole name is not known. In this order.
_BY_WORD: list[tuple[str, set[str]]] = [
    ("consent", {
        "consent", "datenschutz", "privacy", "einwilligung", "dsgvo", "gdpr", "agb", "acceptance", "zustimmung",
        "datenschutzerklaerung", "einverstaendnis",
    }),
    ("email", {"email", "emailadresse", "mailadresse", "mail"}),
    ("callback_at", {"rueckruf", "callback", "rueckrufzeit", "wunschtermin"}),
    ("mobile", {"mobile", "mobil", "handy", "mobilnummer", "handynummer", "mobiltelefon", "cellphone"}),
    ("phone", {"phone", "telefon", "telephone", "telefonnummer", "tel", "fon", "rufnummer", "phonenumber"}),
    ("first_name", {"vorname", "firstname", "givenname", "forename"}),
    ("last_name", {"nachname", "lastname", "familyname", "surname", "familienname"}),
    ("company", {"firma", "company", "unternehmen", "firmenname", "organisation", "organization", "companyname"}),
    ("postcode", {"plz", "postcode", "postleitzahl", "zip", "zipcode", "postalcode"}),
    ("street", {"strasse", "street"}),
    ("city", {"ort", "city", "stadt"}),
    ("country", {"country"}),
    ("salutation", {"anrede", "salutation"}),
    ("position", {"position", "jobtitle", "funktion"}),
    ("subject", {"betreff", "subject"}),
    ("product", {"produkt", "product"}),
    ("message", {"nachricht", "message", "anliegen", "mitteilung", "kommentar", "bemerkung"}),
]  # fmt: skip

# These words make another thing of it: `company_id`, `email_confirm`, `phone_type`, `mail_subject_template`.
_OTHER_THING = {
    "confirm", "confirmation", "repeat", "wiederholen", "wiederholung", "bestaetigung", "bestaetigen", "verify",
    "id", "type", "typ", "template", "hash", "token", "newsletter", "to", "bcc", "cc", "recipient", "empfaenger",
    "url", "website", "utm", "username", "login", "file", "datei", "prefix", "extension", "format", "count",
    "version", "step", "page", "source", "campaign", "marketing", "default", "placeholder", "error", "success",
}  # fmt: skip

# The page's own names for itself.
_NOT_OURS = {"formname", "formid", "formtitle", "pagename", "pagetitle", "sitename", "eventname", "hostname"}

# Joined pairs that splitting at dividers tears apart: e-mail, first name, zip code.
_PAIRS = {
    ("e", "mail"): "email", ("first", "name"): "firstname", ("last", "name"): "lastname",
    ("given", "name"): "givenname", ("family", "name"): "familyname", ("vor", "name"): "vorname",
    ("nach", "name"): "nachname", ("zip", "code"): "zipcode", ("post", "code"): "postcode",
    ("postal", "code"): "postalcode", ("phone", "number"): "phonenumber", ("call", "back"): "callback",
    ("job", "title"): "jobtitle", ("company", "name"): "companyname", ("firmen", "name"): "firmenname",
    ("rueck", "ruf"): "rueckruf", ("cell", "phone"): "cellphone", ("mobil", "telefon"): "mobiltelefon",
}  # fmt: skip


@lru_cache(4096)
def lead_field_of(name: str) -> str | None:
    """The lead field that a form's field of this name fills; None if it cannot be told from the name."""
    if is_technical(name) or secret_kind(name) or "".join(words(leaf(name))) in _NOT_OURS:
        return None
    inner = _telling(words(leaf(name)))
    # `firma[name]` is known as a whole, `tx_form[contact][email]` by its leaf, `address-level2` with its digit.
    for parts in (_telling(words(name)), inner):
        if found := _BY_EXACT.get("".join(parts)) or _BY_EXACT.get("".join(_without_number(parts))):
            return found
    if not _OTHER_THING.isdisjoint(inner):
        return None
    return next((lead_field for lead_field, known in _BY_WORD if not known.isdisjoint(inner)), None)


def _telling(parts: list[str]) -> list[str]:
    """The words that tell what a field is: pairs joined, noise left out unless there is nothing else."""
    joined: list[str] = []
    for part in parts:
        if joined and (pair := _PAIRS.get((joined[-1], part))):
            joined[-1] = pair
        else:
            joined.append(part)
    telling = [part for part in joined if part not in _NOISE]
    return telling if any(not part.isdigit() for part in telling) else joined


def _without_number(parts: list[str]) -> list[str]:
    return [part for part in parts if not part.isdigit()]


def mapped(
    fields: Iterable[FormField], *, named: Mapping[str, Callable[[str], bool]] | None = None
) -> dict[str, list[FormField]]:
    """The fields that fill lead fields, by lead field in the order of LEAD_FIELDS; empty values are left out.

    `named`: what a rule says, lead field to a test of the form's field name. What a rule names is not guessed, and a
    field that a rule names means nothing else. Of several names for one lead field the best known counts, then the
    first: `email` before `email_2`. Values of a repeated name stay together.
    """
    named = named or {}
    chosen: dict[str, tuple[int, str, list[FormField]]] = {}
    nameless: list[FormField] = []
    for field in fields:
        if not field.value.strip():
            continue
        lead_field = next((lead_field for lead_field, fits in named.items() if fits(field.name)), None)
        doubt = 0
        if lead_field is None:
            lead_field = lead_field_of(field.name)
            if lead_field in named:
                continue
            if lead_field is None:
                if _says_nothing(field.name):
                    nameless.append(field)
                continue
            doubt = _doubt(field.name)
        kept = chosen.get(lead_field)
        if kept is None or doubt < kept[0]:
            chosen[lead_field] = (doubt, field.name, [field])
        elif field.name == kept[1]:
            kept[2].append(field)
    if "email" not in chosen and "email" not in named:
        # Gravity Forms and WPForms call their fields `input_3` and `wpforms[fields][3]`: only the value can tell.
        found = next((field for field in nameless if is_email(field.value)), None)
        if found:
            chosen["email"] = (2, found.name, [found])
    return {lead_field: chosen[lead_field][2] for lead_field in LEAD_FIELDS if lead_field in chosen}


@lru_cache(4096)
def _doubt(name: str) -> int:
    """0 for a name the table knows as it stands, 1 for `email_2` and for what only one of its words told."""
    return int("".join(_telling(words(leaf(name)))) not in _BY_EXACT)


@lru_cache(4096)
def _says_nothing(name: str) -> bool:
    return not is_technical(name) and all(part.isdigit() or part in _NOISE for part in words(name))


# RFC 5321 section 4.5.3.1.3 allows 254 characters; the shape is what people type, not all that RFC 5322 permits.
_is_email = re.compile(
    r"[^\s@<>()\[\],;:\"\\]{1,64}@(?:[^\s@<>()\[\],;:\"\\./]{1,63}\.){1,10}[^\W\d_][^\W_]{1,62}"
).fullmatch
_is_phone = re.compile(r"\+?[\d\s()/.\-\u2010-\u2015]{5,30}(?:(?:ext|x|dw|app)\.?\s?\d{1,6})?", re.IGNORECASE).fullmatch


def is_email(value: str) -> bool:
    """Whether a value looks like one e-mail address."""
    value = value.strip()
    return len(value) <= 254 and _is_email(value) is not None


def is_phone(value: str) -> bool:
    """Whether a value looks like one telephone number: 6 to 15 digits (ITU-T E.164) and what people put between."""
    value = value.strip()
    return _is_phone(value) is not None and 6 <= sum(map(str.isdigit, value)) <= 17
