"""From records to rows: what the collector makes of spool files before they go into the log.

Knows the order of the steps, and that every record ends as one event or one drop with a reason from the closed list in
`tracker.model`. What each step knows lies in a file of its own. Reads no files and writes none.

All is derived from the record and the visits in memory, and derived again in the same way from the same files:
identifiers come from the writer, the number and the moment.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from msgspec.structs import asdict

from tracker import accounts, bots, campaign, channel, clock, event_name, leads, paths, referrer, touch
from tracker.forms import rules, verdict
from tracker.model import (
    Batch,
    DeliveryFact,
    DeliveryRecord,
    Event,
    ExchangeRecord,
    FactRecord,
    LossRecord,
    Record,
    SpoolHeader,
    StopRecord,
    SubmitRecord,
    encode_line,
)
from tracker.settings import TrackerSettings
from tracker.visits import Arrival, Visit, Visits

log = logging.getLogger(__name__)

SpoolContent = tuple[SpoolHeader | None, str, list[Record], int]
Entry = tuple[Record, SpoolHeader, str]


class Passage:
    """One exchange on its way to be an event. Steps fill it in, in the order of `Pipeline.steps`."""

    __slots__ = ("agent", "at_us", "batch", "campaign", "event", "record", "referral", "visit", "writer")

    def __init__(self, record: ExchangeRecord, writer: SpoolHeader, at_us: int, batch: Batch) -> None:
        self.record = record
        self.writer = writer
        self.at_us = at_us
        self.batch = batch
        self.event: Event
        self.agent: bots.Agent
        self.campaign = campaign.NONE
        self.referral = referrer.NONE
        self.visit: Visit | None = None


class Pipeline:
    """Turns sealed spool files into a batch of rows, and remembers the running visits from one batch to the next.

    `delivery_id(lead_id, sink)` names a delivery, `now()` is the moment of ingest as the log writes it.
    If a batch could not be kept, throw the pipeline away and restore another: its visits have moved on.
    """

    def __init__(
        self,
        settings: TrackerSettings,
        *,
        sinks: Sequence[str],
        version: str,
        delivery_id: leads.DeliveryId,
        now: Callable[[], str] = clock.now_text,
    ) -> None:
        # The steps an exchange goes through. One that returns a reason ends the way there.
        self.steps: tuple[Callable[[Passage], str | None], ...] = (
            self.drop_excluded,
            self.put_request,
            self.put_agent,
            self.put_campaign,
            self.put_referrer,
            self.put_name,
            self.put_visit,
            self.put_touchpoint,
            self.put_lead,
        )
        # Records the last run could not make a row of: file name, line, reason. They are in the batch as quarantined.
        self.rejected: list[tuple[str, bytes, str]] = []
        self._settings = settings
        self._sinks = tuple(sinks)
        self._version = version
        self._delivery_id = delivery_id
        self._now = now
        self._is_excluded = paths.matcher(settings.exclude)
        self._referrers = referrer.Referrers(settings)
        self._visits = Visits(inactivity_secs=settings.inactivity_secs)

    def restore_since(self) -> datetime:
        """How far back the log has to be asked for visits that may go on.

        A day beside the inactivity: after a standstill the waiting files are that much older than now.
        """
        now = datetime.fromtimestamp(clock.micros_of(self._now()) / 1e6, UTC)
        return now - timedelta(seconds=self._settings.inactivity_secs, days=1)

    def restore(self, open_visits: Iterable[Mapping]) -> None:
        """Goes on with the visits the log knows.

        Each has `visitor_id`, `visit_id` and `last_at`; if known also `started_at`, `entered` (it has its entrance),
        and of its latest touchpoint `campaign_params`, `click_ids` and `referrer_host`. Times are datetimes or the
        log's text.
        """
        self._visits.restore((row["visitor_id"], _visit_of(row)) for row in open_visits)

    def run(self, files: Iterable[SpoolContent]) -> Batch:
        """The rows that files with these contents are: header, name, records, and how many lines were broken.

        Order of the files does not matter. A record that no row can be made of becomes a quarantined drop and is
        listed in `rejected`; no record makes this raise.
        """
        batch = Batch()
        self.rejected = []
        now = self._now()
        entries: list[Entry] = []
        for header, name, records, broken in sorted(files, key=lambda content: content[1]):
            writer = header or accounts.writer_of(name)
            batch.spool_files.append(accounts.spool_file(name, writer, records, broken, now))
            if broken:
                at = accounts.moment_of(records, now)
                batch.drops.append(accounts.drop(writer, at, "quarantined", broken, first_seq=None, last_seq=None))
            entries += [(record, writer, name) for record in records]
        # Stable, so that a writer's records of one microsecond stay in order.
        entries.sort(key=_occurred_at)
        answered = {record.submission.lead_id for record, _, _ in entries if _is_submitted(record)}
        newest_us = 0
        for entry in entries:
            record, writer, _ = entry
            try:
                newest_us = self._take(record, writer, answered, batch) or newest_us
            except Exception as error:
                self._reject(entry, error, batch, now)
        self._visits.forget(newest_us)
        self._tell_rejected()
        return batch

    # -- records

    def _take(self, record: Record, writer: SpoolHeader, answered: set[str], batch: Batch) -> int:
        """Makes rows of one record. Returns the moment of an exchange, else 0."""
        kind = type(record)
        if kind is StopRecord:
            return 0
        at_us = clock.micros_of(record.occurred_at)
        if kind is ExchangeRecord:
            self._exchange(Passage(record, writer, at_us, batch))
            return at_us
        if kind is SubmitRecord:
            if record.submission.lead_id not in answered:
                self._unanswered(record, at_us, batch)
        elif kind is LossRecord:
            first, last = record.first_seq, record.last_seq
            batch.drops.append(
                accounts.drop(writer, record.occurred_at, record.reason, record.count, first_seq=first, last_seq=last)
            )
        elif kind is FactRecord:
            self._fact(record, writer, at_us, batch)
        elif kind is DeliveryRecord:
            batch.delivery_facts.append(DeliveryFact(**asdict(record)))
        return 0

    def _exchange(self, passage: Passage) -> None:
        for step in self.steps:
            reason = step(passage)
            if reason is not None:
                at, seq = passage.record.occurred_at, passage.record.seq
                drop = accounts.drop(passage.writer, at, reason, first_seq=seq, last_seq=seq)
                passage.batch.drops.append(drop)
                return
        passage.batch.events.append(passage.event)

    def _unanswered(self, record: SubmitRecord, at_us: int, batch: Batch) -> None:
        """A form that went to the site, and no answer is known: not yet, or never because the worker died."""
        agent = bots.agent(record.user_agent)
        visit = self._visits.known(record.visitor_id, at_us) if record.visitor_id else None
        like = Event("", record.occurred_at, event_name.FORM_SUBMIT, "proxy")
        like.visitor_id, like.visit_id = record.visitor_id, visit.visit_id if visit else None
        like.host, like.path, like.is_bot = record.host, paths.split(record.target)[0], agent.is_bot
        batch.lead_facts.append(leads.fact_of(record.submission, like, "submitted", ""))

    def _fact(self, record: FactRecord, writer: SpoolHeader, at_us: int, batch: Batch) -> None:
        event_id = record.fact_id or clock.derived_id(at_us, writer.node, writer.worker, writer.epoch, record.name)
        lead_facts, delivery_facts = leads.by_hand(record, event_id, self._sinks, self._delivery_id)
        event = Event(event_id, record.occurred_at, record.name, record.source)
        event.node, event.worker, event.epoch = writer.node or None, writer.worker or None, writer.epoch or None
        event.properties = record.properties or None
        if isinstance(lead_id := record.properties.get("lead_id"), str):
            event.lead_id = lead_id
        if isinstance(visitor_id := record.properties.get("visitor_id"), str):
            event.visitor_id = visitor_id
        batch.lead_facts += lead_facts
        batch.delivery_facts += delivery_facts
        batch.events.append(event)

    def _reject(self, entry: Entry, error: Exception, batch: Batch, now: str) -> None:
        """A record that cannot be understood must neither stop the log nor vanish."""
        record, writer, name = entry
        self.rejected.append((name, encode_line(record), f"{type(error).__name__} at {_place_of(error)}"))
        if isinstance(record, (ExchangeRecord, SubmitRecord)) and record.submission is not None:
            # A lead is worth more than its exchange: it stays, to be looked at.
            like = Event("", now, event_name.FORM_SUBMIT, "proxy", visitor_id=record.visitor_id, host=record.host)
            batch.lead_facts.append(leads.fact_of(record.submission, like, "submitted", "its record is in quarantine"))
        if not isinstance(record, SubmitRecord):  # whose number is its exchange's
            seq = getattr(record, "seq", None)
            batch.drops.append(accounts.drop(writer, now, "quarantined", first_seq=seq, last_seq=seq))

    def _tell_rejected(self) -> None:
        """One line for each way to fail. Of the records only the file: their text is what visitors sent."""
        for reason, count in Counter(reason for _, _, reason in self.rejected).items():
            name = next(name for name, _, other in self.rejected if other == reason)
            log.error(
                "records not understood, now in quarantine; please report this: "
                "count=%d error=%s first_file=%s version=%s",
                count, reason, name, self._version,
            )  # fmt: skip

    # -- steps

    def drop_excluded(self, passage: Passage) -> str | None:
        if self._is_excluded is None or passage.record.submission is not None:
            return None
        return "excluded" if self._is_excluded(paths.split(passage.record.target)[0]) else None

    def put_request(self, passage: Passage) -> None:
        """What is copied as it is."""
        record, writer = passage.record, passage.writer
        node, worker, epoch, seq = writer.node, writer.worker, writer.epoch, record.seq
        path, query = paths.split(record.target)
        location = record.location
        passage.event = Event(
            event_id=clock.derived_id(passage.at_us, node, worker, epoch, seq),
            occurred_at=record.occurred_at,
            name=event_name.REQUEST,
            source="proxy",
            node=node or None,
            worker=worker or None,
            epoch=epoch or None,
            seq=seq,
            visitor_id=record.visitor_id,
            identity=record.identity,
            scheme=record.scheme,
            host=record.host,
            method=record.method,
            path=path,
            query=query,
            status=record.status,
            ended_by=record.ended_by,
            refusal=record.refusal,
            retries=record.retries,
            duration_us=record.duration_us,
            wait_us=record.wait_us,
            request_bytes=record.request_bytes,
            response_bytes=record.response_bytes,
            content_type=record.content_type,
            location=campaign.mask(location) if location else None,
            user_agent=record.user_agent,
            language=record.language,
            client_ip=record.client_ip,
            fetch_dest=record.fetch_dest,
            fetch_site=record.fetch_site,
            purpose=record.purpose,
        )

    def put_agent(self, passage: Passage) -> None:
        passage.agent = agent = bots.agent(passage.record.user_agent)
        event = passage.event
        event.browser, event.os, event.device = agent.browser, agent.os, agent.device
        event.is_bot, event.bot_name = agent.is_bot, agent.bot_name

    def put_campaign(self, passage: Passage) -> None:
        event = passage.event
        if not event.query:
            return
        passage.campaign = read = campaign.read(event.query)
        event.query = read.query
        if read.params is None and read.click_ids is None:
            return
        event.utm_source, event.utm_medium, event.utm_campaign = read.source, read.medium, read.name
        event.utm_term, event.utm_content, event.utm_id = read.term, read.content, read.id
        event.campaign_params, event.click_ids = read.params, read.click_ids

    def put_referrer(self, passage: Passage) -> None:
        record = passage.record
        if record.referrer:
            passage.referral = read = self._referrers.read(record.referrer, record.host)
            passage.event.referrer, passage.event.referrer_host = read.url, read.host

    def put_name(self, passage: Passage) -> None:
        passage.event.name = event_name.name_of(passage.record)

    def put_visit(self, passage: Passage) -> None:
        visitor_id = passage.record.visitor_id
        if visitor_id:
            passage.visit = self._visits.at(visitor_id, passage.at_us)
            passage.event.visit_id = passage.visit.visit_id

    def put_touchpoint(self, passage: Passage) -> None:
        """Reads the arrival, if this is one, as marketing contact."""
        event, came, referral, visit = passage.event, passage.campaign, passage.referral, passage.visit
        # A campaign must survive the redirect or the error page its link leads to.
        if event.name == event_name.REQUEST and (came.key is None or not event_name.is_navigation(passage.record)):
            return
        may_touch = event.name != event_name.FORM_SUBMIT
        if visit is not None:
            arrival = visit.arrive(came.key, referral.source, may_touch=may_touch)
            if arrival is Arrival.INSIDE:
                return
            event.is_entrance = arrival is Arrival.ENTRANCE
        elif not may_touch or (came.key is None and referral.host is None):
            # Of a visitor we do not know, only what the exchange itself says is an arrival counts.
            return
        read = touch.read(came, referral)
        event.is_touchpoint = True
        event.touch_source, event.touch_medium, event.touch_campaign = read.source, read.medium, read.campaign
        event.channel = channel.of(read, is_link_scanner=passage.agent.is_link_scanner)

    def put_lead(self, passage: Passage) -> None:
        """A form the site accepted is a lead, and owed to every sink; of a bot's nobody knows yet."""
        record, event, batch = passage.record, passage.event, passage.batch
        submission = record.submission
        if submission is None:
            return
        found = verdict.decide(
            submission,
            method=record.method,
            target=record.target,
            status=record.status,
            ended_by=record.ended_by,
            rule=rules.rule_named(self._settings, submission.rule),
        )
        if event.is_bot:
            found = verdict.for_bot(found)
        event.lead_id, event.form, event.form_verdict = submission.lead_id, submission.form, found.state
        sinks = self._sinks if found.state == "accepted" else ()
        owed = leads.owed(submission.lead_id, event.occurred_at, sinks, self._delivery_id)
        batch.lead_facts.append(leads.fact_of(submission, event, found.state, found.reason))
        batch.delivery_facts += owed


def _occurred_at(entry: Entry) -> str:
    return entry[0].occurred_at


def _is_submitted(record: Record) -> bool:
    return type(record) is ExchangeRecord and record.submission is not None


def _place_of(error: Exception) -> str:
    """File and line of an error. Its text may quote the record, so it is not shown."""
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    return f"{place.tb_frame.f_code.co_filename.rpartition('/')[2]}:{place.tb_lineno}" if place else "?"


def _visit_of(row: Mapping) -> Visit:
    last_us = _micros(row["last_at"])
    started_at, host = row.get("started_at"), row.get("referrer_host")
    params, click_ids = row.get("campaign_params") or {}, row.get("click_ids") or {}
    return Visit(
        row["visit_id"],
        last_us if started_at is None else _micros(started_at),
        last_us,
        entered=bool(row.get("entered", True)),
        campaign=campaign.key_of(params, click_ids),
        referrer=referrer.name_of(host) if host else None,
    )


def _micros(moment: datetime | str) -> int:
    if isinstance(moment, str):
        return clock.micros_of(moment)
    # Whole seconds and the rest apart: a float of both has no room for microseconds.
    return int(moment.replace(microsecond=0).timestamp()) * 1_000_000 + moment.microsecond
