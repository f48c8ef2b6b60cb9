"""What must never reach the disk, whoever typed it into whatever field. Found by the field's name, and by the value.

Knows names that forms give to secrets and to their own machinery, and the shapes of card numbers, bank accounts and
tokens. Knows nothing of leads or rules. Pure; every search is linear in the text, which a stranger wrote.
"""

from __future__ import annotations

import re
import unicodedata
from itertools import pairwise

# -- by name

# Words of a name, joined: `userPassword`, `user_password` and `user[password]` are all found.
_PASSWORD_PARTS = ("password", "passwort", "passwd", "kennwort", "passphrase")
_PASSWORD_NAMES = {"pwd", "pass", "pw", "userpass", "loginpass", "pass1", "pass2", "pass1text"}

# W3C HTML autofill tokens and what German and English forms call the same things.
_SECRETS: dict[str, tuple[set[str], tuple[str, ...]]] = {
    # kind: (whole words of the name, parts of the name without dividers)
    "one-time code": ({"pin", "otp", "tan", "totp", "mfa"}, ("onetimecode", "onetimepassword", "twofactor")),
    "password": ({"pwd", "pass", "pw"}, _PASSWORD_PARTS),
    "card": (
        {"card", "cc", "cvv", "cvv2", "cvc", "cvc2", "csc", "kreditkarte", "creditcard"},
        (
            "cardnumber", "cardholder", "cardexp", "cardcvc", "cardcvv", "ccnumber", "ccname", "ccexp", "cccsc",
            "cctype", "kreditkarte", "kartennummer", "kartennr", "kartenpruef", "creditcard", "pruefziffer",
        ),
    ),
    "bank account": (
        {"iban", "bic", "swift", "blz"},
        ("iban", "kontonummer", "kontonr", "bankleitzahl", "bankverbindung", "accountnumber", "kontoinhaber"),
    ),
    "identity number": (
        {"ssn", "svnr", "svnummer", "rvnr"},
        (
            "socialsecurity", "sozialvers", "rentenvers", "versichertennummer", "versichertennr", "steuerid",
            "steueridnr", "steuernummer", "steueridentifikation", "taxid", "personalausweis", "ausweisnummer",
            "ausweisnr", "passnummer", "passportnumber", "reisepass",
        ),
    ),
}  # fmt: skip

# The form's own machinery: tokens, state, checks for robots. Exact leaves, beginnings and parts of the lowered name.
_TECHNICAL_NAMES = {
    "csrfmiddlewaretoken", "authenticity_token", "csrf_token", "csrftoken", "csrf", "_token", "_csrf", "_csrf_token",
    "__requestverificationtoken", "form_token", "form_build_id", "antibot_key", "nonce", "security",
    "__trustedproperties", "__referrer", "__state", "__session", "__hmac", "altcha", "captcha", "frc-captcha-solution",
    "request_token", "requesttoken", "phpsessid", "__viewstate", "__viewstategenerator", "__eventvalidation",
    "__eventtarget", "__eventargument", "ak_js", "ak_hp_textarea", "mosparo-token",
}  # fmt: skip
_TECHNICAL_STARTS = ("_wp", "gform_", "is_submit_", "ak_", "__", "apbct", "ct_bot_detector")
_TECHNICAL_PARTS = ("nonce", "recaptcha", "g-recaptcha", "h-captcha", "hcaptcha", "cf-turnstile", "csrf", "altcha")
# Joomla names a field after its token; Gravity Forms keeps the form's state in `state_7`.
_is_technical = re.compile(r"[0-9a-f]{32,128}|state_\d+").fullmatch

# Fields people cannot see: who fills one in is a robot.
_HONEYPOT_NAMES = {
    "__hp", "_gotcha", "_honey", "_honeypot", "gotcha", "bot-field", "bot_field", "botfield",
    "leave_blank", "leave_this_blank", "leave_empty", "ak_hp_textarea",
    "wpforms[hp]",
}  # fmt: skip

_words_of = re.compile(r"[0-9]+|[^\W\d_]+").findall
_humps = re.compile(r"(?<=[a-zäöüß0-9])(?=[A-ZÄÖÜ])")
_leaf_of = re.compile(r"\[([^\[\]]*)\]$").search


def words(name: str) -> list[str]:
    """The words of a field's name, lower case, umlauts written out: `jform[contactEmail]` -> jform, contact, email."""
    name = _humps.sub(" ", unicodedata.normalize("NFKC", name[:200])).lower()
    name = name.replace("ä", "ae").replace("ö", "oe").replace("ü", "ue").replace("ß", "ss")
    return _words_of(name)


def leaf(name: str) -> str:
    """The innermost name: `tx_form[contact][email]` -> email; `fields[]` -> fields."""
    name = name.removesuffix("[]")
    found = _leaf_of(name)
    return found[1] if found and found[1] else name


