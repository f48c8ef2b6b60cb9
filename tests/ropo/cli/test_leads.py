from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from ropo import secrets
from storage.lock import hold
from storage.sealed import read, sealed
from tests.ropo.cli.conftest import Ropo, on_terminal
from tests.support.ropo_process import run_ropo
from tests.support.sample_log import CONTACT, ERIKA_LEAD, UNKNOWN_LEAD, SampleLog
from tracker.model import FactRecord

SHORT = ERIKA_LEAD[:18]


def orders(log: SampleLog) -> Iterator[FactRecord]:
    """What lies in the spool."""
    for path in sealed(log.layout.spool):
        yield from read(path)[1]


# list


def test_the_list_has_one_line_per_lead_the_newest_first(ropo: Ropo, shared_log: SampleLog):
    done = ropo("leads", "list", "--config", shared_log.config)
    head, unknown, erika = done.stdout.splitlines()
    assert done.exit_code == 0
    assert head.split("  ")[0] == "lead"
    assert UNKNOWN_LEAD in unknown and "unconfirmed" in unknown and "+49 30 123456" in unknown
    for word in (ERIKA_LEAD, "2026-11-22 10:01 UTC", "accepted", "Erika Mustermann, Stadtwerke Musterstadt", "contact",
                 "Paid Search: google / cpc / autumn", "Direct", "1 delivered, 1 dead"):  # fmt: skip
        assert word in erika


def test_the_list_can_be_of_one_state_and_short(ropo: Ropo, shared_log: SampleLog):
    assert ERIKA_LEAD not in ropo("leads", "list", "--state", "unconfirmed", "--config", shared_log.config).stdout
    assert len(ropo("leads", "list", "--limit", 1, "--config", shared_log.config).stdout.splitlines()) == 2
    none = ropo("leads", "list", "--state", "discarded", "--config", shared_log.config)
    assert (none.exit_code, none.stdout, none.stderr) == (0, "", "No discarded leads yet.\n")
    assert ropo("leads", "list", "--state", "odd", "--config", shared_log.config).exit_code == 2


def test_the_list_as_json_has_contacts_opened(ropo: Ropo, shared_log: SampleLog):
    found = json.loads(ropo("leads", "list", "--json", "--config", shared_log.config).stdout)
    assert [lead["lead_id"] for lead in found] == [UNKNOWN_LEAD, ERIKA_LEAD]
    assert found[1]["contact"] == CONTACT
    assert found[1]["occurred_at"] == "2026-11-22T10:01:00.123456Z"
    nothing = ropo("leads", "list", "--json", "--state", "discarded", "--config", shared_log.config)
    assert json.loads(nothing.stdout) == []


def test_without_the_key_the_list_says_sealed(ropo: Ropo, own_log: SampleLog):
    secrets.contact_file(own_log.layout.secrets).unlink()
    assert ropo("leads", "list", "--config", own_log.config).stdout.count("(sealed)") == 2
    found = json.loads(ropo("leads", "list", "--json", "--config", own_log.config).stdout)
    assert [lead["contact"] for lead in found] == [None, None]


# show


def test_a_lead_is_shown_with_all_that_is_known_of_it(ropo: Ropo, shared_log: SampleLog):
    done = ropo("leads", "show", ERIKA_LEAD, "--config", shared_log.config)
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert lines[:2] == [f"Lead {ERIKA_LEAD}  accepted", "Sun 22 Nov 2026 10:01:00 UTC"]
    for line in (
        "  name     Erika Mustermann",
        "           Tuesday is best.",
        "  first touch  Paid Search: google / cpc / autumn, 2026-11-20 08:12:03 UTC",
        "  last touch   Direct, 2026-11-22 10:00:00 UTC",
        "  erp  delivered 2026-11-22 10:01:02 UTC, as lead-1.csv",
        "Journey  2 visits, 3 pages, 2.1 days to the lead",
        "  visit 2  Sun 22 Nov 2026 10:00:00 UTC",
        "    10:01:00  form sent  /contact",
    ):
        assert line in lines
    assert any(line.startswith("  crm  dead") and line.endswith("HTTP 422") for line in lines)


