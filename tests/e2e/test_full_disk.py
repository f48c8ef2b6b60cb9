"""The disk of a running ropo fills up and is emptied again: visitors notice nothing, and the ledger names what was lost.

On a real small file system, where this process may mount one.
"""

from __future__ import annotations

import http.client
import json
from pathlib import Path

from tests.support.origins import Site
from tests.support.ropo_process import RopoProcess
from tests.support.small_disk import fill, small_disk
from tests.support.waiting import until

# Some 9 kB a record: the 32 MB that a worker keeps in memory are full after 3,600 of them.
LONG = "x" * 7000
REQUESTS = 4000


def visit(connection: http.client.HTTPConnection, marker: str) -> None:
    connection.request("GET", f"/?m={marker}&l={LONG}", headers={"Referer": f"http://a.example/{LONG[:2000]}"})
    answer = connection.getresponse()
    answer.read()
    assert answer.status == 200


def metric(ropo: RopoProcess, name: str) -> float:
    connection = http.client.HTTPConnection("127.0.0.1", ropo.dashboard_port, timeout=10)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    return sum(float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(name))


def health(ropo: RopoProcess) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", ropo.dashboard_port, timeout=10)
    connection.request("GET", "/healthz")
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    return answer.status, body


def test_a_full_disk_costs_no_visitor_anything_and_the_ledger_names_what_was_lost(tmp_path: Path, site: Site):
    storage = {"hot_path": str(tmp_path / "hot.duckdb")}
    with (
        small_disk(tmp_path / "data", "size=160m") as data,
        RopoProcess(tmp_path, upstream=site.url, proxy={"workers": 1}, storage=storage) as ropo,
    ):
        visitor = http.client.HTTPConnection("127.0.0.1", ropo.port, timeout=30)
        visit(visitor, "before")
        until(lambda: "before" in ropo.markers(), "the log has the first")
        ballast = fill(data)
        for n in range(REQUESTS):
            visit(visitor, f"full-{n}")
        until(lambda: metric(ropo, "ropo_spool_lost_total"), "the worker tells that it loses records")
        until(lambda: "cannot write its spool" in health(ropo)[1], "healthz tells it")
        assert health(ropo)[0] == 503
        ballast.unlink()
        until(lambda: metric(ropo, "ropo_spool_pending") == 0, "what waited is written")
        lost = int(metric(ropo, "ropo_spool_lost_total"))
        assert 0 < lost < REQUESTS
        visit(visitor, "after")
        visitor.close()
        assert ropo.stop() == 0
        kept = ropo.markers()
        assert set(kept.values()) == {1}
        assert len(kept) == REQUESTS + 2 - lost
        assert {"before", "after", "full-0"} <= kept.keys()
        done = ropo.cli("ledger", "--json")
        answer = json.loads(done.stdout)
        assert (done.returncode, answer["balanced"], answer["missing"]) == (0, True, 0)
        assert (answer["received"], answer["lost"]) == (REQUESTS + 2, lost)
        said = ropo.said()
        assert said.count("spool error=disk_full") == said.count("spool error=losing") == 1
        assert f"lost={lost}" in said
