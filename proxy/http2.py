"""A visitor's connection that speaks HTTP/2: many requests at once, each a stream of its own.

Knows bytes, the connection's life and what streams share: windows, turns, bounds. Frames and their states are h2's
affair (https://python-hyper.org/projects/h2/), heads are `http2_heads`', what to do with a request is `forwarding`'s.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import h2.events as happened
from h2.exceptions import ProtocolError, StreamClosedError, StreamIDTooLowError

from proxy.connection import Connection
from proxy.http1 import LINGER_SECS
from proxy.http2_engine import BLOCK, CONNECTION_WINDOW, STREAM_WINDOW, engine
from proxy.http2_frames import MAX_FRAME_BYTES, Code, FrameError, Frames, goaway
from proxy.http2_heads import read_request
from proxy.http2_stream import Http2Stream
from proxy.proxy_protocol import ProxyHeader
from proxy.refusal import Refusal

if TYPE_CHECKING:
    from proxy.server import Proxy
    from proxy.tunnel import Tunnel

# What is collected before it goes to the transport, and what may wait there before we stop to read: answers to PING and
# the like know no window.
FLUSH_BYTES, UNSENT_BYTES = 65_536, 262_144
_LAST_STREAM = 2**31 - 1
_NEVER = float("inf")
_GONE = (StreamClosedError, StreamIDTooLowError)


class Http2(Connection):
    """`deadline` is the loop time at which `expired` is called, unless it is moved before.

    served   it has brought a request before
    closing  it takes nothing any more, and goes when what was written is sent
    """

    tunnel: Tunnel | None = None
    closing = False
    served = False
    _draining = False  # no further stream is taken
    _told_to_leave = False
    _last = _LAST_STREAM  # what GOAWAY said
    _reading_frames = False
    _flush_handle: asyncio.Handle | None = None
    _go_on_handle: asyncio.Handle | None = None
    _collected = 0
    _head = -1  # which head the deadline is for

    def __init__(self, proxy: Proxy, *, scheme: str = "https", announced: ProxyHeader | None = None) -> None:
        """`announced` is what a proxy in front told before the first request, if it speaks the PROXY protocol."""
        super().__init__()
        self.proxy = proxy
        self.scheme = scheme
        self.peer = ""
        self.trusted = False
        self._announced = announced
        self.streams: dict[int, Http2Stream] = {}
        self._ready: dict[int, Http2Stream] = {}  # with something to send and a window for it, by turns
        self._frames = Frames(proxy.limits)
        self._engine = engine(proxy.limits)
        self._own_deadline = 0.0

    # -- what asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.peer, self.trusted = self.proxy.who_is(transport, self._announced)
        self._own_deadline = self.proxy.loop.time() + self.proxy.settings.idle_timeout_secs
        refusal = self.proxy.admit(self)
        self._engine.initiate_connection()
        if refusal is not None:
            if self.proxy.is_crowded(self):
                self.closing = True
                transport.abort()
                return
            self._say_goodbye(Code.ENHANCE_YOUR_CALM)
            return
        self._engine.increment_flow_control_window(CONNECTION_WINDOW - STREAM_WINDOW)
        self._flush()

    def connection_lost(self, error: Exception | None) -> None:
        self.closing = True
        for handle in (self._flush_handle, self._go_on_handle):
            if handle is not None:
                handle.cancel()
        self._lose_streams()
        self.proxy.left(self)

    def data_received(self, data: bytes) -> None:
        if not self.closing:
            self._frames.feed(data)
            if self._go_on_handle is None:
                self._read_frames()

    def pause_writing(self) -> None:
        self.write_paused = True

    def resume_writing(self) -> None:
        self.write_paused = False
        self._push()
        self._flush()
        self._apply_reading()

    # -- frames

    def _read_frames(self) -> None:
        """One turn: a client that sends thousands of frames must not keep all others waiting."""
        self._go_on_handle = None
        if self.closing:
            return
        now = self.proxy.loop.time()
        self._reading_frames = True
        try:
            data, more = self._frames.take(now)
            if data:
                self._happened(self._engine.receive_data(data), now)
            self._watch_head(now)
            self._push()
        except FrameError as error:
            self._calm(error.code)
        except ProtocolError as error:
            # h2 has said GOAWAY already.
            self._calm(error.error_code, said=True)
        except Exception:
            self.proxy.bug("a visitor's frames")
            self.abort()
        else:
            if more:
                self._go_on_handle = self.proxy.loop.call_soon(self._read_frames)
            else:
                self._leave_if_done()
        finally:
            self._reading_frames = False
        self._flush()
        self._apply_reading()

    def _happened(self, events: list[happened.Event], now: float) -> None:
        bodies: dict[int, Http2Stream] = {}
        reset = {event.stream_id for event in events if type(event) is happened.StreamReset}
        for event in events:
            kind = type(event)
            if kind is happened.DataReceived:
                if (stream := self.streams.get(event.stream_id)) is None:
                    self._take_back(event.stream_id, event.flow_controlled_length)
                else:
                    stream.body_arrived(event.data, event.flow_controlled_length)
                    bodies[event.stream_id] = stream
                    if event.stream_ended is not None:
                        stream.body_ended(None)
            elif kind is happened.RequestReceived:
                self._begin(event, now, gone=event.stream_id in reset)
            elif kind is happened.TrailersReceived:
                if (stream := self.streams.get(event.stream_id)) is not None:
                    stream.body_ended(_fields(event))
                    bodies[event.stream_id] = stream
            elif kind is happened.WindowUpdated or kind is happened.RemoteSettingsChanged:
                which = getattr(event, "stream_id", 0)
                for stream in self.streams.values() if not which else filter(None, [self.streams.get(which)]):
                    if stream.has_unsent:
                        self._ready[stream.number] = stream
            elif kind is happened.StreamReset:
                bodies.pop(event.stream_id, None)
                if not event.remote_reset:
                    self._frames.stream_spoiled(now)  # the client's frames brought h2 to it
                if (stream := self.streams.get(event.stream_id)) is not None:
                    stream.reset_by_client()
        for stream in bodies.values():
            if stream.broken is not None:
                self._frames.stream_spoiled(now)
            if not stream.done:
                stream.pump()

    def _begin(self, event: happened.RequestReceived, now: float, *, gone: bool) -> None:
        number, proxy = event.stream_id, self.proxy
        stream = Http2Stream(self, number)
        if self._draining:
            # RFC 9113 8.7: so that the client may ask elsewhere, whatever it asks.
            stream.end(Code.REFUSED_STREAM)
            return
        ended = event.stream_ended is not None
        request = read_request(_fields(event), ended=ended, limits=proxy.limits, read_head=proxy.read_head)
        self.streams[number] = stream
        self.served = True
        self._own_deadline = _NEVER
        stream.request(request, ended=ended, gone=gone)
        if gone:
            stream.reset_by_client()
        elif request.refusal is not None:
            self._frames.stream_spoiled(now)

    def _watch_head(self, now: float) -> None:
        """A head that has begun must be whole in time, whatever trickles in."""
        if self._frames.in_head:
            if self._head != self._frames.heads:
                self._head = self._frames.heads
                self._own_deadline = now + self.proxy.settings.head_timeout_secs
        elif self._head >= 0:
            self._head = -1
            self._own_deadline = _NEVER if self.streams else now + self.proxy.settings.idle_timeout_secs

    # -- what streams call

    def send_block(self, stream: Http2Stream, status: int, block: bytes, *, last: bool, trailers: bool = False) -> None:
        """An encoded head, or the trailers."""
        if stream.done:
            return
        fields = [(BLOCK, block)] if trailers else [(b":status", b"%d" % status), (BLOCK, block)]
        try:
            self._engine.send_headers(stream.number, fields, end_stream=last)
        except _GONE:
            return  # reset by the client, which we are about to hear
        self._collect(len(block))

    def send_body(self, stream: Http2Stream) -> None:
        """The stream has something to send."""
        self._ready[stream.number] = stream
        if not self._reading_frames:
            self._push()

    def send_data(self, stream: Http2Stream, data: bytes | memoryview, *, last: bool) -> None:
        """One frame for which there is a window."""
        try:
            self._engine.send_data(stream.number, data, end_stream=last)
        except _GONE:
            return
        self._frames.data_sent()
        self._collect(len(data))

    def acknowledge(self, stream: Http2Stream, taken: int) -> None:
        self._take_back(stream.number, taken)
        self._collect(0)

    def _take_back(self, number: int, taken: int) -> None:
        if taken and not self.closing:
            try:
                self._engine.acknowledge_received_data(taken, number)
            except ProtocolError:
                return

    def reset(self, stream: Http2Stream, code: Code) -> None:
        try:
            self._engine.reset_stream(stream.number, code)
        except ProtocolError:
            return
        self._collect(0)

    def stream_answered(self) -> None:
        if self.proxy.stopping and not (self._told_to_leave or self.closing):
            # RFC 9113 6.8: first without a number, so that what is under way is still taken.
            self._told_to_leave = True
            self._goaway(Code.NO_ERROR, _LAST_STREAM)

    def stream_done(self, stream: Http2Stream) -> None:
        """Closed both ways, as far as we are concerned."""
        if not stream.ended:
            # RFC 9113 8.1: the answer is whole, and the rest of the request is not wanted.
            self.reset(stream, Code.NO_ERROR)
        self._ready.pop(stream.number, None)
        if self.streams.pop(stream.number, None) is not None and not self.streams and not self.closing:
            if self._head < 0:
                self._own_deadline = self.proxy.loop.time() + self.proxy.settings.idle_timeout_secs
            if not self._reading_frames:
                self._leave_if_done()

    def _leave_if_done(self) -> None:
        if (self._draining or self._frames.client_leaves) and not self.streams:
            self.close()

    # -- sending

    def _push(self) -> None:
        """Frames of bodies by turns, one of each stream, as far as the windows and the transport take them."""
        ready, engine = self._ready, self._engine
        while ready and not self.write_paused and not self.closing:
            number, stream = next(iter(ready.items()))
            del ready[number]
            if stream.done or number not in engine.streams:
                continue
            window = min(engine.outbound_flow_control_window, engine.streams[number].outbound_flow_control_window)
            if window <= 0 and stream.has_unsent_bytes:
                if engine.outbound_flow_control_window <= 0:
                    ready[number] = stream
                    break
                continue  # until its window is opened
            stream.push(min(max(window, 0), MAX_FRAME_BYTES))
            if stream.has_unsent:
                ready[number] = stream

    def _collect(self, size: int) -> None:
        """Something waits in h2: it leaves with what else comes in this turn of the loop, in few and large writes."""
        self._collected += size
        if self._collected >= FLUSH_BYTES:
            self._flush()
        elif self._flush_handle is None and not self._reading_frames:
            self._flush_handle = self.proxy.loop.call_soon(self._flush)

    def _flush(self) -> None:
        if self._flush_handle is not None:
            self._flush_handle.cancel()
            self._flush_handle = None
        self._collected = 0
        data = self._engine.data_to_send()
        if data and not self.transport.is_closing():
            self.transport.write(data)
            if self.write_paused:
                self._apply_reading()

    def _may_read(self) -> bool:
        return self._go_on_handle is None and not (
            self.write_paused and self.transport.get_write_buffer_size() > UNSENT_BYTES
        )

    # -- the connection's life

    @property
    def deadline(self) -> float:
        return min([self._own_deadline, *[stream.deadline for stream in self.streams.values()]])

    @property
    def is_idle(self) -> bool:
        """It waits for a request, and nothing of one has come."""
        return not self.streams and self._head < 0 and not self.closing

    def expired(self) -> None:
        """The deadline has passed, of the connection or of a stream."""
        now = self.proxy.loop.time()
        if self.closing:
            self.abort()
            return
        for stream in [stream for stream in self.streams.values() if stream.deadline < now]:
            stream.expired()
        if self._own_deadline < now and not self.closing:
            if self._head >= 0:
                # Which stream it would have been is not known yet, so this is no exchange; it is counted all the same.
                self.proxy.refusals[Refusal.REQUEST_TIMEOUT.reason] += 1
            self._say_goodbye(Code.NO_ERROR)
        self._flush()

    def stop(self) -> None:
        """No further request is taken; an idle connection closes now."""
        self._draining = True
        if self.streams:
            self._goaway(Code.NO_ERROR, self._engine.highest_inbound_stream_id)
        else:
            self.close()

    def close(self) -> None:
        """Says that it goes, and goes when all is sent."""
        if not self.closing:
            self._say_goodbye(Code.NO_ERROR)

    def abort(self) -> None:
        self.closing = True
        self._lose_streams()
        self.transport.abort()

    def _calm(self, code: int, *, said: bool = False) -> None:
        """The client broke the rules, or the peace. Its streams are over."""
        self.closing = True
        self._lose_streams()
        self._say_goodbye(code, said=said)

    def _say_goodbye(self, code: int, *, said: bool = False) -> None:
        if not said:
            self._goaway(code, self._engine.highest_inbound_stream_id)
        else:
            self._flush()
        self.closing = True
        self._lose_streams()
        self.transport.close()
        # A peer that never reads must not keep the connection: see `expired`.
        self._own_deadline = self.proxy.loop.time() + LINGER_SECS

    def _goaway(self, code: int, last: int) -> None:
        """Written here, because h2 would send nothing more after it."""
        self._last = last = min(last, self._last)  # RFC 9113 6.8: it must not grow
        self._flush()
        if not self.transport.is_closing():
            self.transport.write(goaway(code, last))

    def _lose_streams(self) -> None:
        self._ready.clear()
        for stream in list(self.streams.values()):
            stream.reset_by_client()
        self.streams.clear()


def _fields(event: happened.RequestReceived | happened.TrailersReceived) -> list[tuple[bytes, bytes]]:
    """What `Decoder` put through h2."""
    return event.headers[0][1]