def test_on_a_terminal_times_are_local_with_their_zone(shared_log: SampleLog):
    code, said = on_terminal("leads", "show", SHORT, "--config", shared_log.config, NO_COLOR="1")
    assert code == 0
    assert "Sun 22 Nov 2026 11:01:00 CET" in said and "UTC" not in said
    code, said = on_terminal("leads", "list", "--config", shared_log.config, columns=200, NO_COLOR="1")
    assert f"{SHORT}  2026-11-22 11:01 CET" in said and ERIKA_LEAD not in said


def test_the_beginning_of_an_id_is_enough_in_either_case(ropo: Ropo, shared_log: SampleLog):
    for beginning in (SHORT, SHORT.upper(), f" {SHORT}"):
        assert ERIKA_LEAD in ropo("leads", "show", beginning, "--config", shared_log.config).stdout


def test_a_beginning_of_several_says_so(ropo: Ropo, shared_log: SampleLog):
    done = ropo("leads", "show", "019a", "--config", shared_log.config)
    assert (done.exit_code, done.stdout) == (1, "")
    assert "several leads begin with '019a'" in done.stderr


@pytest.mark.parametrize("lead_id", ["nope", "", "%", "\x1b[2J"])
def test_a_lead_that_is_not_there(ropo: Ropo, shared_log: SampleLog, lead_id: str):
    done = ropo("leads", "show", lead_id, "--config", shared_log.config)
    assert (done.exit_code, done.stdout) == (1, "")
    assert "no lead has an id that begins with" in done.stderr and "\x1b" not in done.stderr


def test_json_is_the_lead_document_with_its_contact(ropo: Ropo, shared_log: SampleLog):
    done = ropo("leads", "show", SHORT, "--json", "--config", shared_log.config)
    lead = json.loads(done.stdout)
    assert lead["contact"] == CONTACT
    assert lead["first_touch"]["click_ids"] == {"gclid": "Cj0K-1"}
    assert [step["kind"] for step in lead["journey"]] == [
        "touchpoint", "page_view", "download", "touchpoint", "form_submit",
    ]  # fmt: skip
    assert "contact_sealed" not in lead and done.stderr == ""


LOCKED = {
    "missing": (lambda path: path.unlink(), "the key is missing: there is no "),
    "another": (lambda path: path.write_text(secrets.new_contact_key()), "sealed with a key that is not among"),
    "open to others": (lambda path: path.chmod(0o644), "chmod 600"),
}


@pytest.mark.parametrize("lock, words", LOCKED.values(), ids=LOCKED)
def test_without_the_key_the_rest_is_shown(ropo: Ropo, own_log: SampleLog, lock, words: str):
    lock(secrets.contact_file(own_log.layout.secrets))
    done = ropo("leads", "show", SHORT, "--config", own_log.config)
    assert done.exit_code == 0
    assert words in done.stdout and "Journey  2 visits" in done.stdout and "Erika" not in done.stdout
    done = ropo("leads", "show", SHORT, "--json", "--config", own_log.config)
    assert json.loads(done.stdout)["contact"] is None
    assert words in done.stderr


# orders


def test_retry_requeues_what_was_given_up_and_says_what_happens_next(ropo: Ropo, own_log: SampleLog):
    done = ropo("leads", "retry", SHORT, "--config", own_log.config)
    assert done.exit_code == 0
    assert f"Requeued: lead {ERIKA_LEAD} to crm" in done.stdout
    assert "No ropo is running here. It is tried again once `ropo serve` is started" in done.stdout
    [order] = orders(own_log)
    assert (order.name, order.properties) == ("delivery.requeued", {"lead_id": ERIKA_LEAD, "sink": "crm"})


