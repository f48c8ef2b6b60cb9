import re
from datetime import timedelta

import pytest

from dashboard.app import REQUESTS, make_app
from dashboard.settings import DashboardSettings
from storage import status
from tests.support import statuses
from tests.support.logs import AT_US, LEAD, a_visit, layout_of, write_log
from tracker import clock

NOW = clock.parse(clock.text_of(AT_US)) + timedelta(minutes=5)
HOSTILE = "<script>alert(1)</script>\"'><img src=x>\u202e" + "A" * 500


@pytest.fixture
def layout(tmp_path):
    return layout_of(tmp_path)


@pytest.fixture
async def dashboard(aiohttp_client, layout):
    settings = DashboardSettings(query_timeout_secs=20)
    return await aiohttp_client(make_app(layout, settings, sinks=["erp", "csv"], now=lambda: NOW))


def report(layout, **changed):
    states = {
        "supervisor": statuses.supervisor(now=NOW),
        "collector": statuses.collector(now=NOW),
        "worker-1": statuses.worker(now=NOW, in_flight=0),
    } | {name.replace("_", "-"): state for name, state in changed.items()}
    for name, state in states.items():
        status.write(layout, name, state)


def words(html):
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())


async def test_before_there_is_a_log_the_page_says_so_in_a_friendly_way(dashboard):
    answer = await dashboard.get("/")
    html = await answer.text()
    assert answer.status == 200
    assert "There is no log yet." in html
    assert "No worker has reported yet" in html


async def test_the_page_shows_processes_sinks_ledger_visits_and_leads(dashboard, layout):
    write_log(layout, a_visit())
    report(layout)
    text = words(await (await dashboard.get("/")).text())
    assert "All is well" in text
    assert "worker-1 4711 2 h 1 203 0 3 2 0 0 0 0.5 s ago" in text
    assert "erp 1 0 0 0 closed" in text
    assert "csv 0 1 0 0" in text
    assert "balanced" in text
    assert LEAD[:13] in text
    assert "Paid Search google / cpc / spring" in text
    assert "search.example" in text


async def test_contact_data_and_typed_queries_do_not_reach_the_page(dashboard, layout):
    write_log(layout, a_visit())
    html = await (await dashboard.get("/")).text()
    assert "/de/kontakt/" in html
    assert "SEALED" not in html
    assert "erika@example.com" not in html


async def test_hostile_strings_are_escaped_and_cut(dashboard, layout):
    batch = a_visit(campaign=HOSTILE)
    batch.events[0].path = HOSTILE
    batch.events[0].referrer_host = HOSTILE
    batch.events[0].browser = HOSTILE
    batch.lead_facts[0].page = HOSTILE
    write_log(layout, batch)
    report(layout, collector=statuses.collector(now=NOW, sinks={"erp": {"circuit": "open", "last_error": HOSTILE}}))
    html = await (await dashboard.get("/")).text()
    assert "<script" not in html
    assert "<img" not in html
    assert "\u202e" not in html
    assert "A" * 300 not in html
    assert "&lt;script&gt;" in html


async def test_the_page_loads_itself_again_and_runs_no_script(dashboard):
    answer = await dashboard.get("/")
    html = await answer.text()
    assert '<meta http-equiv="refresh" content="5">' in html
    assert "<script" not in html
    assert " style=" not in html
    assert not re.search(r"\son\w+=", html)
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none';")
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy


async def test_everything_the_page_needs_is_served_here(dashboard):
    html = await (await dashboard.get("/")).text()
    links = re.findall(r'(?:href|src)="([^"]+)"', html)
    assert len(links) == 4
    for link in links:
        assert link.startswith("/")
        answer = await dashboard.get(link)
        assert answer.status in {200, 503}
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert (await dashboard.get("/style.css")).content_type == "text/css"


async def test_healthz_is_200_in_order_and_503_with_reasons(dashboard, layout):
    empty = await dashboard.get("/healthz")
    assert empty.status == 503
    assert "No worker has reported yet." in (await empty.json())["problems"]
    write_log(layout, a_visit())
    report(layout)
    well = await dashboard.get("/healthz")
    assert (well.status, (await well.json())["status"]) == (200, "ok")
    report(layout, worker_1=statuses.worker(now=NOW, seen_secs=30))
    gone = await dashboard.get("/healthz")
    assert gone.status == 503
    assert "Worker-1 has not been seen for 30 s" in (await gone.json())["problems"][0]


async def test_a_log_that_cannot_be_read_is_a_warning(dashboard, layout):
    report(layout)
    layout.log_db.write_bytes(b"no database" * 1000)
    answer = await dashboard.get("/healthz")
    assert answer.status == 200
    assert "cannot be opened" in (await answer.json())["warnings"][0]
    assert "cannot be opened" in await (await dashboard.get("/")).text()


async def test_metrics_are_prometheus_text(dashboard, layout):
    report(layout)
    answer = await dashboard.get("/metrics")
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    text = await answer.text()
    assert 'ropo_requests_total{worker="worker-1"} 1203.0' in text
    assert "# HELP ropo_requests_total " in text


@pytest.mark.parametrize("path", ["/", "/healthz", "/metrics", "/style.css", "/nothing"])
async def test_a_foreign_name_sees_nothing(dashboard, path):
    answer = await dashboard.get(path, headers={"Host": "rebound.example"})
    assert answer.status == 421
    assert "ropo_" not in await answer.text()


async def test_an_allowed_name_is_answered(aiohttp_client, layout):
    settings = DashboardSettings(allowed_hosts=["dash.intern"])
    client = await aiohttp_client(make_app(layout, settings, sinks=[]))
    assert (await client.get("/metrics", headers={"Host": "dash.intern:8081"})).status == 200


async def test_only_reading_is_possible(dashboard):
    assert (await dashboard.post("/", data=b"x")).status == 405
    assert (await dashboard.head("/")).status == 200
    assert await (await dashboard.head("/")).read() == b""


async def test_requests_are_counted(dashboard):
    await dashboard.get("/metrics")
    await dashboard.get("/nothing")
    assert dashboard.app[REQUESTS] == [2]
