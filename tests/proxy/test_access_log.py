"""The access log: its lines, and what becomes of them when nobody reads."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy import access_log as access_log_module
from proxy.access_log import MAX_LINE_BYTES, MAX_WAITING_BYTES, AccessLog, line, pieces
from proxy.exchange import Exchange
from proxy.heads import RequestHead
from tests.support.ports import free_port, is_open

REPOSITORY = Path(__file__).resolve().parents[2]
STARTED_NS = 1_790_000_000_123_456_789


def exchange(
    *, method: str = "GET", target: str = "/a?b=c", client: str = "203.0.113.9", http_10: bool = False, **fields: bytes
) -> Exchange:
    head = RequestHead(
        tuple((name.replace("_", "-").encode(), value) for name, value in fields.items()), http_10=http_10
    )
    made = Exchange(
        seq=1, started_ns=STARTED_NS, client=client, scheme="https", method=method, target=target, head=head
    )
    made.status = 200
    made.response_bytes = 512
    made.ended_ns = STARTED_NS + 1_234_567
    return made


@pytest.fixture
def in_berlin(monkeypatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    access_log_module._local_time.cache_clear()
    yield
    monkeypatch.undo()
    time.tzset()
    access_log_module._local_time.cache_clear()


# -- the line


def test_combined_is_nginxs_with_duration_and_end(in_berlin) -> None:
    answered = exchange(Host=b"shop.example", Referer=b"https://a.example/x", User_Agent=b"Mozilla/5.0 (X11)")
    assert line(answered, "combined") == (
        b'203.0.113.9 - - [21/Sep/2026:16:13:20 +0200] "GET /a?b=c HTTP/1.1" 200 512 "https://a.example/x" '
        b'"Mozilla/5.0 (X11)" "1234 us" - -\n'
    )


def test_the_version_is_the_visitors() -> None:
    assert b'"GET /a?b=c HTTP/1.0" 200' in line(exchange(http_10=True), "combined")
    over_http2 = exchange()
    over_http2.is_http2 = True
    assert b'"GET /a?b=c HTTP/2.0" 200' in line(over_http2, "combined")


def test_what_is_not_there_is_a_dash(in_berlin) -> None:
    refused = exchange(method="", target="", Authorization=b"Basic c2VjcmV0OnNlY3JldA==")
    refused.status, refused.response_bytes, refused.ended_ns = 408, 0, 0
    refused.ended_by, refused.refusal = "client", "request_timeout"
    assert line(refused, "combined") == (
        b'203.0.113.9 - - [21/Sep/2026:16:13:20 +0200] "-" 408 0 "-" "-" "0 us" client request_timeout\n'
    )


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (b'a"b', rb"a\x22b"),
        (b"a\\b", rb"a\x5Cb"),
        (b'\\" "evil', rb"\x5C\x22 \x22evil"),
        (b"caf\xc3\xa9", rb"caf\xC3\xA9"),
        (b"\xff\x80\x7f", rb"\xFF\x80\x7F"),
        (b"a\tb", rb"a\x09b"),
        (b"a\r\n203.0.113.1 - - forged", rb"a\x0D\x0A203.0.113.1 - - forged"),
        (b"\x1b[2Jgone", rb"\x1B[2Jgone"),
        (b"", b""),
        (b"~ !%", b"~ !%"),
    ],
)
def test_whatever_comes_from_outside_is_escaped_as_nginx_does(value: bytes, written: bytes) -> None:
    text = value.decode("utf-8", "surrogateescape")
    outside = exchange(method="GET" + text, target="/" + text, Referer=value, User_Agent=value)
    assert re.findall(rb'"([^"]*)"', line(outside, "combined"))[:3] == [
        b"GET%b /%b HTTP/1.1" % (written, written), written, written
    ]  # fmt: skip


def test_json_says_all_of_an_exchange() -> None:
    answered = exchange(Host=b"shop.example", Referer=b'a"\\\n', User_Agent=b"caf\xe9 \x7f\x9b")
    answered.request_bytes, answered.wait_ns, answered.retries, answered.upgraded = 7, 999_999, 1, True
    answered.ended_by, answered.refusal = "upstream", "upstream_slow"
    assert json.loads(line(answered, "json")) == {
        "time": "2026-09-21T14:13:20.124Z", "client": "203.0.113.9", "scheme": "https", "method": "GET",
        "host": "shop.example", "target": "/a?b=c", "status": 200, "request_bytes": 7, "response_bytes": 512,
        "duration_us": 1234, "wait_us": 999, "referer": 'a"\\\n', "user_agent": "caf\\xe9 \\x7f\\x9b",
        "ended_by": "upstream", "refusal": "upstream_slow", "retries": 1, "upgraded": True,
    }  # fmt: skip
    nothing = json.loads(line(exchange(), "json"))
    assert [nothing[name] for name in ("host", "wait_us", "referer", "user_agent", "ended_by", "refusal")] == [None] * 6


texts = st.one_of(st.text(max_size=60), st.binary(max_size=60).map(lambda raw: raw.decode("utf-8", "surrogateescape")))
octets = st.one_of(
    st.binary(max_size=60), st.builds(lambda some, times: some * times, st.binary(max_size=4), st.integers(0, 9000))
)


@given(texts, st.builds(lambda text, times: text * times, texts, st.integers(1, 400)), octets, octets, octets, texts)
def test_any_exchange_is_one_printable_line_of_at_most_a_pipes_atom(
    method: str, target: str, host: bytes, referer: bytes, agent: bytes, client: str
) -> None:
    hostile = exchange(method=method, target=target, client=client, Host=host, Referer=referer, User_Agent=agent)
    combined, as_json = line(hostile, "combined"), line(hostile, "json")
    for written in (combined, as_json):
        assert len(written) <= MAX_LINE_BYTES
        assert re.fullmatch(rb"[ -~]+\n", written)
    assert combined.count(b'"') == 8
    assert json.loads(as_json)["status"] == 200


def test_only_a_line_that_would_be_too_long_is_cut_and_says_where() -> None:
    whole = line(exchange(target="/" + "x" * 3000), "combined")
    assert b"x" * 3000 in whole
    cut = line(exchange(target="/" + "x" * 8000, User_Agent=b"Mozilla"), "combined")
    assert b'"GET /' + b"x" * 1023 + b'... HTTP/1.1" 200' in cut
    assert b'"Mozilla"' in cut
    assert json.loads(line(exchange(target="/" + "x" * 8000), "json"))["target"].endswith("xxx...")


@pytest.mark.skipif(shutil.which("nginx") is None, reason="no nginx")
def test_a_real_nginx_writes_the_same_line(tmp_path: Path) -> None:
    port = free_port()
    config = tmp_path / "nginx.conf"
    config.write_text(
        f"daemon off; master_process off; pid {tmp_path}/pid; error_log stderr; events {{}}\n"
        f"http {{ access_log {tmp_path}/log combined; client_body_temp_path {tmp_path}/b; proxy_temp_path {tmp_path}/p;\n"
        f"fastcgi_temp_path {tmp_path}/f; uwsgi_temp_path {tmp_path}/u; scgi_temp_path {tmp_path}/s;\n"
        f'server {{ listen 127.0.0.1:{port}; return 200 "hello"; }} }}\n'
    )
    process = subprocess.Popen(["nginx", "-c", str(config), "-p", str(tmp_path)], stderr=subprocess.DEVNULL)
    try:
        give_up = time.monotonic() + 20
        while not is_open(port) and time.monotonic() < give_up:
            time.sleep(0.02)
        target, referer, agent = b'/a"b?c=\xc3\xa9\\', b'http://a/"\\\xff', b"caf\xe9 \x80\t(X)"
        with socket.create_connection(("127.0.0.1", port), 20) as client:
            client.sendall(
                b"GET %b HTTP/1.1\r\nHost: a\r\nReferer: %b\r\nUser-Agent: %b\r\nConnection: close\r\n\r\n"
                % (target, referer, agent)
            )
            while client.recv(65_536):
                pass
    finally:
        process.terminate()
        process.wait(20)
    [theirs] = [one for one in (tmp_path / "log").read_bytes().splitlines() if b"GET" in one]
    same = exchange(
        target=target.decode("utf-8", "surrogateescape"), client="127.0.0.1", Referer=referer, User_Agent=agent
    )
    same.response_bytes = 5
    # The time's form is compared, not the time.
    form = re.compile(rb"\[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\]")
    assert form.sub(b"[]", line(same, "combined")) == form.sub(b"[]", theirs) + b' "1234 us" - -\n'
    assert form.search(theirs)


@given(st.lists(st.integers(1, MAX_LINE_BYTES), max_size=40))
def test_pieces_are_whole_lines_in_order_and_as_long_as_may_be(sizes: list[int]) -> None:
    lines = [b"x" * (size - 1) + b"\n" for size in sizes]
    made = list(pieces(lines))
    assert b"".join(made) == b"".join(lines)
    assert all(len(piece) <= MAX_LINE_BYTES and piece.endswith(b"\n") for piece in made)
    assert all(len(a) + b.index(b"\n") + 1 > MAX_LINE_BYTES for a, b in zip(made, made[1:], strict=False))


# -- the writer


async def until(happened: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not happened():  # noqa: ASYNC110 - what is waited for happens in a thread or in the kernel
            await asyncio.sleep(0.01)


@pytest.fixture
def open_log():
    logs: list[AccessLog] = []

    def build(fd: int, style: str = "combined") -> AccessLog:
        logs.append(AccessLog(style, fd, asyncio.get_running_loop()))
        return logs[-1]

    yield build
    for one in logs:
        one.close()
        one._thread.join(5)
        assert not one._thread.is_alive()


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reading, writing = os.pipe()
    yield reading, writing
    for fd in (reading, writing):
        with suppress(OSError):
            os.close(fd)


def numbered(number: int, filler: int = 0) -> Exchange:
    return exchange(target=f"/{number}?" + "x" * filler)


def numbers(written: bytes) -> list[int]:
    """The numbers of the lines; each must be whole."""
    assert written.endswith(b"\n") or not written
    found = []
    for one in written.splitlines():
        match = re.fullmatch(
            rb'203\.0\.113\.9 - - \[[^]]+\] "GET /(\d+)\?x* HTTP/1\.1" 200 512 "-" "-" "1234 us" - -', one
        )
        assert match, one
        found.append(int(match[1]))
    return found


async def read_all(fd: int) -> bytes:
    """Until nobody has the other end any more."""

    def read() -> bytes:
        parts = []
        while part := os.read(fd, 65_536):
            parts.append(part)
        return b"".join(parts)

    return await asyncio.to_thread(read)


def said(caplog) -> list[tuple[int, int]]:
    """Lines and total of what was said of dropped ones."""
    found = [re.search(r"access_log_dropped lines=(\d+) total=(\d+)", record.getMessage()) for record in caplog.records]
    return [(int(match[1]), int(match[2])) for match in found if match]


async def test_lines_arrive_by_themselves_and_in_order(open_log, pipe) -> None:
    reading, writing = pipe
    log = open_log(writing)
    for number in range(5):
        log.write(numbered(number))
    written = await asyncio.to_thread(os.read, reading, 65_536)
    assert numbers(written) == [0, 1, 2, 3, 4]
    log.write(numbered(5))
    assert numbers(await asyncio.to_thread(os.read, reading, 65_536)) == [5]
    assert log.dropped == 0


async def test_what_is_kept_goes_out_when_it_is_64_kb(open_log, pipe, monkeypatch) -> None:
    monkeypatch.setattr(access_log_module, "FLUSH_SECS", 3600)
    reading, writing = pipe
    log = open_log(writing)
    size = len(line(numbered(10, 3000), "combined"))
    count = -(-65_536 // size)
    for number in range(10, 10 + count):
        assert log._done_bytes == 0
        log.write(numbered(number, 3000))
    written = b""
    while written.count(b"\n") < count:
        written += await asyncio.to_thread(os.read, reading, 65_536)
    assert numbers(written) == list(range(10, 10 + count))


async def test_closing_writes_what_there_is(open_log, pipe) -> None:
    reading, writing = pipe
    log = open_log(writing)
    log.write(numbered(1))
    log.close()
    log.close()
    log.write(numbered(2))
    os.close(writing)
    assert numbers(await read_all(reading)) == [1]
    assert log.dropped == 1


async def test_a_write_is_whole_lines_and_a_pipes_atom_at_most(open_log) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)  # keeps writes apart
    with ours, theirs:
        log = open_log(ours.fileno())
        for number in range(200):
            log.write(numbered(number, number * 10))
        packets = []
        while sum(packet.count(b"\n") for packet in packets) < 200:
            packets.append(await asyncio.to_thread(theirs.recv, 65_536))
        assert all(len(packet) <= MAX_LINE_BYTES for packet in packets)
        assert [number for packet in packets for number in numbers(packet)] == list(range(200))


def flags(fd: int) -> int:
    return fcntl.fcntl(fd, fcntl.F_GETFL)


async def test_a_reader_that_does_not_read_stops_nothing_and_hears_whole_lines_later(open_log, pipe, caplog) -> None:
    reading, writing = pipe
    before = flags(writing)
    log = open_log(writing)
    total = 2 * MAX_WAITING_BYTES // 1000
    for number in range(total):  # would stand still here, and the test with it, if any of it waited
        log.write(numbered(number, 900))
        if number % 100 == 0:
            await asyncio.sleep(0)
    assert flags(writing) == before  # a mode that others share
    assert log.dropped > total // 3
    dropped = log.dropped
    assert log._accepted_bytes - log._done_bytes <= MAX_WAITING_BYTES
    assert said(caplog) == []

    everything = asyncio.create_task(read_all(reading))
    await until(lambda: log._accepted_bytes == log._done_bytes)
    log.write(numbered(total))
    log.close()
    os.close(writing)
    arrived = numbers(await everything)
    assert arrived == sorted(set(arrived))
    assert (arrived[0], arrived[-1], len(arrived)) == (0, total, total - dropped + 1)
    assert log.dropped == dropped
    assert said(caplog) == [(dropped, dropped)]


async def test_of_a_reader_that_never_comes_back_is_spoken_once_a_minute(open_log, pipe, caplog, monkeypatch) -> None:
    _, writing = pipe
    monkeypatch.setattr(access_log_module, "LOG_SECS", 0.3)
    monkeypatch.setattr(access_log_module, "CLOSE_SECS", 0.05)
    log = open_log(writing)
    while not log.dropped:
        log.write(numbered(1, 3000))
    await until(lambda: said(caplog))
    while log.dropped < 2:
        log.write(numbered(1, 3000))
    await until(lambda: len(said(caplog)) == 2)
    assert said(caplog) == [(1, 1), (1, 2)]


async def test_closing_does_not_wait_for_a_reader_that_does_not_read(open_log, pipe, caplog, monkeypatch) -> None:
    monkeypatch.setattr(access_log_module, "CLOSE_SECS", 0.05)
    reading, writing = pipe
    log = open_log(writing)
    for number in range(200):
        log.write(numbered(number, 1000))
    log.close()
    log._thread.join(20)
    assert not log._thread.is_alive()
    os.close(writing)
    arrived = numbers(await read_all(reading))
    assert arrived == list(range(200 - log.dropped))
    assert log.dropped > 0
    assert said(caplog) == [(log.dropped, log.dropped)]


async def test_a_pipe_that_somebody_else_made_non_blocking_loses_nothing(open_log, pipe) -> None:
    reading, writing = pipe
    os.set_blocking(writing, False)
    log = open_log(writing)
    for number in range(300):
        log.write(numbered(number, 1000))
    await asyncio.sleep(0)
    everything = asyncio.create_task(read_all(reading))
    await until(lambda: log._accepted_bytes == log._done_bytes)
    log.close()
    os.close(writing)
    assert numbers(await everything) == list(range(300))
    assert log.dropped == 0


async def test_a_socket_as_systemd_gives_it_hears_whole_lines(open_log) -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        with ours:
            log = open_log(ours.fileno())
            for number in range(900):
                log.write(numbered(number, 1000))
            everything = asyncio.create_task(read_all(theirs.fileno()))
            await until(lambda: log._accepted_bytes == log._done_bytes)
            log.close()
        assert numbers(await everything) == list(range(900))


async def test_a_reader_that_is_gone_is_no_error(open_log, pipe, caplog) -> None:
    reading, writing = pipe
    log = open_log(writing)
    os.close(reading)
    for number in range(3):
        log.write(numbered(number))
    await until(lambda: log.dropped == 3)
    await until(lambda: said(caplog))
    log.write(numbered(4))
    log.close()
    assert said(caplog) == [(3, 3), (1, 4)]


async def test_a_full_disk_is_counted_and_the_next_line_begins_on_its_own(open_log, pipe, monkeypatch) -> None:
    reading, writing = pipe
    real, results = os.write, [40, OSError(28, "No space left on device"), OSError(28, "No space left on device")]

    def write(fd: int, data: bytes) -> int:
        if fd != writing or not results:
            return real(fd, data)
        result = results.pop(0)
        if isinstance(result, OSError):
            raise result
        return real(fd, data[:result])

    monkeypatch.setattr(access_log_module.os, "write", write)
    log = open_log(writing)
    for number in (1, 2, 3):
        log.write(numbered(number, 2500))  # one write each
    log.close()
    os.close(writing)
    torn, rest = (await read_all(reading)).split(b"\n", 1)
    assert len(torn) == 40
    assert numbers(rest) == [3]
    assert log.dropped == 2


async def test_dev_full_is_counted(open_log) -> None:
    with Path("/dev/full").open("wb", buffering=0) as full:  # noqa: ASYNC230
        log = open_log(full.fileno())
        log.write(numbered(1))
        log.close()
    assert log.dropped == 1


@pytest.mark.parametrize("mode", ["ab", "wb"], ids=[">> file", "> file"])
async def test_several_may_write_to_one_file(open_log, tmp_path: Path, mode: str) -> None:
    with (tmp_path / "log").open(mode, buffering=0) as file:
        logs = [open_log(file.fileno()) for _ in range(3)]
        for number in range(600):
            logs[number % 3].write(numbered(number, 100))
        for one in logs:
            one.close()
    assert sorted(numbers((tmp_path / "log").read_bytes())) == list(range(600))


WRITER = """
import asyncio, sys
from tests.proxy.test_access_log import numbered
from proxy.access_log import AccessLog

