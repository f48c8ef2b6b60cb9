"""Contacts at rest: what is sealed opens for its lead alone, and nothing of it shows otherwise."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracker.sealing import Sealer, UnsealError, new_key

CONTACT = {"email": "erika@example.com", "message": "Grüße ✓"}
OLD, NEW = new_key(), new_key()


@given(st.dictionaries(st.text(max_size=20), st.text(max_size=200)), st.text(max_size=40))
def test_what_was_sealed_opens_as_it_was(contact: dict[str, str], lead_id: str):
    sealer = Sealer([NEW])
    assert sealer.open(sealer.seal(contact, lead_id), lead_id) == contact


def test_the_same_contact_is_never_sealed_the_same_way():
    sealer = Sealer([NEW])
    assert len({sealer.seal(CONTACT, "lead-1") for _ in range(100)}) == 100


def test_a_sealed_contact_is_a_version_a_key_and_a_box():
    sealed = Sealer([NEW]).seal(CONTACT, "lead-1")
    version, key_id, box = sealed.split(".")
    assert version == "v1"
    assert len(key_id) == 8
    assert not set(box) & set("+/=")
    assert "erika" not in sealed and b"erika" not in base64.urlsafe_b64decode(box + "=" * (-len(box) % 4))


def test_a_sealed_contact_cannot_be_moved_to_another_lead():
    sealer = Sealer([NEW])
    with pytest.raises(UnsealError, match="belongs to another lead"):
        sealer.open(sealer.seal(CONTACT, "lead-1"), "lead-2")


def test_the_newest_key_seals_and_every_key_opens():
    both = Sealer([OLD, NEW])
    assert both.open(Sealer([OLD]).seal(CONTACT, "lead-1"), "lead-1") == CONTACT
    assert Sealer([NEW]).open(both.seal(CONTACT, "lead-1"), "lead-1") == CONTACT


def test_a_dropped_key_erases_what_it_sealed():
    with pytest.raises(UnsealError, match="not among the contact keys"):
        Sealer([NEW]).open(Sealer([OLD]).seal(CONTACT, "lead-1"), "lead-1")


# Sealed once: the nonce is random, and what is drawn below must not depend on it from one try to the next.
SEALED = Sealer([NEW]).seal(CONTACT, "lead-1")


@given(st.data())
def test_a_sealed_contact_with_any_sign_changed_does_not_open(data: st.DataObject):
    sealer, sealed = Sealer([NEW]), SEALED
    # The last sign of base64 may carry bits that mean nothing.
    place = data.draw(st.integers(0, len(sealed) - 2))
    sign = data.draw(st.sampled_from("abcXYZ019-_.=/ ").filter(lambda sign: sign != sealed[place]))
    changed = sealed[:place] + sign + sealed[place + 1 :]
    with pytest.raises(UnsealError) as error:
        sealer.open(changed, "lead-1")
    assert "erika" not in str(error.value)
    assert error.value.__cause__ is None


@pytest.mark.parametrize(
    "text", ["", "v1", "v1.", "v1..", "v2.aaaaaaaa.AAAA", "erika@example.com", "v1.x.y", "\0" * 50]
)
def test_what_is_no_sealed_contact_is_refused_without_being_quoted(text: str):
    with pytest.raises(UnsealError) as error:
        Sealer([NEW]).open(text, "lead-1")
    assert not text or text not in str(error.value)


def test_a_box_cut_short_is_refused():
    sealer = Sealer([NEW])
    head = ".".join(sealer.seal(CONTACT, "lead-1").split(".")[:2])
    for box in ("A", "AAAA", "A" * 36, "!!!!"):
        with pytest.raises(UnsealError, match="cut short|was changed"):
            sealer.open(f"{head}.{box}", "lead-1")


@pytest.mark.parametrize(
    "key", ["", "short", base64.b64encode(b"x" * 31).decode(), "not base64 at all! but long enough for it"]
)
def test_a_bad_key_is_refused_without_being_quoted(key: str):
    with pytest.raises(ValueError, match="contact key 2") as error:
        Sealer([NEW, key])
    assert not key or key not in str(error.value)


def test_no_key_at_all_is_refused():
    with pytest.raises(ValueError, match="at least one key"):
        Sealer([])


def test_a_key_is_read_in_either_alphabet_and_with_or_without_padding():
    raw = bytes(range(224, 256))
    sealed = Sealer([base64.b64encode(raw).decode()]).seal(CONTACT, "lead-1")
    assert Sealer([base64.urlsafe_b64encode(raw).decode().rstrip("=")]).open(sealed, "lead-1") == CONTACT


def test_the_repr_shows_no_key():
    shown = repr(Sealer([OLD, NEW]))
    assert "2 keys" in shown
    assert OLD not in shown and NEW not in shown


def test_a_new_key_is_32_random_bytes():
    assert len(base64.b64decode(new_key())) == 32
    assert new_key() != new_key()
