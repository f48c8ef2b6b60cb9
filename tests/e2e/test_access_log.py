"""The access log of a whole ropo: what stands on stdout beside what stands in the log."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import pytest

from tests.support.load import BROWSER, Load
from tests.support.origins import Site
from tests.support.ports import free_port
from tests.support.ropo_process import RopoProcess
from tests.support.visitor import Visitor
from tests.support.waiting import until

COMBINED = re.compile(
    r'(?P<client>\S+) - - \[\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\] "(?P<request>[^"]*)" (?P<status>\d{3}) (?P<bytes>\d+)'
    r' "(?P<referer>[^"]*)" "(?P<agent>[^"]*)" "\d+ us" (?P<ended_by>\S+) (?P<refusal>\S+)'
)


def lines(ropo: RopoProcess, style: str) -> list[tuple[str, int]]:
    """Target and status of every line of the access log, whatever else was said between them."""
    if style == "combined":
        found = [match for line in ropo.said().splitlines() if (match := COMBINED.fullmatch(line))]
        return [(match["request"].split(" ")[1], int(match["status"])) for match in found]
    entries = [json.loads(line) for line in ropo.said().splitlines() if line.startswith("{")]
    return [(entry["target"], entry["status"]) for entry in entries]


@pytest.mark.parametrize("style", ["combined", "json"])
def test_each_request_has_exactly_one_line_whichever_worker_served_it(tmp_path: Path, site: Site, style: str):
    with RopoProcess(tmp_path, upstream=site.url, proxy={"access_log": style}) as ropo:
        with Load(ropo.port, threads=6, form_every=7) as load:
            load.more(600)
        assert load.unanswered == []
        assert ropo.stop() == 0
        assert {worker for (worker,) in ropo.sql("select distinct worker from events")} == {"worker-1", "worker-2"}
        written = Counter(lines(ropo, style))
        markers = {target.rpartition("?m=")[2]: (status, count) for (target, status), count in written.items()}
        assert markers == {marker: (status, 1) for marker, status in load.answered.items()}
        assert sum(written.values()) == sum(ropo.markers().values())


def test_what_went_wrong_and_what_was_forged_stands_in_a_line_of_its_own(tmp_path: Path):
    with RopoProcess(tmp_path, upstream=f"http://127.0.0.1:{free_port()}", proxy={"access_log": "combined"}) as ropo:
        forged = 'x"\\ 127.0.0.1 - - [now] "GET /forged HTTP/1.1" 200 0'
        assert Visitor(ropo.port).open("/down?m=down", User_Agent=forged, referrer="/kontakt").status == 502
        [line] = until(lambda: [line for line in ropo.said().splitlines() if "/down" in line], "the line is written")
    match = COMBINED.fullmatch(line)
    assert match, line
    assert (match["client"], match["request"], match["status"]) == ("127.0.0.1", "GET /down?m=down HTTP/1.1", "502")
    assert (match["ended_by"], match["refusal"]) == ("upstream", "upstream_down")
    assert match["agent"].startswith(r"x\x22\x5C 127.0.0.1")


def test_without_the_setting_there_is_none(tmp_path: Path, site: Site):
    with RopoProcess(tmp_path, upstream=site.url) as ropo:
        assert Visitor(ropo.port).open("/?m=quiet").status == 200
        assert ropo.stop() == 0
        assert ropo.markers() == {"quiet": 1}
        assert "quiet" not in ropo.said() and BROWSER not in ropo.said()
