"""Which of a site's servers takes the next request, with servers that go down and come back."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from proxy.address import Address
from proxy.balancer import Balancer
from proxy.servers import Server
from proxy.settings import ProxySettings
from tests.support.upstreams import Backend, Clock, ask, eventually

NOBODY = ["http://127.0.0.1:1", "http://127.0.0.1:2", "http://127.0.0.1:3"]


def balancer_over(*urls: str, now: Clock | None = None, **settings: object) -> Balancer:
    merged = ProxySettings(upstream=list(urls), **{"upstream_failures": 1, "upstream_rest_secs": 10, **settings})
    loop = asyncio.get_running_loop()
    return Balancer([Server(Address.of(url), merged, loop, now=now) for url in urls])


@pytest.fixture
async def two() -> AsyncIterator[tuple[Backend, Backend]]:
    backends = await Backend("one").start(), await Backend("two").start()
    yield backends
    for backend in backends:
        await backend.stop()
    await asyncio.sleep(0.01)


async def test_in_turn_where_all_have_equally_much_to_do() -> None:
    balancer = balancer_over(*NOBODY)
    one, two, three = balancer.servers
    assert [balancer.choose() for _ in range(6)] == [one, two, three, one, two, three]


async def test_the_one_with_the_fewest_running_requests_first() -> None:
    balancer = balancer_over(*NOBODY)
    one, two, three = balancer.servers
    one.running, two.running, three.running = 2, 1, 2
    assert balancer.choose() is two
    two.running = 3
    assert [balancer.choose(), balancer.choose(), balancer.choose()] == [three, one, three]


async def test_a_server_that_was_tried_is_not_chosen_again() -> None:
    balancer = balancer_over(*NOBODY)
    one, two, three = balancer.servers
    tried = []
    while (server := balancer.choose(tried)) is not None:
        tried.append(server)
    assert tried == [one, two, three]


async def test_one_server_is_always_chosen_unless_it_was_tried() -> None:
    balancer = balancer_over(NOBODY[0])
    [server] = balancer.servers
    for _ in range(5):
        server.failed()
    server.healthy = False
    assert balancer.choose() is server
    assert balancer.choose([server]) is None
    assert server.failures_total == 5


async def test_without_a_server_there_is_no_balancer() -> None:
    with pytest.raises(ValueError):
        Balancer([])


async def test_one_that_rests_or_is_unhealthy_is_left_out_while_another_is_up() -> None:
    balancer = balancer_over(*NOBODY, now=Clock())
    one, two, three = balancer.servers
    one.failed()
    two.healthy = False
    three.running = 100
    assert {balancer.choose() for _ in range(5)} == {three}
    assert balancer.choose([three]) in (one, two)


async def test_with_none_up_all_are_tried_rather_than_none() -> None:
    balancer = balancer_over(*NOBODY, now=Clock())
    for server in balancer.servers:
        server.failed()
        server.healthy = False
    assert [balancer.choose() for _ in range(3)] == list(balancer.servers)
    assert balancer.choose(balancer.servers) is None


async def test_after_its_rest_a_server_gets_one_request_until_it_has_answered() -> None:
    clock = Clock()
    balancer = balancer_over(*NOBODY[:2], now=clock)
    one, two = balancer.servers
    one.failed()
    clock.pass_by(10)
    chosen = [balancer.choose() for _ in range(6)]
    assert (chosen.count(one), chosen.count(two)) == (1, 5)
    one.answered()
    assert Counter(balancer.choose() for _ in range(6)) == {one: 3, two: 3}


# -- with real servers


async def test_two_servers_share_the_load_evenly(two: tuple[Backend, Backend]) -> None:
    balancer = balancer_over(two[0].url, two[1].url)
    answers = Counter(await asyncio.gather(*(ask(balancer) for _ in range(20))))
    assert answers == {"one": 10, "two": 10}
    answers = Counter([await ask(balancer) for _ in range(20)])  # one after the other, over idle connections
    assert answers == {"one": 10, "two": 10}
    assert [backend.accepted for backend in two] == [10, 10]
    assert [server.running for server in balancer.servers] == [0, 0]
    for server in balancer.servers:
        server.close()


async def test_a_slow_server_gets_less(two: tuple[Backend, Backend]) -> None:
    slow, fast = two
    slow.hold.clear()
    balancer = balancer_over(slow.url, fast.url)
    waiting = asyncio.create_task(ask(balancer))
    await eventually(lambda: slow.asked, "it was asked")
    assert Counter([await ask(balancer) for _ in range(10)]) == {"two": 10}
    slow.hold.set()
    assert await waiting == "one"
    for server in balancer.servers:
        server.close()


async def test_a_server_that_goes_down_and_comes_back_costs_no_request(two: tuple[Backend, Backend]) -> None:
    clock = Clock()
    one, other = two
    balancer = balancer_over(one.url, other.url, now=clock)
    first, second = balancer.servers
    await one.stop()
    assert Counter([await ask(balancer) for _ in range(10)]) == {"two": 10}
    assert (first.state, first.failures_total) == ("resting", 1)  # the other nine did not even try it

    clock.pass_by(10)
    assert Counter([await ask(balancer) for _ in range(10)]) == {"two": 10}
    assert (first.state, first.failures_total) == ("resting", 2)  # the probe

    await one.start()
    clock.pass_by(10)
    assert Counter([await ask(balancer) for _ in range(10)]) == {"one": 5, "two": 5}
    assert first.state == "up"
    first.close()
    second.close()


async def test_with_all_down_every_request_tries_each_and_the_first_back_is_found_at_once(
    two: tuple[Backend, Backend],
) -> None:
    balancer = balancer_over(two[0].url, two[1].url, now=Clock())
    await two[0].stop()
    await two[1].stop()
    assert [await ask(balancer) for _ in range(3)] == [None, None, None]
    assert [server.failures_total for server in balancer.servers] == [3, 3]
    await two[1].start()
    assert await ask(balancer) == "two"
    assert [server.state for server in balancer.servers] == ["resting", "up"]
    balancer.servers[1].close()
