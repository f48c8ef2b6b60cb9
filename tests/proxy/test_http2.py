"""A connection over HTTP/2: many streams, the bounds that keep it from doing harm, and how it ends."""

from __future__ import annotations

import asyncio
import random
import re
import shutil
from collections.abc import Awaitable, Callable

import hpack
import pytest

from proxy.http2_engine import MAX_STREAMS
from proxy.http2_frames import IDLE_FRAMES, PREFACE, RESETS, WINDOW_UPDATES, Code
from tests.proxy.conftest import Stage, anyone, ok, until
from tests.support.http2_client import Http2Client, frame

pytestmark = pytest.mark.usefixtures("brisk")
Build = Callable[..., Awaitable[tuple]]

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
LAST_STREAM = 2**31 - 1


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A site that never answers."""
    await reader.read()


async def who_is_there(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers with the target, later the longer it is."""
    while True:
        target = (await reader.readuntil(b"\r\n\r\n")).split(b" ")[1]
        await asyncio.sleep(0.001 * (len(target) % 5))
        writer.write(ok(target))


def served(stage: Stage) -> int:
    """How many streams the proxy works on."""
    return sum(len(connection.streams) for connection in stage.proxy.connections)


async def calmed(client: Http2Client) -> Code:
    """The code of GOAWAY with which the proxy ended the connection."""
    await client.until_lost()
    return Code(client.goaway[-1][0])


# -- many streams


async def test_a_hundred_streams_at_once_get_each_its_own_answer(http2_stage: Build):
    stage, visit = await http2_stage(who_is_there)
    client = await visit()
    await client.until(lambda: client.settings.get(3) == MAX_STREAMS)
    asked = {client.ask(b"/%d" % 7**n): b"/%d" % 7**n for n in range(MAX_STREAMS)}
    for number, target in asked.items():
        assert (await client.answer(number)).body == target
    exchanges = await stage.until_logged(MAX_STREAMS)
    assert sorted(e.seq for e in exchanges) == list(range(1, MAX_STREAMS + 1))
    assert stage.proxy.in_flight == 0


async def test_many_requests_in_one_write_are_all_answered(http2_stage: Build):
    stage, visit = await http2_stage(ok())
    client = await visit()
    for _ in range(20):
        numbers = [client.ask_raw(GET, flush=False) for _ in range(90)]
        client.flush()
        assert [(await client.answer(number)).status for number in numbers] == [200] * 90
    assert len(await stage.until_logged(1800)) == 1800


GET = [(b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"localhost"), (b":path", b"/")]


