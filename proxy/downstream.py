"""What a forwarding asks of the side its request came from. HTTP/1.1 and HTTP/2 each have their way to do it."""

from __future__ import annotations

from typing import Protocol

from proxy.fields import Field
from proxy.heads import AnswerHead
from proxy.refusal import Refusal
from proxy.tunnel import End


class RequestError(ValueError):
    """The rest of the request cannot be taken: `refusal` is why, from `proxy.refusal`."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.reason)
        self.refusal = refusal


class Downstream(Protocol):
    """The visitor's side of one exchange.

    peer, trusted    the address at the other end, and whether its word about the visitor counts
    may_switch       it can become a tunnel
    keep_alive       it may serve another request afterwards; a forwarding may set it to False, never to True
    write_paused     what was sent is not taken fast enough; `Forwarding.hold_back` is told when that changes
    deadline         the loop time at which `Forwarding.expired` is called; a forwarding moves it
    body_whole       the request is complete: no more of its body will come
    trailers         fields behind the request's body, once it is whole
    """

    peer: str
    trusted: bool
    may_switch: bool
    keep_alive: bool
    write_paused: bool
    deadline: float
    body_whole: bool
    trailers: tuple[Field, ...]

    def read_body(self) -> bytes:
        """What has arrived of the request's body. RequestError if it cannot be read on."""

    def hold_back(self, yes: bool) -> None:
        """Stops or resumes reading, because the upstream is slower."""

    def send_interim(self, answer: AnswerHead) -> None:
        """A 1xx answer."""

    def send_head(self, answer: AnswerHead, date: bytes | None, added: list[Field] | None) -> None:
        """The final answer begins. It leaves with the next `send`."""

    def send(self, data: bytes, *, last: bool = False, trailers: tuple[Field, ...] = ()) -> None:
        """More of the body, maybe none; `last`: all of it."""

    def send_refusal(self, refusal: Refusal, *, keep_alive: bool) -> None:
        """An answer of our own, whole, in place of one from upstream."""

    def answered(self) -> None:
        """The exchange is over, and all of the answer was sent."""

    def linger(self) -> None:
        """The exchange is over before the request was whole: what still comes of it is thrown away."""

    def reset(self) -> None:
        """Ends the answer so that the visitor cannot take what came so far for the whole of it."""

    def switch(self, answer: AnswerHead, upstream: End, rest: bytes) -> None:
        """The upstream switched protocols and has already sent `rest`: from here on, bytes."""