async def main(first):
    log = AccessLog("combined", 1, asyncio.get_running_loop())
    for number in range(first, first + 2000):
        log.write(numbered(number, (number * 37) % 1500))
        if number % 20 == 0:
            # No faster than the reader, or lines would be dropped: that is another test.
            while log._accepted_bytes - log._done_bytes > 100_000:
                await asyncio.sleep(0.001)
            await asyncio.sleep(0)
        if number == first + 20:
            print("ready", file=sys.stderr, flush=True)
    while log._accepted_bytes != log._done_bytes:
        await asyncio.sleep(0.001)
    log.close()
    assert log.dropped == 0

asyncio.run(main(int(sys.argv[1])))
"""


async def test_lines_of_several_processes_on_one_pipe_are_never_mixed(pipe) -> None:
    reading, writing = pipe
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    processes = [
        subprocess.Popen(  # noqa: ASYNC220
            [sys.executable, "-c", WRITER, str(first)], stdout=writing, stderr=subprocess.PIPE, env=environment
        )
        for first in (0, 10_000, 20_000)
    ]
    os.close(writing)
    try:
        # Nobody reads before all three have begun: none can be through by then, the pipe has room for a fraction.
        for process in processes:
            assert await asyncio.to_thread(process.stderr.readline) == b"ready\n"
        arrived = numbers(await asyncio.wait_for(read_all(reading), 50))
    finally:
        os.close(reading)
        codes = [process.wait(20) for process in processes]
        for process in processes:
            process.stderr.close()
    assert codes == [0, 0, 0]
    for first in (0, 10_000, 20_000):
        assert [number for number in arrived if first <= number < first + 10_000] == list(range(first, first + 2000))
    assert len(arrived) == 6000
    # They were all at it at the same time.
    assert arrived != sorted(arrived)


async def test_a_writer_that_waits_for_its_reader_keeps_nobody_elses_loop(open_log, pipe) -> None:
    """Two on one stuck pipe: the room that one was told of may be taken by the other, and neither loop may notice."""
    reading, writing = pipe
    logs = [open_log(writing), open_log(writing)]
    for number in range(1500):  # gets to its end with nobody reading
        logs[number % 2].write(numbered(number, 1000))
        await asyncio.sleep(0)
    everything = asyncio.create_task(read_all(reading))
    await until(lambda: all(one._accepted_bytes == one._done_bytes for one in logs))
    for one in logs:
        one.close()
    os.close(writing)
    arrived = numbers(await everything)
    assert len(arrived) == 1500 - sum(one.dropped for one in logs)
    assert len(set(arrived)) == len(arrived)
