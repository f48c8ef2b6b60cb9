from __future__ import annotations

import base64
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from standardwebhooks.webhooks import Webhook

from export.webhook_signature import key_of
from ropo import secrets
from ropo.secrets import SecretsError
from ropo.settings import load
from tracker import sealing
from tracker.identity import Identity
from tracker.settings import CookieSettings


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_keys_are_made_once_and_read_ever_after(tmp_path: Path):
    folder = tmp_path / "data" / "secrets"
    made = secrets.read_or_make(folder, webhooks=("erp", "crm"))
    assert secrets.read_or_make(folder, webhooks=("erp", "crm")) == made
    assert sorted(path.name for path in folder.iterdir()) == [
        "contact.keys", "cookie.keys", "webhook-crm.keys", "webhook-erp.keys",
    ]  # fmt: skip
    assert len({*made.cookie, *made.contact, *made.webhooks["erp"], *made.webhooks["crm"]}) == 4


def test_keys_are_for_their_owner_alone_whatever_the_umask(tmp_path: Path):
    before = os.umask(0)
    try:
        secrets.read_or_make(tmp_path / "secrets", webhooks=("erp",))
    finally:
        os.umask(before)
    assert mode_of(tmp_path / "secrets") == 0o700
    assert {mode_of(path) for path in (tmp_path / "secrets").iterdir()} == {0o600}


def test_keys_are_what_the_rooms_need(tmp_path: Path):
    keys = secrets.read_or_make(tmp_path / "secrets", webhooks=("erp",))
    sealer = sealing.Sealer(keys.contact)
    assert sealer.open(sealer.seal({"name": "E"}, "lead"), "lead") == {"name": "E"}
    assert len(base64.b64decode(keys.contact[0])) == len(base64.b64decode(sealing.new_key())) == sealing.KEY_BYTES
    assert Identity(keys.cookie, cookie=CookieSettings()).read(None, 0).state == "absent"
    assert keys.webhooks["erp"][0].startswith("whsec_")
    assert key_of(keys.webhooks["erp"][0])
    assert Webhook(keys.webhooks["erp"][0])


def test_keys_that_the_settings_bring_are_not_made(tmp_path: Path):
    config = tmp_path / "config.yaml"
    config.write_text(
        "proxy: {upstream: demo}\nstorage: {path: d}\ntracker: {cookie: {secrets: ['${COOKIE}']}}\nexport:\n  sinks:\n"
        "  - {type: webhook, name: own, url: 'http://a/', secret: '${HOOK}'}\n"
        "  - {type: webhook, name: made, url: 'http://b/'}\n  - {type: csv, name: file, folder: x}\n"
    )
    environ = {"COOKIE": "c" * 32, "HOOK": "whsec_" + base64.b64encode(b"k" * 24).decode()}
    needed = secrets.needed(load(config, environ=environ))
    assert needed == {"cookie": False, "webhooks": ("made",)}
    secrets.read_or_make(tmp_path / "secrets", **needed)
    assert sorted(path.name for path in (tmp_path / "secrets").iterdir()) == ["contact.keys", "webhook-made.keys"]


def test_a_second_line_is_a_newer_key_and_comments_do_not_count(tmp_path: Path):
    folder = tmp_path / "secrets"
    old = secrets.read_or_make(folder).contact[0]
    new = secrets.new_contact_key()
    secrets.contact_file(folder).write_text(f"# since 2025\n{old}\n\n# since 2026\n{new}\n")
    assert secrets.read_or_make(folder).contact == (old, new)
    assert secrets.read_contact_keys(folder) == (old, new)


def test_many_processes_at_once_agree_on_one_key(tmp_path: Path):
    folder = tmp_path / "secrets"
    with ThreadPoolExecutor(16) as pool:
        found = set(pool.map(lambda _: secrets.read_or_make(folder).contact, range(64)))
    assert len(found) == 1
    assert sorted(path.name for path in folder.iterdir()) == ["contact.keys", "cookie.keys"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_keys_that_others_may_read_are_refused_with_the_remedy(tmp_path: Path, mode: int):
    folder = tmp_path / "secrets"
    secrets.read_or_make(folder)
    path = secrets.contact_file(folder)
    path.chmod(mode)
    for use in (secrets.read_or_make, secrets.read_contact_keys, secrets.check):
        with pytest.raises(SecretsError, match=f"run: chmod 600 {path}"):
            use(folder)


def test_a_folder_that_others_may_write_to_is_refused(tmp_path: Path):
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets").chmod(0o770)
    with pytest.raises(SecretsError, match="run: chmod 700"):
        secrets.read_or_make(tmp_path / "secrets")


BROKEN = {
    "no key": (b"# nothing\n", "holds no key"),
    "empty": (b"", "holds no key"),
    "not base64": (b"hunter2\n", "line 1: not a contact key, which is 32 bytes in base64"),
    "too short": (base64.b64encode(b"hunter2"), "line 1: not a contact key"),
    "not text": (b"\xff\xfe", "is not text"),
    "too large": (b"#" * 70_000, "larger than"),
}


@pytest.mark.parametrize("content, words", BROKEN.values(), ids=BROKEN)
def test_a_broken_file_is_refused_and_never_replaced_nor_shown(tmp_path: Path, content: bytes, words: str):
    folder = tmp_path / "secrets"
    secrets.read_or_make(folder)
    path = secrets.contact_file(folder)
    path.write_bytes(content)
    with pytest.raises(SecretsError, match=words) as raised:
        secrets.read_or_make(folder)
    assert "hunter2" not in str(raised.value)
    assert path.read_bytes() == content


def test_what_cannot_be_made_is_told(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SecretsError, match="cannot be made"):
        secrets.read_or_make(tmp_path / "file" / "secrets")


def test_asking_makes_nothing(tmp_path: Path):
    assert secrets.read_contact_keys(tmp_path / "secrets") == ()
    assert secrets.check(tmp_path / "secrets", webhooks=("erp",)) == []
    assert not (tmp_path / "secrets").exists()
    secrets.read_or_make(tmp_path / "secrets")
    assert {path.name for path in secrets.check(tmp_path / "secrets", webhooks=("erp",))} == {
        "contact.keys",
        "cookie.keys",
    }


def test_a_repr_shows_no_key(tmp_path: Path):
    keys = secrets.read_or_make(tmp_path / "secrets", webhooks=("erp",))
    assert not any(key in repr(keys) for key in (*keys.cookie, *keys.contact, *keys.webhooks["erp"]))
