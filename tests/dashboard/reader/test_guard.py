import pytest

from dashboard.reader.guard import Guard

LOCAL = Guard("127.0.0.1", [], token="", get_allowed=True)
OPEN = Guard("0.0.0.0", ["sql.example"], token="t" * 20, get_allowed=False)
SQL = {"Content-Type": "application/sql"}
SHOWN = {"Authorization": "Bearer " + "t" * 20}


def status(guard, method="POST", path="/sql", fields=SQL, hosts=("127.0.0.1:8083",)):
    problem = guard.refusal(method, path, fields, list(hosts))
    return problem.status if problem else 200


@pytest.mark.parametrize(
    ("hosts", "expected"),
    [
        (["127.0.0.1:8083"], 200),
        (["localhost:8083"], 200),
        (["[::1]:8083"], 200),
        (["evil.example:8083"], 421),
        (["127.0.0.1.evil.example"], 421),
        ([], 421),
        (["127.0.0.1", "evil.example"], 421),
        (["192.0.2.7"], 421),
    ],
)
def test_only_our_own_names_are_answered(hosts, expected):
    assert status(LOCAL, hosts=hosts) == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, 415),
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
        ({"Content-Type": "multipart/form-data; boundary=x"}, 415),
        ({"Content-Type": "text/plain; application/sql"}, 415),
        ({"Content-Type": "application/sql; charset=utf-8"}, 200),
        ({"Content-Type": "Application/JSON"}, 200),
    ],
)
def test_no_query_comes_as_a_page_could_send_it_unasked(fields, expected):
    assert status(LOCAL, fields=fields) == expected


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"Sec-Fetch-Site": "none"}, 200),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "http://localhost:8083"}, 200),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "something new"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": ""}, 403),
        ({"Origin": "http://127.0.0.1:8083@evil.example"}, 403),
        ({"Referer": "https://evil.example/page"}, 403),
        ({"Referer": "http://127.0.0.1:8081/"}, 200),
        ({"Origin": "http://[::1"}, 403),
    ],
)
def test_pages_of_other_sites_may_not_ask(method, fields, expected):
    assert status(LOCAL, method=method, fields=SQL | fields) == expected


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/sql", 200), ("GET", "/schema", 200), ("HEAD", "/", 200), ("OPTIONS", "/sql", 405), ("PUT", "/sql", 405),
        ("POST", "/schema", 405), ("POST", "/", 405), ("TRACE", "/sql", 405),
    ],
)  # fmt: skip
def test_methods(method, path, expected):
    assert status(LOCAL, method=method, path=path) == expected


@pytest.mark.parametrize(
    ("authorization", "expected"),
    [
        ("Bearer " + "t" * 20, 200),
        ("bearer  " + "t" * 20, 200),
        ("Bearer " + "t" * 19, 401),
        ("Bearer", 401),
        ("Bearer ", 401),
        ("", 401),
        ("Basic " + "t" * 20, 401),
        ("t" * 20, 401),
        ("Bearer ü", 401),
    ],
)
def test_who_has_the_token_is_answered(authorization, expected):
    assert status(OPEN, fields=SQL | {"Authorization": authorization}) == expected


def test_open_to_others_a_query_never_stands_in_an_address():
    assert status(OPEN, method="GET", fields=SHOWN) == 405
    assert status(OPEN, method="GET", path="/schema", fields=SHOWN) == 200
    assert status(OPEN, fields=SQL | SHOWN, hosts=["sql.example"]) == 200
    assert status(OPEN, fields=SQL | SHOWN, hosts=["10.0.0.5:8083"]) == 200
    assert status(OPEN, fields=SQL | SHOWN, hosts=["other.example"]) == 421


def test_a_refusal_does_not_repeat_what_was_shown():
    problem = OPEN.refusal("POST", "/sql", SQL | {"Authorization": "Bearer wrong-one"}, ["10.0.0.5"])
    assert "wrong-one" not in problem.message and "tttt" not in problem.message
