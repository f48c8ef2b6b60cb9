"""h2 as it is used here: it minds frames, states and windows; what stands in the fields is `http2_heads`' affair.

h2 reads the fields as well, and for what is wrong with one stream's it ends the whole connection, which other streams
share. So they go through it unseen, as one field that is no field.
"""

from __future__ import annotations

import hpack
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.settings import SettingCodes, Settings

from proxy.fields import Field
from proxy.request import Limits

# RFC 9113 6.5.2 recommends no fewer than 100.
MAX_STREAMS = 100
# What streams and a connection may bring before it is taken (as Envoy recommends at the edge): a stream's own window
# keeps a slow upstream from filling our memory, the connection's lets the other streams go on meanwhile.
STREAM_WINDOW, CONNECTION_WINDOW = 65_535, 1_048_576
BLOCK = b"block"


class Encoder:
    """Stands where h2 has an encoder: blocks are encoded already, and come as a field behind `:status`."""

    def __init__(self) -> None:
        self._unsaid = True

    @property
    def header_table_size(self) -> int:
        return 0

    @header_table_size.setter
    def header_table_size(self, size: int) -> None:
        """The client changed what it keeps. RFC 7541 4.2: the next block begins with the size in use."""
        self._unsaid = True

    def encode(self, fields: list[Field]) -> bytes:
        block = fields[-1][1]
        if self._unsaid:
            self._unsaid = False
            return b"\x20" + block  # RFC 7541 6.3: a table of no bytes
        return block


class Decoder(hpack.Decoder):
    """Stands where h2 has a decoder: `(BLOCK, fields)` is all that h2 sees of them."""

    def __init__(self, limits: Limits) -> None:
        super().__init__()
        # What is too long gets its 431, if it is not so long that it must be an attack (CVE-2016-6581). 32 for each
        # field: RFC 7541 4.1.
        self.max_header_list_size = 2 * limits.head + 64 * limits.fields

    def decode(self, data: bytes, raw: bool = False) -> list[tuple[bytes, list[Field]]]:
        return [(BLOCK, super().decode(data, raw=True))]


class _Engine(H2Connection):
    # It remembers how streams were closed, to say which error a late frame is. 65,536 of those are too many.
    MAX_CLOSED_STREAMS = 1000


def engine(limits: Limits) -> H2Connection:
    """A new connection, before its first byte."""
    made = _Engine(
        H2Configuration(
            client_side=False, header_encoding=None,
            # `http2_heads` reads and writes the fields.
            validate_inbound_headers=False, normalize_inbound_headers=False,
            validate_outbound_headers=False, normalize_outbound_headers=False,
        )
    )  # fmt: skip
    made.local_settings = Settings(
        client=False,
        initial_values={
            SettingCodes.MAX_CONCURRENT_STREAMS: MAX_STREAMS,
            SettingCodes.INITIAL_WINDOW_SIZE: STREAM_WINDOW,
            SettingCodes.MAX_HEADER_LIST_SIZE: limits.head,
        },
    )
    made.encoder = Encoder()
    made.decoder = Decoder(limits)
    return made