def is_password(name: str) -> bool:
    """Whether a field takes a password. A form with one is a login or a registration, and not ours to look at."""
    joined = "".join(words(name))
    return any(part in joined for part in _PASSWORD_PARTS) or "".join(words(leaf(name))) in _PASSWORD_NAMES


def is_honeypot(name: str) -> bool:
    """Whether a field is there for robots only. One that is filled in makes the form spam."""
    lowered = name.lower()
    return lowered in _HONEYPOT_NAMES or leaf(lowered) in _HONEYPOT_NAMES or "honeypot" in lowered


def is_technical(name: str) -> bool:
    """Whether a field belongs to the form's machinery, not to the person who filled it in."""
    lowered = name.lower()
    inner = leaf(lowered)
    return (
        inner in _TECHNICAL_NAMES
        or lowered.startswith(_TECHNICAL_STARTS)
        or "[__" in lowered
        or any(part in inner for part in _TECHNICAL_PARTS)
        or _is_technical(inner) is not None
        or is_honeypot(name)
    )


def secret_kind(name: str) -> str | None:
    """What kind of secret a field with this name takes; None if none."""
    # Whole words only of the innermost name: a form called `gift-card` asks for an address all the same.
    inner, joined = words(leaf(name)), "".join(words(name))
    # Powermail's second password field is called like the first, with this ending.
    if name.lower().removesuffix("]").endswith("_mirror"):
        return "password"
    for kind, (whole, pieces) in _SECRETS.items():
        if not whole.isdisjoint(inner) or any(piece in joined for piece in pieces):
            return kind
    return None


# -- by value

_MARKS = {
    "card": "[removed: card number]",
    "account": "[removed: bank account]",
    "token": "[removed: token]",
    "password": "[removed: password]",
    "code": "[removed: code]",
}

# Dividers people and programs put into numbers: blanks of all widths, dots, dashes. At most two in a row.
_DIVIDERS = " .-\u00a0\u2007\u2009\u202f\u2010\u2011\u2013\u2014"
_DIVIDER = f"[{re.escape(_DIVIDERS)}]"
_digit_runs = re.compile(rf"\d(?:{_DIVIDER}{{0,2}}\d){{12,}}").finditer
_digit_groups = re.compile(r"\d+").finditer
_account_starts = re.compile(r"[A-Za-z]{2}[ \u00a0]?\d").finditer

# SWIFT's IBAN registry, release 99: length by country.
_ACCOUNT_LENGTHS = {
    country: length
    for length, countries in {
        15: "NO", 16: "BE", 18: "DK FI FK FO GL NL SD", 19: "MK SI", 20: "AT BA EE KZ LT LU MN XK",
        21: "CH CR HR LI LV", 22: "BG BH DE GB GE IE ME RS VA", 23: "AE GI IL IQ OM SO TL",
        24: "AD CZ ES MD PK RO SA SE SK TN VG", 25: "LY PT ST", 26: "IS TR", 27: "BI DJ FR GR IT MC MR SM",
        28: "AL AZ BY CY DO GT HN HU LB NI PL SV", 29: "BR EG PS QA UA", 30: "JO KW MU YE", 31: "MT SC",
        32: "LC", 33: "RU",
    }.items()
    for country in countries.split()
}  # fmt: skip

