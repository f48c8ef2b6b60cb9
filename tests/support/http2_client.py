"""A small client of HTTP/2 over TLS on h2, for tests: it can break every rule, and waits instead of sleeping."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable

import h2.events as happened
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.exceptions import ProtocolError

Fields = list[tuple[bytes, bytes]]


def frame(kind: int, payload: bytes = b"", *, flags: int = 0, stream: int = 0) -> bytes:
    """The bytes of one frame, whatever sense it makes."""
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


class Answer:
    """What came on one stream. `ended`: with END_STREAM; `reset`: the code of RST_STREAM."""

    def __init__(self) -> None:
        self.interim: list[dict[bytes, bytes]] = []
        self.fields: Fields = []
        self.body = bytearray()
        self.trailers: Fields = []
        self.ended = False
        self.reset: int | None = None

    @property
    def values(self) -> dict[bytes, bytes]:
        return dict(self.fields)

    @property
    def status(self) -> int:
        return int(self.values.get(b":status", b"0"))


class Http2Client(asyncio.Protocol):
    """`slow`: streams whose windows are not opened again. `goaway`: code and last stream of each GOAWAY frame."""

    def __init__(self) -> None:
        self.h2 = H2Connection(
            H2Configuration(
                client_side=True,
                header_encoding=None,
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
            )
        )
        self.slow: set[int] = set()
        self.lost = False
        self.settings: dict[int, int] = {}
        self.goaway: list[tuple[int, int]] = []
        self.pongs = 0
        self.answers: dict[int, Answer] = {}
        self._untaken: dict[int, int] = {}
        self._changed = asyncio.Event()

    @classmethod
    async def connect(cls, port: int, *, window: int | None = None, raw: bool = False) -> Http2Client:
        """`window`: the streams' own, at first. `raw`: nothing is sent."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_alpn_protocols(["h2"])
        loop = asyncio.get_running_loop()
        _, client = await loop.create_connection(cls, "127.0.0.1", port, ssl=context)
        if not raw:
            if window is not None:
                client.h2.local_settings.initial_window_size = window
                client.h2.local_settings.acknowledge()
            client.h2.initiate_connection()
            # No stream is to wait for another one's reader.
            client.h2.increment_flow_control_window(2**24)
            client.flush()
        return client

    # -- what asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def connection_lost(self, error: Exception | None) -> None:
        self.lost = True
        self._changed.set()

    def data_received(self, data: bytes) -> None:
        while data:
            # GOAWAY would end h2's connection, though streams may go on.
            end = 9 + int.from_bytes(data[:3], "big")
            if len(data) >= end and data[3] == 7:
                last, code = (int.from_bytes(data[at : at + 4], "big") for at in (9, 13))
                self.goaway.append((code, last))
                data = data[end:]
                continue
            if len(data) < end or len(data) < 9:
                end = len(data)
            part, data = data[:end], data[end:]
            try:
                events = self.h2.receive_data(part)
            except ProtocolError:
                self.transport.abort()
                raise
            for event in events:
                self._happened(event)
        self.flush()
        self._changed.set()

    def _happened(self, event: happened.Event) -> None:
        answer = self.answers.get(getattr(event, "stream_id", 0) or 0)
        match event:
            case happened.InformationalResponseReceived():
                answer.interim.append(dict(event.headers))
            case happened.ResponseReceived():
                answer.fields = [(bytes(name), bytes(value)) for name, value in event.headers]
            case happened.TrailersReceived():
                answer.trailers = [(bytes(name), bytes(value)) for name, value in event.headers]
            case happened.DataReceived():
                answer.body += event.data
                if event.stream_id not in self.slow:
                    self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                else:
                    number = event.stream_id
                    self._untaken[number] = self._untaken.get(number, 0) + event.flow_controlled_length
            case happened.StreamEnded():
                answer.ended = True
            case happened.StreamReset():
                answer.reset = int(event.error_code)
            case happened.PingAckReceived():
                self.pongs += 1
            case happened.RemoteSettingsChanged():
                self.settings |= {int(code): change.new_value for code, change in event.changed_settings.items()}

    # -- what tests call

    def flush(self) -> None:
        if not self.transport.is_closing():
            self.transport.write(self.h2.data_to_send())

    def write(self, data: bytes) -> None:
        """Bytes past h2."""
        self.flush()
        self.transport.write(data)

    def ask(
        self, path: bytes = b"/", fields: Fields | None = None, *, method: bytes = b"GET", ends: bool = True
    ) -> int:
        """Begins a request and says on which stream."""
        return self.ask_raw(
            [(b":method", method), (b":scheme", b"https"), (b":authority", b"localhost"), (b":path", path)]
            + (fields or []),
            ends=ends,
        )

    def ask_raw(self, fields: Fields, *, ends: bool = True, flush: bool = True) -> int:
        number = self.h2.get_next_available_stream_id()
        self.answers[number] = Answer()
        self.h2.send_headers(number, fields, end_stream=ends)
        if flush:
            self.flush()
        return number

    def send(self, number: int, data: bytes, *, ends: bool = False) -> None:
        self.h2.send_data(number, data, end_stream=ends)
        self.flush()

    async def upload(self, number: int, data: bytes) -> None:
        """Sends all of it as the windows allow, and the end."""
        while data:
            window = min(self.h2.local_flow_control_window(number), self.h2.max_outbound_frame_size)
            if window:
                self.send(number, data[:window])
                data = data[window:]
            else:
                await self.until(lambda: self.h2.local_flow_control_window(number) > 0)
        self.send(number, b"", ends=True)

    def reset(self, number: int) -> None:
        self.h2.reset_stream(number, 8)
        self.flush()

    def take(self) -> None:
        """Opens the windows for all that was not taken so far, and from now on."""
        self.slow.clear()
        for number, size in self._untaken.items():
            self.h2.acknowledge_received_data(size, number)
        self._untaken.clear()
        self.flush()

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not holds():
                if self.lost:
                    raise ConnectionError("the connection is lost")
                self._changed.clear()
                await self._changed.wait()

    async def until_lost(self) -> None:
        async with asyncio.timeout(20):
            while not self.lost:
                self._changed.clear()
                await self._changed.wait()

    async def answer(self, number: int) -> Answer:
        """What came, when the stream is over either way."""
        answer = self.answers[number]
        await self.until(lambda: answer.ended or answer.reset is not None)
        return answer

    async def pong(self) -> None:
        """Until all that was sent has been read over there."""
        count = self.pongs + 1
        self.h2.ping(b"12345678")
        self.flush()
        await self.until(lambda: self.pongs >= count)

    async def close(self) -> None:
        if not self.lost:
            self.transport.abort()
            await self.until_lost()
