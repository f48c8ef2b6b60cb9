import base64
import json
from datetime import UTC, datetime
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook

from ropo.demo import erp
from ropo.demo.erp import Inbox, Received, make_erp, read_keys, shown

NOW = 1_795_000_000.0
SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
LEAD = {
    "lead_id": "0193",
    "page": "/de/kontakt/",
    "contact": {"name": "Erika Muster", "email": "erika@example.com"},
    "first_touch": {"channel": "Paid Search", "source": "google", "medium": "cpc", "campaign": "spring"},
    "last_touch": None,
    "touchpoints": [],
    "visits": 2,
}


def webhook(data=LEAD, *, webhook_id="d1", at=NOW, secret=SECRET, kind="lead.created", body=None):
    """Headers and body, signed by the specification's own library."""
    body = json.dumps({"type": kind, "timestamp": "2026-11-22T10:00:00Z", "data": data}) if body is None else body
    signature = Webhook(secret).sign(webhook_id, datetime.fromtimestamp(int(at), UTC), body)
    headers = {"webhook-id": webhook_id, "webhook-timestamp": str(int(at)), "webhook-signature": signature}
    return {"data": body, "headers": headers | {"Content-Type": "application/json"}}


@pytest.fixture
def secret_file(tmp_path):
    path = tmp_path / "webhook-erp.keys"
    path.write_text(f"# made by ropo\n\n{SECRET}\n")
    return path


@pytest.fixture
async def inbox(aiohttp_client, secret_file):
    return await aiohttp_client(make_erp(secret_file, now=lambda: NOW))


async def test_a_signed_lead_is_booked_and_shown(inbox):
    answer = await inbox.post("/leads", **webhook())
    assert (answer.status, await answer.json()) == (201, {"id": "L-1001", "duplicate": False})
    html = await (await inbox.get("/")).text()
    assert "Erika Muster" in html
    assert "Paid Search: google / cpc / spring" in html


async def test_a_repeated_webhook_is_booked_once(inbox):
    await inbox.post("/leads", **webhook())
    again = await inbox.post("/leads", **webhook(at=NOW + 60))
    assert (again.status, await again.json()) == (200, {"id": "L-1001", "duplicate": True})
    await inbox.post("/leads", **webhook(webhook_id="d2"))
    leads = await (await inbox.get("/leads")).json()
    assert [(lead["webhook_id"], lead["times"]) for lead in leads] == [("d1", 2), ("d2", 1)]
    assert leads[0]["data"] == LEAD


def without(field):
    sent = webhook()
    del sent["headers"][field]
    return sent


def changed(field, value):
    sent = webhook()
    sent["headers"][field] = value
    return sent


OTHER = "whsec_" + base64.b64encode(bytes(32)).decode()
FORGED = {
    "another key": webhook(secret=OTHER),
    "another body": webhook() | {"data": webhook()["data"] + " "},
    "another id": changed("webhook-id", "d9"),
    "another time": changed("webhook-timestamp", str(int(NOW) + 1)),
    "no time": without("webhook-timestamp"),
    "no id": without("webhook-id"),
    "no signature": without("webhook-signature"),
    "too old": webhook(at=NOW - 301),
    "from the future": webhook(at=NOW + 301),
    "odd time": changed("webhook-timestamp", "１７９５０００００"),
    "huge time": changed("webhook-timestamp", "9" * 400),
    "another version": changed("webhook-signature", webhook()["headers"]["webhook-signature"].replace("v1,", "v1a,")),
    "not base64": changed("webhook-signature", "v1,ü"),
}


@pytest.mark.parametrize("name", FORGED)
async def test_a_webhook_that_is_not_genuine_is_refused(inbox, name):
    answer = await inbox.post("/leads", **FORGED[name])
    assert answer.status == 401
    assert await (await inbox.get("/leads")).json() == []


async def test_one_good_signature_among_several_is_enough(inbox):
    good = webhook()["headers"]["webhook-signature"]
    assert (await inbox.post("/leads", **changed("webhook-signature", f"v1,AAAA {good}"))).status == 201


@pytest.mark.parametrize(
    "sent",
    [
        webhook(body="not json"),
        webhook(body="[]"),
        webhook(body="[" * 100_000),
        webhook(kind="deal.won"),
        webhook(data="text"),
        webhook(body='{"type": "lead.created"}'),
    ],
    ids=["not json", "a list", "deep", "another type", "no object", "no data"],
)
async def test_what_is_no_lead_is_refused_for_good(inbox, sent):
    assert (await inbox.post("/leads", **sent)).status == 422


async def test_a_body_that_is_too_large_is_refused(inbox):
    sent = webhook(body="x" * 1_100_000)
    assert (await inbox.post("/leads", headers=sent["headers"], data=BytesIO(sent["data"].encode()))).status == 413


async def test_without_its_secret_the_erp_takes_nothing_until_it_is_there(aiohttp_client, tmp_path):
    path = tmp_path / "later.keys"
    client = await aiohttp_client(make_erp(path, now=lambda: NOW))
    assert (await client.post("/leads", **webhook())).status == 503
    path.write_text(SECRET)
    assert (await client.post("/leads", **webhook())).status == 201


def test_a_secret_file_that_holds_none_gives_no_key(tmp_path):
    path = tmp_path / "keys"
    path.write_bytes(b"\xff\xfe")
    assert read_keys(path) == read_keys(None) == read_keys(tmp_path) == []


async def test_hostile_contact_data_is_escaped(inbox):
    hostile = {"contact": {"name": "<script>alert(1)</script>", "message": "<img src=x onerror=y>"}, "page": '"><b>'}
    await inbox.post("/leads", **webhook(hostile))
    answer = await inbox.get("/")
    html = await answer.text()
    assert "<script" not in html
    assert "<img" not in html
    assert "script" not in answer.headers["Content-Security-Policy"].replace("default-src 'none'", "")


async def test_a_name_that_is_rebound_to_this_machine_sees_no_lead(inbox):
    await inbox.post("/leads", **webhook())
    answer = await inbox.get("/", headers={"Host": "evil.example"})
    assert answer.status == 421
    assert "Erika" not in await answer.text()


def test_the_inbox_keeps_the_last_leads_and_remembers_more_identifiers(monkeypatch):
    monkeypatch.setattr(erp, "KEPT_LEADS", 3)
    monkeypatch.setattr(erp, "KEPT_IDS", 5)
    box = Inbox()
    for number in range(10):
        assert box.take(f"d{number}", {}, "now") == (1001 + number, True)
    assert list(box.leads) == ["d7", "d8", "d9"]
    assert box.take("d5", {}, "now") == (1006, False)
    assert "d4" not in box.known


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=10,
)
KEYS = ["contact", "first_touch", "last_touch", "touchpoints", "visits", "page", "page_views"]


@given(st.fixed_dictionaries({}, optional={key: JSON for key in KEYS}))
def test_a_lead_of_any_shape_can_be_shown(data):
    row = shown(Received(1, "d", "now", data))
    assert all(isinstance(value, str | int | list) for value in row.values())


@pytest.mark.parametrize(
    ("contact", "name"),
    [
        ({"name": "A B"}, "A B"),
        ({"first_name": "A", "last_name": "B"}, "A B"),
        ({"email": "a@b.example"}, "a@b.example"),
        ({}, "?"),
        (None, "?"),
    ],
)
def test_a_lead_is_called_by_the_best_name_it_has(contact, name):
    assert shown(Received(1, "d", "now", {"contact": contact}))["name"] == name