# RFC 7519 section 3: parts in base64url; the first is a JSON object, so it begins with `eyJ`.
_jwts = re.compile(r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{4,}(?:\.[A-Za-z0-9_-]*){0,3}").finditer
_token_runs = re.compile(r"[A-Za-z0-9+/_=-]{32,}").finditer
_alnum_runs = re.compile(r"[A-Za-z0-9]+").findall

# "Passwort: geheim", "password is secret", "PIN 1234"; only the secret itself goes.
_told_passwords = re.compile(
    r"(?i)\b(?:pass(?:word|wort|wd|phrase)|kennwort|pwd)[ \t]{0,3}(?:[:=]|(?:ist|lautet|is)\b)[ \t]{0,3}(\S{3,})"
).finditer
_told_codes = re.compile(r"(?i)\b(?:pin|tan|otp|cvv2?|cvc2?|csc)\b[ \t]{0,3}[:=]?[ \t]{0,3}(\d{3,8})\b").finditer

# What begins just before the cut is still seen whole: the longest number with its dividers is about 100 characters.
_BEYOND_CUT = 128


def scrubbed(text: str, *, max_chars: int, is_phone: bool = False) -> tuple[str, int]:
    """The text with every secret replaced by a note of what stood there, cut to `max_chars`; and how many there were.

    `is_phone`: the field asks for a telephone number. Those have up to 15 digits (ITU-T E.164), and one in ten passes
    for a card number, so only what no telephone number can be is taken from it.
    """
    secrets = _secrets_in(text[: max_chars + _BEYOND_CUT], is_phone=is_phone)
    kept, at = [], 0
    count = 0
    for start, end, kind in secrets:
        if start >= max_chars:
            break
        # Of two that overlap the first has its note; the second only makes the gap longer.
        if start >= at:
            kept += (text[at:start], _MARKS[kind])
            count += 1
        at = max(at, end)
    kept.append(text[at:max_chars])
    return "".join(kept), count


def _secrets_in(text: str, *, is_phone: bool) -> list[tuple[int, int, str]]:
    """Where secrets stand: start, end, kind; in order."""
    found = [(*match.span(1), "password") for match in _told_passwords(text)]
    found += [(*match.span(1), "code") for match in _told_codes(text)]
    found += [(*match.span(), "token") for match in _jwts(text)]
    found += [(*match.span(), "token") for match in _token_runs(text) if _is_token(match[0])]
    found += _accounts_in(text)
    for run in _digit_runs(text):
        after_plus = run.start() > 0 and text[run.start() - 1] == "+"
        found += _cards_in(run[0], run.start(), is_phone=is_phone or after_plus)
    return sorted(found)


def _is_token(run: str) -> bool:
    """Whether an unbroken run of 32 characters or more is a key, and not a long word, a path or a list of part numbers.

    Random text changes between small letters, capitals and digits at every second or third character; words seldom
    do. Part numbers do as well, but in one case only, and in short pieces.
    """
    pieces = _alnum_runs(run)
    signs = "".join(pieces)
    longest = max(pieces, key=len, default="")
    classes = ["0" if sign.isdigit() else "A" if sign.isupper() else "a" for sign in signs]
    changes = sum(one != other for one, other in pairwise(classes))
    if len(set(classes)) == 1 or len(signs) < 24:
        return False
    if "A" in classes and "a" in classes:
        return changes >= len(signs) * 0.35
    return len(longest) >= 24 and changes >= len(signs) * 0.15


def _accounts_in(text: str) -> list[tuple[int, int, str]]:
    found = []
    for match in _account_starts(text):
        start = match.start()
        wanted = _ACCOUNT_LENGTHS.get(text[start : start + 2].upper())
        if wanted is None:
            continue
        signs, at, gap = [], start, 0
        while at < len(text) and len(signs) < wanted and gap <= 2:
            sign = text[at]
            if sign in _DIVIDERS:
                gap += 1
            elif sign.isascii() and sign.isalnum():
                signs.append(sign.upper())
                gap = 0
            else:
                break
            at += 1
        if len(signs) == wanted and _is_account("".join(signs)):
            found.append((start, at, "account"))
    return found


def _is_account(signs: str) -> bool:
    # In every country more than half of it is digits; prose that happens to fit the checksum is not.
    if not signs[2:4].isdigit() or sum(sign.isdigit() for sign in signs) * 2 < len(signs):
        return False
    # ISO 13616 / ISO 7064: country and check digits go to the end, A = 10 ... Z = 35, the rest of 97 is 1.
    return int("".join(str(int(sign, 36)) for sign in signs[4:] + signs[:4])) % 97 == 1


def _cards_in(run: str, offset: int, *, is_phone: bool) -> list[tuple[int, int, str]]:
    """Card numbers in a run of digits and dividers: any whole groups of digits that together pass for one."""
    groups = [match.span() for match in _digit_groups(run)]
    digits = [int(run[at]) for start, end in groups for at in range(start, end)]
    # Luhn (ISO/IEC 7812-1) in constant time for any window: sums of all digits with the even, with the odd doubled.
    even, odd = [0], [0]
    for at, digit in enumerate(digits):
        doubled = digit * 2 - 9 if digit > 4 else digit * 2
        even.append(even[-1] + (digit if at % 2 else doubled))
        odd.append(odd[-1] + (doubled if at % 2 else digit))
    found, first = [], 0
    for index, (start, _) in enumerate(groups):
        last = first
        for other in range(index, len(groups)):
            last += groups[other][1] - groups[other][0]
            if last - first > 19:
                break
            # From the right, every second digit is doubled, the last one is not.
            sums = odd if last % 2 else even
            if (
                last - first >= 13
                and (sums[last] - sums[first]) % 10 == 0
                and _may_be_card(digits[first:last], grouped=other > index, is_phone=is_phone)
            ):
                found.append((offset + start, offset + groups[other][1], "card"))
        first += groups[index][1] - groups[index][0]
    return found


def _may_be_card(digits: list[int], *, grouped: bool, is_phone: bool) -> bool:
    first, length = digits[0], len(digits)
    if first == 0:
        return False
    if is_phone and length < 16:
        # American Express 34 and 37, Diners 30, 36 and 38: the only shorter ones still given out.
        return (length, first, digits[1]) in {(15, 3, 4), (15, 3, 7), (14, 3, 0), (14, 3, 6), (14, 3, 8)}
    # In groups, only what the card schemes use (ISO/IEC 7812: 2 to 6): lists of numbers have many windows.
    return not grouped or 2 <= first <= 6
