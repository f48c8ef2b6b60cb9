import base64
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook

from export.webhook_signature import TOLERANCE_SECS, key_of, new_secret, sign, verify

NOW = 1_795_341_600
bodies = st.binary(max_size=200)
ids = st.text("0123456789abcdef_-", min_size=1, max_size=40)
secrets = st.binary(min_size=24, max_size=64).map(lambda key: "whsec_" + base64.b64encode(key).decode())


def secret_of(size: int) -> str:
    return "whsec_" + base64.b64encode(bytes(range(size))).decode()


@given(secrets, ids, st.integers(1, 4_000_000_000), st.text())
def test_a_signature_is_the_one_the_reference_library_makes(secret, message_id, timestamp, body):
    body = body.encode("utf-8", "replace").decode()
    theirs = Webhook(secret).sign(message_id, datetime.fromtimestamp(timestamp, UTC), body)
    assert sign([key_of(secret)], message_id=message_id, timestamp=timestamp, body=body.encode()) == theirs


def test_the_reference_library_takes_what_we_sign_with_several_secrets():
    new, old = new_secret(), new_secret()
    timestamp = int(datetime.now(UTC).timestamp())
    signature = sign([key_of(new), key_of(old)], message_id="abc", timestamp=timestamp, body=b'{"a":1}')
    fields = {"webhook-id": "abc", "webhook-timestamp": str(timestamp), "webhook-signature": signature}
    assert Webhook(new).verify(b'{"a":1}', fields) == {"a": 1}
    assert Webhook(old).verify(b'{"a":1}', fields) == {"a": 1}


@given(secrets, secrets, ids, bodies)
def test_what_is_signed_is_genuine_under_any_of_the_secrets(one, other, message_id, body):
    signature = sign([key_of(one), key_of(other)], message_id=message_id, timestamp=NOW, body=body)
    for secret in (one, other):
        assert (
            verify(
                [key_of(secret)],
                message_id=message_id,
                timestamp=str(NOW),
                signature=signature,
                body=body,
                now=NOW,
            )
            is None
        )


KEY = key_of("whsec_" + base64.b64encode(b"k" * 32).decode())
GENUINE = {
    "message_id": "abc",
    "timestamp": str(NOW),
    "signature": sign([KEY], message_id="abc", timestamp=NOW, body=b"body"),
    "body": b"body",
    "now": NOW,
}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"body": b"Body"}, "no signature matches"),
        ({"message_id": "abd"}, "no signature matches"),
        ({"timestamp": str(NOW + 1)}, "no signature matches"),
        ({"timestamp": "0" + str(NOW)}, "no signature matches"),
        ({"now": NOW + TOLERANCE_SECS + 1}, "off"),
        ({"now": NOW - TOLERANCE_SECS - 1}, "off"),
        ({"timestamp": "1e9"}, "not a number"),
        ({"timestamp": "٣" * 10}, "not a number"),
        ({"timestamp": "9" * 5000}, "not a number"),
        ({"timestamp": ""}, "missing"),
        ({"signature": ""}, "missing"),
        ({"message_id": ""}, "missing"),
        ({"signature": "v1,"}, "no signature matches"),
        ({"signature": "v1,!!!"}, "no signature matches"),
        ({"signature": "v1,ä"}, "no signature matches"),
        ({"signature": "v1a," + GENUINE["signature"][3:]}, "no signature matches"),
        ({"signature": GENUINE["signature"][3:]}, "no signature matches"),
    ],
)
def test_what_was_changed_is_not_genuine(changes, reason):
    assert verify([KEY], **GENUINE) is None
    assert reason in verify([KEY], **(GENUINE | changes))


def test_a_genuine_signature_is_found_among_others():
    crowd = f"v1a,xyz v1,AAAA {GENUINE['signature']} v2,q"
    assert verify([b"x" * 32, KEY], **(GENUINE | {"signature": crowd})) is None


@given(st.text(), st.text(), st.text(), bodies)
def test_no_header_value_breaks_the_check(message_id, timestamp, signature, body):
    assert verify(
        [KEY],
        message_id=message_id.encode("utf-8", "replace").decode(),
        timestamp=timestamp,
        signature=signature,
        body=body,
        now=NOW,
    )


def test_an_id_with_a_dot_is_not_signed():
    with pytest.raises(ValueError, match="dot"):
        sign([KEY], message_id="a.b", timestamp=NOW, body=b"")


def test_a_new_secret_is_a_good_one_and_never_the_same():
    one, other = new_secret(), new_secret()
    assert one != other
    assert len(key_of(one)) == 32


@pytest.mark.parametrize(
    "secret",
    ["", "hunter2-hunter2-hunter2-hunter2", "whsec_", "whsec_hunter2!", secret_of(23), secret_of(65), "whsec_ääää"],
)
def test_a_bad_secret_is_refused_without_being_repeated(secret):
    with pytest.raises(ValueError, match="whsec_|bytes") as caught:
        key_of(secret)
    assert "hunter2" not in str(caught.value)
    assert len(secret) < 10 or secret not in str(caught.value)


@pytest.mark.parametrize("size", [24, 32, 64])
def test_secrets_of_24_to_64_bytes_are_taken(size):
    assert len(key_of(secret_of(size))) == size
