"""The values that travel from the worker to the log: records on the way in, rows on the way out.

Knows their fields and their JSON, and nothing of how they are made, kept or asked for.

A spool file is NDJSON. Its first line is a `SpoolHeader`, every other line one of `Record`; the field `t` says which.
Absent fields have their default, so a newer worker's file can be read by an older collector and the other way round.
Times are UTC text, `YYYY-MM-DD HH:MM:SS.ffffff`: DuckDB and ClickHouse both read it without settings.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec


class SpoolHeader(msgspec.Struct, tag="spool", tag_field="t", omit_defaults=True):
    """Who wrote this file. `epoch` is the writer's start in Unix nanoseconds: a restarted worker begins a new one."""

    node: str
    worker: str
    epoch: int
    version: str = ""


class FormAnswer(msgspec.Struct, omit_defaults=True):
    """What the site answered to a submission: facts of the response, none of its text.

    `form_again`: the page shows the same form once more. `errors`: how many error markers stand in it
    (aria-invalid, .errorlist, .error and their like). `json_ok`: what a JSON answer says of itself, if it says it.
    `text_found`: the text of a configured rule was found. None means: could not be told.
    """

    status: int
    content_type: str = ""
    location: str | None = None
    form_again: bool | None = None
    errors: int | None = None
    json_ok: bool | None = None
    text_found: bool | None = None
    truncated: bool = False


class Submission(msgspec.Struct, omit_defaults=True):
    """A form a visitor sent. `contact` is sealed (AES-GCM) JSON of lead field -> value; only mapped fields are in it.

    `field_names` are the names as sent, without values. `withheld` counts the fields the never-store list took.
    """

    lead_id: str
    form: str
    rule: str
    page: str | None = None
    contact: str = ""
    lead_fields: list[str] = []
    field_names: list[str] = []
    withheld: int = 0
    files: int = 0
    answer: FormAnswer | None = None


class ExchangeRecord(msgspec.Struct, tag="exchange", tag_field="t", omit_defaults=True):
    """One exchange. `ended_by` is None when the whole answer was handed to the visitor.

    Else it says who ended it: `client` (went away), `upstream` (down, slow or broken), `proxy` (refused the
    request, or stopped). `refusal` then names why, from the closed list in `proxy.refusal`.
    `status` is what the visitor got; 499 when the visitor left before an answer.
    `identity` is one of: minted, known, forged, expired, absent. A forged or expired cookie is answered with a new
    one where a new visitor would get it: then `visitor_id` is the new one.
    """

    seq: int
    occurred_at: str
    method: str
    target: str
    status: int
    scheme: str = "http"
    host: str | None = None
    client_ip: str | None = None
    duration_us: int = 0
    wait_us: int | None = None
    request_bytes: int = 0
    response_bytes: int = 0
    content_type: str | None = None
    disposition: str | None = None
    location: str | None = None
    referrer: str | None = None
    user_agent: str | None = None
    language: str | None = None
    fetch_dest: str | None = None
    fetch_site: str | None = None
    purpose: str | None = None
    visitor_id: str | None = None
    identity: str = "absent"
    ended_by: str | None = None
    refusal: str | None = None
    retries: int = 0
    upgraded: bool = False
    submission: Submission | None = None


class SubmitRecord(msgspec.Struct, tag="submit", tag_field="t", omit_defaults=True):
    """A submission as it was before the site saw it, on disk before it is forwarded.

    The exchange's own record carries it again with the answer; this one matters when that never comes.
    """

    seq: int
    occurred_at: str
    host: str | None
    target: str
    submission: Submission
    visitor_id: str | None = None
    client_ip: str | None = None
    referrer: str | None = None
    user_agent: str | None = None


class LossRecord(msgspec.Struct, tag="loss", tag_field="t", omit_defaults=True):
    """Records a worker had to let go, `count` of them with numbers from `first_seq` to `last_seq`, and why."""

    occurred_at: str
    first_seq: int
    last_seq: int
    count: int
    reason: str


class StopRecord(msgspec.Struct, tag="stop", tag_field="t", omit_defaults=True):
    """A worker's last line: it stopped in order after `last_seq` (0: no exchange at all)."""

    occurred_at: str
    last_seq: int


class FactRecord(msgspec.Struct, tag="fact", tag_field="t", omit_defaults=True):
    """A fact from outside the proxy (an outcome, a scan, an operator's order), through the same door.

    `name` is dotted: `delivery.requeued` {"lead_id", "sink"}.
    """

    fact_id: str
    occurred_at: str
    name: str
    source: str
    properties: dict[str, str | int | float | bool | None] = {}


class DeliveryRecord(msgspec.Struct, tag="delivery", tag_field="t", omit_defaults=True):
    """What became of a delivery, as it goes into `delivery_facts`; see `DeliveryFact` for the fields.

    The collector writes it into the log itself; this is for the archive, from which the log can be built anew.
    """

    delivery_id: str
    lead_id: str
    sink: str
    occurred_at: str
    fact: str
    attempt: int = 0
    reason: str = ""
    next_attempt_at: str | None = None
    remote_ref: str | None = None


Record = ExchangeRecord | SubmitRecord | LossRecord | StopRecord | FactRecord | DeliveryRecord
Line = SpoolHeader | Record

encode_line = msgspec.json.Encoder().encode
decode_line = msgspec.json.Decoder(Line).decode


