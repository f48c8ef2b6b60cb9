from __future__ import annotations

import json
from pathlib import Path

from ropo import secrets
from storage.sealed import read, sealed
from tests.ropo.cli.conftest import Ropo
from tests.support import sample_log
from tests.support.sample_log import CONTACT, ERIKA, ERIKA_LEAD, SampleLog


def orders_in(log: SampleLog) -> list[dict]:
    return [record.properties for path in sealed(log.layout.spool) for record in read(path)[1]]


def test_all_that_is_known_of_a_person_is_shown(ropo: Ropo, shared_log: SampleLog) -> None:
    for who in (ERIKA, "erika@example.org", " ERIKA@Example.org"):
        shown = ropo("visitor", "show", who, "--config", shared_log.config)
        assert shown.exit_code == 0, shown.stderr
        assert all(part in shown.stdout for part in (ERIKA, ERIKA_LEAD, "Erika Mustermann", "/pumps/p1", "erp"))
        assert "Tuesday is best." in shown.stdout and "+49 30" not in shown.stdout


def test_as_json_it_can_be_handed_out(ropo: Ropo, shared_log: SampleLog) -> None:
    answer = json.loads(ropo("visitor", "show", ERIKA, "--json", "--config", shared_log.config).stdout)
    assert (answer["visitors"], len(answer["events"]), len(answer["deliveries"])) == ([ERIKA], 5, 2)
    assert [lead["contact"] for lead in answer["leads"]] == [CONTACT]


def test_who_is_not_in_the_log_is_said_to_be_not(ropo: Ropo, own_log: SampleLog) -> None:
    for who in ("nobody@example.org", "019a8a00-0000-7000-8000-000000000bad"):
        for command in ("show", "erase"):
            answer = ropo("visitor", command, who, "--config", own_log.config)
            assert (answer.exit_code, answer.stdout) == (1, "") and "the log has no" in answer.stderr
    assert orders_in(own_log) == []


def test_a_dry_run_counts_and_orders_nothing(ropo: Ropo, own_log: SampleLog) -> None:
    answer = ropo("visitor", "erase", "erika@example.org", "--dry-run", "--config", own_log.config)
    assert answer.stdout.splitlines() == [
        "1 browsers, 5 events, 1 leads, 2 deliveries.",
        f"Already with erp: lead {ERIKA_LEAD}. Erase it there, too.",
        "Nothing was changed.",
    ]
    assert orders_in(own_log) == []


def test_the_order_for_an_address_names_the_leads_and_a_hash(ropo: Ropo, own_log: SampleLog) -> None:
    answer = ropo("visitor", "erase", "erika@example.org", "--config", own_log.config)
    assert answer.exit_code == 0 and "No ropo is running" in answer.stdout
    lead, address = orders_in(own_log)
    assert lead["lead_id"] == ERIKA_LEAD and lead["order"] == address["order"]
    assert address["email_hash"] == address["subject"] == lead["subject"] and len(address["subject"]) == 64
    assert "now" not in lead
    # The address itself is in no file.
    assert all(b"erika@" not in path.read_bytes() for path in own_log.layout.spool.iterdir())


def test_the_order_for_a_browser_names_it_and_its_leads(ropo: Ropo, own_log: SampleLog) -> None:
    assert ropo("visitor", "erase", ERIKA, "--now", "--config", own_log.config).exit_code == 0
    visitor, lead = orders_in(own_log)
    assert (visitor["visitor"], lead["lead_id"], visitor["now"]) == (ERIKA, ERIKA_LEAD, "yes")


def test_without_the_key_an_address_is_not_found_and_it_says_why(ropo: Ropo, own_log: SampleLog) -> None:
    secrets.contact_file(own_log.layout.secrets).unlink()
    answer = ropo("visitor", "erase", "erika@example.org", "--config", own_log.config)
    assert answer.exit_code == 1 and "cannot be opened" in answer.stderr


def test_an_erased_lead_shows_no_contact_at_once(ropo: Ropo, tmp_path: Path) -> None:
    log = sample_log.write(tmp_path)
    store = sample_log.Store.open(
        log.layout, sample_log.StorageSettings(path=str(log.layout.root), hot_path=str(log.layout.hot_db))
    )
    store.write(sample_log.Batch(lead_facts=[sample_log.LeadFact(ERIKA_LEAD, "2026-11-23 10:00:00.000000", "erased")]))
    store.publish()
    store.close()
    shown = ropo("leads", "list", "--json", "--config", log.config)
    [erased] = [lead for lead in json.loads(shown.stdout) if lead["lead_id"] == ERIKA_LEAD]
    assert (erased["contact"], erased["state"]) == ({}, "accepted")
    assert ropo("visitor", "show", "erika@example.org", "--config", log.config).exit_code == 1
