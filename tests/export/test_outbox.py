import subprocess
import sys
from pathlib import Path

from export.outbox import PendingDelivery, delivery_id

ROOT = Path(__file__).parents[2]
LEAD = "019aaa0f-3c5e-7d21-9b1a-5f0e7c3a2b10"


def test_a_delivery_has_the_same_name_in_every_process():
    code = f"from export.outbox import delivery_id; print(delivery_id({LEAD!r}, 'erp'))"
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    # printf 'LEAD\0erp\0lead.created\0001' | sha256sum
    assert delivery_id(LEAD, "erp") == ran.stdout.strip() == "c3a64e9bd6c82f7f9ff5508cda625f44"


def test_its_name_fits_a_webhook_id_and_a_file_name():
    name = delivery_id(LEAD, "erp")
    assert len(name) == 32
    assert set(name) <= set("0123456789abcdef")


def test_another_lead_sink_type_or_revision_is_another_delivery():
    names = {
        delivery_id(LEAD, "erp"),
        delivery_id(LEAD, "crm"),
        delivery_id("other", "erp"),
        delivery_id(LEAD, "erp", type="deal.won"),
        delivery_id(LEAD, "erp", revision=2),
        delivery_id(LEAD + "erp", ""),
    }
    assert len(names) == 6


def test_a_delivery_that_was_never_tried_goes_at_once():
    pending = PendingDelivery("d", LEAD, "erp", "2026-11-22 10:00:00.000000")
    assert (pending.attempts, pending.next_attempt_at, pending.requeues) == (0, None, 0)
