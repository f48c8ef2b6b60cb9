import pytest
from aiohttp import web

from dashboard.guard import HEADERS, Hosts, bare, only_for, secure


@pytest.mark.parametrize(
    ("host", "listen", "allowed", "included"),
    [
        ("127.0.0.1:8081", "127.0.0.1", [], True),
        ("127.0.0.9", "127.0.0.1", [], True),
        ("localhost:1", "127.0.0.1", [], True),
        ("LOCALHOST.", "127.0.0.1", [], True),
        ("ropo.localhost", "127.0.0.1", [], True),
        ("[::1]:8081", "127.0.0.1", [], True),
        ("10.1.2.3:8081", "10.1.2.3", [], True),
        ("10.1.2.3", "127.0.0.1", [], False),
        ("10.1.2.3", "0.0.0.0", [], True),
        ("[fe80::1]", "::", [], True),
        ("evil.example", "0.0.0.0", [], False),
        ("evil.example", "127.0.0.1", [], False),
        ("evil.example:8081", "127.0.0.1", ["dash.intern"], False),
        ("dash.intern:8081", "127.0.0.1", ["Dash.Intern"], True),
        ("127.0.0.1.evil.example", "127.0.0.1", [], False),
        ("localhost.evil.example", "127.0.0.1", [], False),
        ("localhost:80@evil.example", "127.0.0.1", [], False),
        ("evil.example:80:80", "127.0.0.1", [], False),
        ("", "127.0.0.1", [], False),
        ("", "127.0.0.1", [""], False),
    ],
)
def test_only_names_that_are_ours_are_answered(host, listen, allowed, included):
    assert Hosts(listen, allowed).include([host]) is included


def test_a_request_without_a_host_or_with_two_is_not_answered():
    hosts = Hosts("127.0.0.1")
    assert not hosts.include([])
    assert not hosts.include(["127.0.0.1", "127.0.0.1"])


@pytest.mark.parametrize(("host", "name"), [("[::1]:80", "::1"), ("A.Example.:80", "a.example"), ("::1", "::1")])
def test_a_name_is_compared_without_port_brackets_and_capitals(host, name):
    assert bare(host) == name


@pytest.fixture
async def client(aiohttp_client):
    async def fail(request):
        raise RuntimeError("visitor@example.com")

    async def hello(request):
        return web.Response(text="hello", headers={"Cache-Control": "max-age=60"})

    app = web.Application(middlewares=[only_for(Hosts("127.0.0.1"))])
    app.on_response_prepare.append(secure)
    app.router.add_get("/", hello)
    app.router.add_get("/fail", fail)
    return await aiohttp_client(app)


@pytest.mark.parametrize(
    ("path", "host", "status"),
    [("/", "localhost", 200), ("/", "evil.example", 421), ("/fail", "localhost", 500), ("/nothing", "localhost", 404)],
)
async def test_every_answer_carries_the_security_headers(client, path, host, status):
    answer = await client.get(path, headers={"Host": host})
    assert answer.status == status
    for name, value in HEADERS.items():
        assert answer.headers[name] == value
    assert answer.headers["Server"] == "ropo"


async def test_a_bug_is_logged_and_not_shown(client, caplog):
    answer = await client.get("/fail")
    assert "visitor@example.com" not in await answer.text()
    assert "the page failed" in caplog.text


async def test_an_answer_keeps_the_caching_it_asked_for(client):
    assert (await client.get("/")).headers["Cache-Control"] == "max-age=60"
    assert (await client.get("/nothing")).headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"])
async def test_other_methods_are_refused(client, method):
    answer = await client.request(method, "/")
    assert answer.status == 405
    assert answer.headers["Allow"] == "GET,HEAD"