async def test_answers_of_one_connection_take_turns(http2_stage: Build):
    """While one stream downloads without end, others are served, also over a transport that is never empty."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            writer.write(ok(b"x" * (60_000_000 if b"/large" in head else 100)))
            await writer.drain()

    _, visit = await http2_stage(handler)
    client = await visit(window=2**30)
    client.h2.increment_flow_control_window(2**30)
    large = client.ask(b"/large")
    await client.until(lambda: len(client.answers[large].body) > 1_000_000)
    small = await client.answer(client.ask(b"/small"))
    assert small.ended and not client.answers[large].ended
    client.reset(large)


# -- bounds


async def test_one_stream_more_than_allowed_ends_the_connection(http2_stage: Build):
    stage, visit = await http2_stage(silent)
    client = await visit()
    for _ in range(MAX_STREAMS + 1):
        client.ask()
    assert await calmed(client) is Code.PROTOCOL_ERROR
    assert [e.status for e in await stage.until_logged(served(stage))] == [499] * len(stage.exchanges)
    assert stage.proxy.in_flight == 0


async def test_rapid_resets_end_the_connection_and_every_request_is_accounted_for(http2_stage: Build):
    stage, visit = await http2_stage(silent)
    client = await visit()
    for _ in range(2 * RESETS):
        if client.lost:
            break
        client.reset(client.ask())
        await asyncio.sleep(0)
    assert await calmed(client) is Code.ENHANCE_YOUR_CALM
    await until(lambda: stage.proxy.in_flight == 0)
    assert {(e.status, e.ended_by) for e in stage.exchanges} <= {(499, "client")}
    assert len(stage.exchanges) < 2 * RESETS


async def test_requests_that_are_reset_in_the_same_breath_never_reach_the_site(http2_stage: Build):
    stage, visit = await http2_stage(ok())
    client = await visit()
    for _ in range(20):
        number = client.ask_raw(GET, flush=False)
        client.h2.reset_stream(number, 8)
    client.flush()
    exchanges = await stage.until_logged(20)
    assert {(e.status, e.ended_by) for e in exchanges} == {(499, "client")}
    assert stage.heads == []


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda n: frame(WINDOW_UPDATE, b"\x7f\xff\xff\xff", stream=n), id="a window that overflows"),
        pytest.param(lambda n: frame(DATA, b"x", stream=n), id="data after the end"),
        pytest.param(lambda n: frame(HEADERS, b"\x82", flags=5, stream=n), id="a head after the end"),
    ],
)
async def test_a_client_that_makes_us_reset_ends_the_connection(http2_stage: Build, spoil: Callable[[int], bytes]):
    stage, visit = await http2_stage(silent)
    client = await visit()
    for _ in range(2 * RESETS):
        if client.lost:
            break
        number = client.ask()
        client.write(spoil(number))
        await asyncio.sleep(0)
    assert await calmed(client) is Code.ENHANCE_YOUR_CALM
    await until(lambda: stage.proxy.in_flight == 0)
    assert len(stage.exchanges) < 2 * RESETS


async def test_refused_requests_count_as_well(http2_stage: Build):
    stage, visit = await http2_stage(ok())
    client = await visit()
    for _ in range(2 * RESETS):
        if client.lost:
            break
        client.ask(fields=[(b"connection", b"close")])
        await asyncio.sleep(0)
    assert await calmed(client) is Code.ENHANCE_YOUR_CALM
    await until(lambda: stage.proxy.in_flight == 0)
    assert stage.heads == [] and {e.refusal for e in stage.exchanges} == {"bad_request"}


@pytest.mark.parametrize(
    "flood",
    [
        pytest.param(frame(PING, b"12345678") * (IDLE_FRAMES + 200), id="ping"),
        pytest.param(frame(SETTINGS) * (IDLE_FRAMES + 200), id="settings"),
        pytest.param(frame(PRIORITY, b"\0\0\0\0\x10", stream=5) * (IDLE_FRAMES + 200), id="priority"),
        pytest.param(frame(DATA, stream=1) * (IDLE_FRAMES + 200), id="empty data"),
        pytest.param(frame(WINDOW_UPDATE, b"\0\0\0\1") * (WINDOW_UPDATES + 200), id="window updates"),
    ],
)
async def test_a_flood_of_frames_ends_the_connection(http2_stage: Build, flood: bytes):
    stage, visit = await http2_stage(silent)
    client = await visit()
    client.ask(method=b"POST", ends=False)
    await until(lambda: served(stage) == 1)
    client.write(flood)
    assert await calmed(client) is Code.ENHANCE_YOUR_CALM
    [exchange] = await stage.until_logged()
    assert exchange.status == 499


async def test_a_head_that_unpacks_to_too_much_ends_the_connection(http2_stage: Build):
    _, visit = await http2_stage(ok())
    client = await visit()
    # CVE-2016-6581: one field of 4,000 bytes in the table, and then a byte for each time it is meant.
    fields = [*GET, *[(b"x", b"y" * 3900)] * 200]
    client.ask_raw(fields)
    assert await calmed(client) is Code.ENHANCE_YOUR_CALM


async def test_a_head_without_end_ends_the_connection(http2_stage: Build):
    _, visit = await http2_stage(ok())
    client = await visit()
    client.write(frame(HEADERS, b"\x82", stream=1) + frame(CONTINUATION, b"", stream=1) * 100)
    assert await calmed(client) is Code.ENHANCE_YOUR_CALM


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", id="http 1"),
        pytest.param(frame(HEADERS, b"\xff" * 20, flags=5, stream=1), id="no preface"),
    ],
)
async def test_who_agreed_on_http2_and_speaks_otherwise_is_sent_away(http2_stage: Build, data: bytes):
    stage, visit = await http2_stage(ok())
    client = await visit(raw=True)
    client.transport.write(data)
    assert await calmed(client) is Code.PROTOCOL_ERROR
    assert not stage.exchanges


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(frame(HEADERS, b"\xff" * 20, flags=5, stream=1), id="no hpack"),
        pytest.param(frame(DATA, b"x", stream=9), id="data for nobody"),
        pytest.param(frame(CONTINUATION, b"x", stream=1), id="the rest of no head"),
        pytest.param(frame(PUSH_PROMISE, b"\0\0\0\2\x82", flags=4, stream=1), id="push"),
        pytest.param(frame(HEADERS, b"\x82", stream=1) + frame(PING, b"12345678"), id="a frame within a head"),
        pytest.param(frame(WINDOW_UPDATE, b"\0\0\0\0"), id="a window of nothing"),
        pytest.param(frame(SETTINGS, b"\0\4\xff\xff\xff\xff"), id="a window that is too large"),
        pytest.param(frame(DATA, b"\xff", flags=8, stream=1), id="more padding than frame"),
        pytest.param(frame(DATA, b"x" * 20_000, stream=1), id="a long frame"),
    ],
)
async def test_frames_that_break_the_rules_end_the_connection_and_all_on_it(http2_stage: Build, data: bytes):
    stage, visit = await http2_stage(silent)
    client = await visit()
    client.ask()
    await until(lambda: served(stage) == 1)
    client.write(data)
    await client.until_lost()
    assert client.goaway[-1][0] not in (Code.NO_ERROR, Code.INTERNAL_ERROR)
    [exchange] = await stage.until_logged()
    assert (exchange.status, exchange.ended_by, stage.proxy.bugs) == (499, "client", 0)


async def test_a_client_that_reads_nothing_does_not_fill_our_memory(http2_stage: Build):
    stage, visit = await http2_stage(b"HTTP/1.1 304 Not Modified\r\nX-A: " + b"a" * 4000 + b"\r\n\r\n")
    client = await visit()
    client.transport.pause_reading()
    asked = 0
    while asked < 20_000 and not (asked > 3000 and client.transport.get_write_buffer_size() > 65_536):
        for _ in range(50):
            client.h2.streams.clear()  # it does not care for its own bound either
            client.ask_raw(GET, flush=False)
        asked += 50
        client.flush()
        await asyncio.sleep(0.001)
    for connection in stage.proxy.connections:
        assert connection.transport.get_write_buffer_size() < 2_000_000


@pytest.mark.parametrize("seed", range(6))
async def test_whatever_frames_come_every_request_is_accounted_for(http2_stage: Build, seed: int):
    stage, _ = await http2_stage(ok(b"x" * 100_000))
    dice = random.Random(seed)
    for _ in range(15):
        encode = hpack.Encoder().encode
        # Nobody who keeps account of streams could send this.
        context = anyone()
        context.set_alpn_protocols(["h2"])
        reader, writer = await asyncio.open_connection("127.0.0.1", stage.https_port, ssl=context)
        stage.writers.append(writer)
        reading = asyncio.create_task(reader.read())
        writer.write(PREFACE + frame(SETTINGS))
        number = -1
        for _ in range(60):
            if reading.done():
                break
            kinds = [DATA, DATA, HEADERS, HEADERS, HEADERS, RST_STREAM, WINDOW_UPDATE, PING, SETTINGS, 0x20]
            kind = dice.choice(kinds) if number > 0 else HEADERS
            stream = max(1, number - dice.choice([0, 0, 0, 2, 2, 4, 4, 6]))
            flags, payload = dice.choice([0, 1, 4, 5, 4, 5, 5]), dice.randbytes(dice.choice([0, 4, 8, 30]))
            if kind == HEADERS:
                stream = number = number + 2
                extra = dice.choice([[], [], [(b"content-length", b"3")], [(b"te", b"x")], [(b"cookie", b"a")] * 3])
                payload, flags = encode(GET + extra, huffman=dice.random() < 0.5), dice.choice([4, 4, 5])
            elif kind in (RST_STREAM, WINDOW_UPDATE):
                payload = dice.choice([b"\0\0\0\5", b"\0\1\0\0", b"\x7f\xff\xff\xff"])
            elif kind in (PING, SETTINGS):
                payload, stream, flags = (b"12345678" if kind == PING else b"\0\4\0\0\0\x10"), 0, 0
            elif kind == DATA and dice.random() < 0.7:
                flags &= 1
            writer.write(frame(kind, payload, flags=flags, stream=stream))
            if dice.random() < 0.1:
                await asyncio.sleep(0.001)
        await asyncio.sleep(0.01)
        writer.transport.abort()
        await asyncio.gather(reading, return_exceptions=True)
    await until(lambda: stage.proxy.in_flight == 0 and not stage.proxy.connections)
    assert stage.proxy.bugs == 0 and not stage.proxy.uploads
    assert sorted(e.seq for e in stage.exchanges) == list(range(1, stage.proxy.seq + 1))
    assert len(stage.exchanges) > 100


# -- the clock


async def test_a_connection_that_idles_is_told_and_closed(http2_stage: Build):
    stage, visit = await http2_stage(ok(), idle_timeout_secs=0.1)
    client = await visit()
    await client.answer(client.ask())
    assert await calmed(client) is Code.NO_ERROR
    await until(lambda: not stage.proxy.connections)


async def test_a_connection_that_only_pings_idles(http2_stage: Build):
    _, visit = await http2_stage(ok(), idle_timeout_secs=0.3)
    client = await visit()
    while not client.lost:
        client.h2.ping(b"12345678")
        client.flush()
        await asyncio.sleep(0.02)
    assert client.goaway[-1][0] == Code.NO_ERROR


@pytest.mark.parametrize(
    "begin", [frame(HEADERS, b"\x82\x84\x87", stream=1), frame(HEADERS, b"\x82" * 99, flags=5, stream=1)[:50]]
)
async def test_a_head_that_does_not_come_to_its_end_is_not_waited_for(http2_stage: Build, begin: bytes):
    stage, visit = await http2_stage(ok(), head_timeout_secs=0.2)
    client = await visit()
    await client.pong()  # so that its own acknowledgements do not come within the head
    client.write(begin)
    await client.until_lost()
    assert stage.proxy.refusals["request_timeout"] == 1


async def test_a_connection_with_work_is_not_idle(http2_stage: Build):
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(0.5)
        writer.write(ok())

    _, visit = await http2_stage(handler, idle_timeout_secs=0.1, head_timeout_secs=0.1)
    client = await visit()
    assert (await client.answer(client.ask())).status == 200


# -- the end


async def test_a_stop_lets_running_answers_finish_and_takes_no_more(http2_stage: Build):
    go_on = asyncio.Event()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await go_on.wait()
        writer.write(ok())

    stage, visit = await http2_stage(handler, stop_timeout_secs=10)
    client, idle = await visit(), await visit()
    running = client.ask()
    await until(lambda: served(stage) == 1)
    stopping = asyncio.create_task(stage.proxy.stop())
    await client.until(lambda: client.goaway == [(Code.NO_ERROR, running)])
    await idle.until_lost()
    assert idle.goaway == [(Code.NO_ERROR, 0)]
    assert (await client.answer(client.ask())).reset == Code.REFUSED_STREAM  # may be asked again elsewhere
    go_on.set()
    answer = await client.answer(running)
    assert (answer.status, answer.ended) == (200, True)
    await client.until_lost()
    assert client.goaway[-1] == (Code.NO_ERROR, running)
    await stopping
    assert [(e.status, e.ended_by) for e in stage.exchanges] == [(200, None)]


async def test_within_the_grace_a_request_is_answered_and_the_client_told_to_leave(http2_stage: Build):
    stage, visit = await http2_stage(ok())
    client = await visit()
    await client.pong()
    stopping = asyncio.create_task(stage.proxy.stop(idle_grace_secs=1))
    await until(lambda: stage.proxy.stopping)
    assert (await client.answer(client.ask())).status == 200
    await client.until_lost()
    assert client.goaway == [(Code.NO_ERROR, LAST_STREAM), (Code.NO_ERROR, 1)]
    await stopping


async def test_a_stop_does_not_wait_for_ever(http2_stage: Build):
    stage, visit = await http2_stage(silent, stop_timeout_secs=0.2)
    client = await visit()
    client.ask()
    await until(lambda: served(stage) == 1)
    await stage.proxy.stop()
    await client.until_lost()
    assert [(e.status, e.ended_by) for e in stage.exchanges] == [(499, "client")]


async def test_a_client_that_leaves_gets_what_it_asked_for_before(http2_stage: Build):
    go_on = asyncio.Event()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await go_on.wait()
        writer.write(ok())

    stage, visit = await http2_stage(handler)
    client = await visit()
    number = client.ask()
    client.write(frame(GOAWAY, b"\0" * 8))
    await client.pong()
    go_on.set()
    assert (await client.answer(number)).ended
    await client.until_lost()
    assert [e.status for e in await stage.until_logged()] == [200]


async def test_a_client_that_leaves_in_the_same_breath_gets_all_it_asked_for(http2_stage: Build):
    stage, visit = await http2_stage(ok())
    client = await visit()
    await client.pong()
    malformed = client.ask_raw([*GET, (b"te", b"x")], flush=False)
    good = client.ask_raw(GET, flush=False)
    client.transport.write(client.h2.data_to_send() + frame(GOAWAY, b"\0" * 8))
    assert (await client.answer(malformed)).status == 400
    assert (await client.answer(good)).status == 200
    await client.until_lost()
    assert [e.status for e in stage.exchanges] == [400, 200]


async def test_a_connection_that_is_lost_ends_all_its_streams(http2_stage: Build):
    stage, visit = await http2_stage(silent)
    client = await visit()
    for _ in range(10):
        client.ask()
    client.ask(method=b"POST", ends=False)
    await until(lambda: served(stage) == 11)
    await client.close()
    exchanges = await stage.until_logged(11)
    assert {(e.status, e.ended_by) for e in exchanges} == {(499, "client")}
    assert not stage.proxy.connections and not stage.proxy.uploads and stage.proxy.in_flight == 0


async def test_too_many_connections_are_told_to_be_calm(http2_stage: Build):
    stage, visit = await http2_stage(ok(), max_connections_per_address=1)
    first, second = await visit(), await visit()
    assert await calmed(second) is Code.ENHANCE_YOUR_CALM
    assert stage.proxy.refusals["too_many_connections"] == 1
    assert (await first.answer(first.ask())).status == 200


async def test_the_one_that_idles_longest_makes_room(http2_stage: Build):
    stage, visit = await http2_stage(ok(), max_connections=1)
    first = await visit()
    await first.answer(first.ask())
    second = await visit()
    assert (await second.answer(second.ask())).status == 200
    assert await calmed(first) is Code.NO_ERROR


async def test_a_bug_of_ours_costs_the_connection_and_is_counted(
    http2_stage: Build, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    stage, visit = await http2_stage(ok())
    monkeypatch.setattr("proxy.http2.read_request", lambda *a, **k: 1 / 0)
    client = await visit()
    client.ask()
    await client.until_lost()
    assert stage.proxy.bugs == 1 and "ZeroDivisionError" in caplog.text


# -- real clients


async def run(*command: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    out, _ = await asyncio.wait_for(process.communicate(), 30)
    return out.decode("utf-8", "replace")


def needs(command: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(command) is None, reason=f"{command} is not installed")


@needs("curl")
async def test_curl_downloads_and_uploads(http2_stage: Build, tmp_path):
    if "HTTP2" not in await run("curl", "--version"):
        pytest.skip("this curl has no HTTP/2")

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            size = re.search(rb"content-length: (\d+)", head)
            body = await reader.readexactly(int(size[1])) if size else b"d" * 3_000_000
            writer.write(ok(body))
            await writer.drain()

    stage, visit = await http2_stage(handler)
    url = f"https://localhost:{stage.https_port}/"
    said = "%{http_version} %{http_code} %{size_download}"
    assert await run("curl", "-sk", "--http2", "-o", str(tmp_path / "down"), "-w", said, url) == "2 200 3000000"
    upload = tmp_path / "up"
    upload.write_bytes(b"u" * 2_000_000)
    out = await run(
        "curl", "-sk", "--http2", "--data-binary", f"@{upload}", "-o", str(tmp_path / "back"), "-w", said, url
    )
    assert out == "2 200 2000000"
    assert (tmp_path / "back").read_bytes() == upload.read_bytes()
    assert [e.status for e in await stage.until_logged(2)] == [200, 200]


@needs("nghttp")
async def test_nghttp_gets_many_at_once(http2_stage: Build):
    stage, visit = await http2_stage(ok(b"x" * 50_000))
    urls = [f"https://localhost:{stage.https_port}/{number}" for number in range(20)]
    out = await run("nghttp", "-ns", *urls)
    assert len(re.findall(r"\b200\b", out)) == 20, out
    assert len(await stage.until_logged(20)) == 20


@needs("h2load")
async def test_h2load_finds_no_fault(http2_stage: Build):
    stage, visit = await http2_stage(ok(b"x" * 8000))
    out = await run("h2load", "-n", "1000", "-c", "4", "-m", "20", f"https://localhost:{stage.https_port}/")
    assert "1000 succeeded, 0 failed, 0 errored" in out, out
    assert len(await stage.until_logged(1000)) == 1000