def test_while_ropo_runs_the_order_is_followed_at_once(ropo: Ropo, own_log: SampleLog):
    with hold(own_log.layout):
        assert "is tried again at once" in ropo("leads", "retry", SHORT, "--config", own_log.config).stdout


def test_all_dead_letters_go_out_with_one_order(ropo: Ropo, own_log: SampleLog):
    assert ropo("leads", "retry", "--all-dead", "--config", own_log.config).exit_code == 0
    assert [order.properties["sink"] for order in orders(own_log)] == ["crm"]
    nothing = ropo("leads", "retry", "--all-dead", "--sink", "erp", "--config", own_log.config)
    assert (nothing.exit_code, nothing.stdout) == (0, "Nothing was given up: there is nothing to try again.\n")


def test_what_was_delivered_goes_out_again_only_when_that_is_said(ropo: Ropo, own_log: SampleLog):
    done = ropo("leads", "retry", SHORT, "--sink", "erp", "--config", own_log.config)
    assert done.exit_code == 1 and "erp: delivered" in done.stderr and "--again" in done.stderr
    assert list(orders(own_log)) == []
    assert ropo("leads", "retry", SHORT, "--sink", "erp", "--again", "--config", own_log.config).exit_code == 0
    assert [order.properties["sink"] for order in orders(own_log)] == ["erp"]


REFUSED = {
    "a sink that does not have it": ((SHORT, "--sink", "sap"), 1, "it is owed to crm, erp"),
    "a lead that is owed to nobody": ((UNKNOWN_LEAD,), 1, "owed to no sink"),
    "neither lead nor all": ((), 2, "Give the ID"),
    "lead and all": ((SHORT, "--all-dead"), 2, "Give the ID"),
    "all again": (("--all-dead", "--again"), 2, "Give the ID"),
}


@pytest.mark.parametrize("arguments, code, words", REFUSED.values(), ids=REFUSED)
def test_orders_that_make_no_sense_leave_nothing(
    ropo: Ropo, own_log: SampleLog, arguments: tuple[str, ...], code: int, words: str
):
    done = ropo("leads", "retry", *arguments, "--config", own_log.config)
    assert done.exit_code == code
    assert words in done.stderr
    assert list(orders(own_log)) == []


def test_a_lead_is_confirmed_by_hand(ropo: Ropo, own_log: SampleLog):
    done = ropo("leads", "confirm", UNKNOWN_LEAD, "--reason", "called them", "--config", own_log.config)
    assert (
        done.exit_code == 0
        and "It goes to every sink that has not got it yet once `ropo serve` is started" in done.stdout
    )
    [order] = orders(own_log)
    assert (order.name, order.properties) == ("lead.confirmed", {"lead_id": UNKNOWN_LEAD, "reason": "called them"})
    assert "is accepted already" in ropo("leads", "confirm", SHORT, "--config", own_log.config).stdout
    assert len(list(orders(own_log))) == 1


def test_a_lead_is_discarded_by_hand_and_who_has_it_is_told(ropo: Ropo, own_log: SampleLog):
    done = ropo("leads", "discard", SHORT, "--reason", "spam", "--config", own_log.config)
    assert done.exit_code == 0
    assert "It was delivered to erp before" in done.stdout
    [order] = orders(own_log)
    assert (order.name, order.properties["reason"]) == ("lead.discarded", "spam")


def test_without_a_log_every_command_says_how_to_get_one(ropo: Ropo, tmp_path):
    (tmp_path / "config.yaml").write_text("storage: {path: data}\n")
    for command in (["list"], ["show", "x"], ["retry", "x"], ["confirm", "x"], ["discard", "x"]):
        done = ropo("leads", *command, "--config", tmp_path / "config.yaml")
        assert done.exit_code == 1 and "Start `ropo serve`" in done.stderr


def test_a_process_of_its_own_prints_no_traceback(shared_log: SampleLog):
    done = run_ropo("leads", "show", "nope", "--config", str(shared_log.config))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("ropo: no lead has an id")