class Event(msgspec.Struct, omit_defaults=True):
    """A row of `events`: one exchange or one offline fact. The columns are documented in docs/columns.md.

    `is_touchpoint` rows carry `touch_*`, `channel` and the click IDs as the reading of that arrival; `campaign_params`
    and `click_ids` keep what the URL said, letter for letter.
    """

    event_id: str
    occurred_at: str
    name: str
    source: str
    node: str | None = None
    worker: str | None = None
    epoch: int | None = None
    seq: int | None = None
    visitor_id: str | None = None
    identity: str | None = None
    visit_id: str | None = None
    is_entrance: bool = False
    is_touchpoint: bool = False
    scheme: str | None = None
    host: str | None = None
    method: str | None = None
    path: str | None = None
    query: str | None = None
    status: int | None = None
    ended_by: str | None = None
    refusal: str | None = None
    retries: int = 0
    duration_us: int | None = None
    wait_us: int | None = None
    request_bytes: int | None = None
    response_bytes: int | None = None
    content_type: str | None = None
    location: str | None = None
    referrer: str | None = None
    referrer_host: str | None = None
    utm_source: str | None = None
    utm_medium: str | None = None
    utm_campaign: str | None = None
    utm_term: str | None = None
    utm_content: str | None = None
    utm_id: str | None = None
    campaign_params: dict[str, str] | None = None
    click_ids: dict[str, str] | None = None
    touch_source: str | None = None
    touch_medium: str | None = None
    touch_campaign: str | None = None
    channel: str | None = None
    user_agent: str | None = None
    browser: str | None = None
    os: str | None = None
    device: str | None = None
    is_bot: bool = False
    bot_name: str | None = None
    language: str | None = None
    client_ip: str | None = None
    fetch_dest: str | None = None
    fetch_site: str | None = None
    purpose: str | None = None
    lead_id: str | None = None
    form: str | None = None
    form_verdict: str | None = None
    properties: dict[str, str | int | float | bool | None] | None = None


class LeadFact(msgspec.Struct, omit_defaults=True):
    """A row of `lead_facts`; the present state of a lead is the view `leads`.

    `fact` is one of: submitted (forwarded, and no answer known yet), accepted, refused (without contact), unconfirmed
    (the site's answer does not tell), confirmed (by hand), discarded (by hand), erased (nobody may see its contact).
    """

    lead_id: str
    occurred_at: str
    fact: str
    reason: str = ""
    event_id: str | None = None
    visitor_id: str | None = None
    visit_id: str | None = None
    host: str | None = None
    form: str | None = None
    rule: str | None = None
    action: str | None = None
    page: str | None = None
    contact: str | None = None
    lead_fields: list[str] = []
    field_names: list[str] = []
    withheld: int = 0
    files: int = 0
    is_bot: bool = False


class DeliveryFact(msgspec.Struct, omit_defaults=True):
    """A row of `delivery_facts`; the present state of a delivery is the view `deliveries`.

    `fact` is one of: owed, delivered, failed (will be tried again at `next_attempt_at`), dead (will not),
    requeued (by hand). `delivery_id` is the same for all facts and attempts of one lead and one sink.
    """

    delivery_id: str
    lead_id: str
    sink: str
    occurred_at: str
    fact: str
    attempt: int = 0
    reason: str = ""
    next_attempt_at: str | None = None
    remote_ref: str | None = None


@dataclass(frozen=True)
class PendingDelivery:
    """A lead still owed to a sink: not delivered, and not dead.

    owed_at          when it was owed, or requeued for the last time (text of tracker.clock): the days until it is
                     given up count from here
    attempts         made since `owed_at`, as the log knows them
    next_attempt_at  not before this moment; None: at once
    requeues         how often it was requeued
    """

    delivery_id: str
    lead_id: str
    sink: str
    owed_at: str
    attempts: int = 0
    next_attempt_at: str | None = None
    requeues: int = 0
    type: str = "lead.created"


class Drop(msgspec.Struct, omit_defaults=True):
    """A row of `drops`: what was received and is not in `events`, and why. `count` numbers end at `last_seq`."""

    occurred_at: str
    node: str | None
    worker: str | None
    epoch: int | None
    reason: str
    count: int = 1
    first_seq: int | None = None
    last_seq: int | None = None


class SpoolFile(msgspec.Struct, omit_defaults=True):
    """A row of `spool_files`: a file that went into the log, once. Its presence is what makes ingest exactly-once."""

    name: str
    ingested_at: str
    node: str | None = None
    worker: str | None = None
    epoch: int | None = None
    records: int = 0
    quarantined: int = 0
    stopped: bool = False
    last_seq: int | None = None


@dataclass
class Batch:
    """What one transaction puts into the log, by table."""

    events: list[Event] = field(default_factory=list)
    lead_facts: list[LeadFact] = field(default_factory=list)
    delivery_facts: list[DeliveryFact] = field(default_factory=list)
    drops: list[Drop] = field(default_factory=list)
    spool_files: list[SpoolFile] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.events or self.lead_facts or self.delivery_facts or self.drops or self.spool_files)


# Why something received is not in `events`: the closed list.
DROP_REASONS = {
    "excluded": "its path is listed in tracker.exclude",
    "quarantined": "its line in the spool could not be read; it lies in the quarantine file",
    "disk_full": "the worker could not write it: no space left",
    "write_error": "the worker could not write it: the disk refused",
    "retired": "its event was older than storage.retention lets it be; a sum of the nightly run",
}
