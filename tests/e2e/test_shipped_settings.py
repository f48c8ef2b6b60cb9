"""The config.yaml in the repository, as `make run` uses it: the built-in site, its ERP, and three sinks."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.support.exports import csv_leads, jsonl_leads
from tests.support.ports import is_open
from tests.support.ropo_process import REPOSITORY, RopoProcess, run_ropo
from tests.support.visitor import Visitor
from tests.support.waiting import until

ERP_PORT = 8082


def test_the_shipped_settings_are_in_order():
    done = run_ropo("check", "--config", str(REPOSITORY / "config.yaml"))
    assert (done.returncode, done.stderr) == (0, "")


def test_forms_of_the_built_in_site_reach_its_erp(tmp_path: Path):
    if is_open(ERP_PORT):
        pytest.skip(f"port {ERP_PORT}, where the built-in ERP listens, is taken")
    shipped = yaml.safe_load((REPOSITORY / "config.yaml").read_text(encoding="utf-8"))
    # Other ports, and the folder of this test; the rest as it stands.
    del shipped["proxy"]["listen"], shipped["dashboard"], shipped["storage"]["path"]
    assert shipped["proxy"].pop("upstream") == "demo"
    with RopoProcess(tmp_path, upstream="demo", **shipped) as ropo:
        visitor = Visitor(ropo.port)
        home = visitor.open("/?utm_source=google&utm_medium=cpc&utm_campaign=autumn&gclid=Test123")
        assert home.status in (200, 302, 303)
        visitor.open("/de/")
        visitor.open("/de/produkte/", referrer=ropo.url + "/de/")
        contact = {"name": "Erika Muster", "email": "erika@example.com", "nachricht": "Was kostet die Presse?"}
        assert visitor.fill_in("/de/kontakt/", contact | {"email": "erika"}).status == 200
        assert visitor.fill_in("/de/kontakt/", contact | {"datenschutz": "on"}).status == 303
        callback = {"name": "Max Muster", "phone": "+49 30 901820", "preferred_time": "As soon as possible"}
        answer = visitor.fill_in("/en/callback/", callback | {"privacy": "on"})
        assert (answer.status, b"Thank you" in answer.body) == (200, True)

        delivered = "select count(*) from deliveries where state = 'delivered'"
        until(lambda: ropo.sql(delivered) == [(6,)], "both leads are at all three sinks")
        assert len(ropo.json("leads", "list")) == 2
        for leads in (csv_leads(ropo.data / "export/csv"), jsonl_leads(ropo.data / "export/jsonl")):
            assert len(leads) == 2
        erp = Visitor(ERP_PORT).open("/")
        assert erp.status == 200
        for text in (b"erika@example.com", b"Max Muster"):
            assert text in erp.body
        dashboard = Visitor(ropo.dashboard_port)
        page = dashboard.open("/")
        assert (page.status, b"erp-csv" in page.body) == (200, True)
        assert b"erika@example.com" not in page.body
        assert dashboard.open("/metrics").body.startswith(b"# HELP")
        assert ropo.stop() == 0
    assert not is_open(ERP_PORT)
