"""h2 with the fields taken out of its hands."""

from __future__ import annotations

import hpack
import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, RequestReceived, ResponseReceived
from hpack.exceptions import OversizedHeaderListError

from proxy.http2_engine import BLOCK, MAX_STREAMS, Decoder, Encoder, engine
from proxy.request import Limits

FIELDS = [(b":method", b"GET"), (b":path", b"/"), (b":scheme", b"https"), (b":authority", b"a")]


def met() -> tuple[H2Connection, H2Connection]:
    """A client and our side, after their SETTINGS."""
    ours = engine(Limits())
    client = H2Connection(H2Configuration(validate_outbound_headers=False, normalize_outbound_headers=False))
    client.initiate_connection()
    ours.initiate_connection()
    client.receive_data(ours.data_to_send())
    ours.receive_data(client.data_to_send())
    return client, ours


def test_the_client_learns_our_bounds():
    client, _ = met()
    assert client.remote_settings.max_concurrent_streams == MAX_STREAMS
    assert client.remote_settings.max_header_list_size == Limits().head
    assert client.remote_settings.enable_connect_protocol == 0


def test_fields_come_through_as_they_are_however_wrong():
    client, ours = met()
    wrong = [*FIELDS, (b"content-length", b"nonsense"), (b"Connection", b"close"), (b"", b"")]
    client.send_headers(1, wrong)
    client.send_data(1, b"abc")
    request, body = [
        event for event in ours.receive_data(client.data_to_send()) if isinstance(event, RequestReceived | DataReceived)
    ]
    [(name, fields)] = request.headers
    assert (name, fields, body.data) == (BLOCK, wrong, b"abc")


@pytest.mark.parametrize("size", [0, 100, 4096, 2**31])
def test_a_block_is_readable_with_whatever_table_the_client_wants(size: int):
    client, ours = met()
    client.update_settings({1: size})
    ours.receive_data(client.data_to_send())
    client.receive_data(ours.data_to_send())
    for number in (1, 3):
        client.send_headers(number, FIELDS, end_stream=True)
        ours.receive_data(client.data_to_send())
        block = hpack.Encoder().encode([(b":status", b"200", True), (b"x-a", b"1", True)])
        ours.send_headers(number, [(b":status", b"200"), (BLOCK, block)], end_stream=True)
        answers = [e for e in client.receive_data(ours.data_to_send()) if isinstance(e, ResponseReceived)]
        assert [(bytes(n), bytes(v)) for n, v in answers[0].headers] == [(b":status", b"200"), (b"x-a", b"1")]


def test_the_size_of_the_table_is_said_once_and_after_each_change():
    encoder = Encoder()
    said = [encoder.encode([(BLOCK, b"x")]) for _ in range(2)]
    encoder.header_table_size = 100
    assert [*said, encoder.encode([(BLOCK, b"x")])] == [b"\x20x", b"x", b"\x20x"]


def test_a_list_of_fields_may_be_a_little_too_long_but_no_bomb():
    limits = Limits(head=4096, fields=20)
    encode = hpack.Encoder().encode
    [(_, fields)] = Decoder(limits).decode(encode([(b"x", b"y" * 5000)]))
    assert len(fields) == 1
    with pytest.raises(OversizedHeaderListError):
        Decoder(limits).decode(encode([(b"x", b"y" * 1000)] * 10))
