-- The log's tables. Append-only: no key, no index, no update. Every row carries `b`, the number of the batch that brought
-- it; the views leave it out. A time that is absent or infinite has no day to be filed under, so it is refused.

create table events (
  event_id varchar,  -- UUIDv7; the same again when the spool is read again
  occurred_at timestamptz not null check (isfinite(occurred_at)),  -- when the request's head was complete, UTC
  name varchar,  -- `page_view` (a page, 2xx or 304), `download` (PDF, ZIP, office file or attachment), `form_submit`, `request` (all else), or the dotted name of an offline fact
  source varchar,  -- where the fact came from: `proxy`, or who reported it
  node varchar,  -- machine that wrote it (`storage.node`)
  worker varchar,  -- writer on that machine, such as `worker-1`
  epoch bigint,  -- that writer's start, Unix nanoseconds
  seq bigint,  -- number of the exchange in that writer's life, from 1 without gaps
  visitor_id varchar,  -- the browser, by our signed cookie; NULL if it has none
  identity varchar,  -- `minted` (new here), `known`, `absent`, or `forged`, `expired` (a new one if `visitor_id` is set)
  visit_id varchar,  -- the run of activity it belongs to; NULL without a visitor
  is_entrance boolean,  -- the event that began the visit
  is_touchpoint boolean,  -- an arrival read as marketing contact; then `touch_*` and `channel` are set
  scheme varchar,  -- `http` or `https`, as the visitor used it
  host varchar,  -- Host the visitor named
  method varchar,  -- request method, letter for letter
  path varchar,  -- path as sent, never decoded
  query varchar,  -- query as sent, without `?`; parameters that name a person are masked
  status integer,  -- what the visitor got; 499: left before an answer
  ended_by varchar,  -- NULL: complete. Else who ended it early: `client`, `upstream` or `proxy`
  refusal varchar,  -- why ropo answered itself, such as `upstream_down`
  retries integer,  -- how often the request was sent again on another connection
  duration_us bigint,  -- from the request's head to the end of the answer, microseconds
  wait_us bigint,  -- until the site's response head, microseconds
  request_bytes bigint,  -- body bytes from the visitor
  response_bytes bigint,  -- body bytes to the visitor
  content_type varchar,  -- Content-Type of the answer
  location varchar,  -- Location of a redirect
  referrer varchar,  -- Referer as sent
  referrer_host varchar,  -- its host; NULL for own hosts and payment pages
  utm_source varchar,  -- first non-empty of `utm_source` and its aliases, letter for letter
  utm_medium varchar,  -- same for the medium
  utm_campaign varchar,  -- same for the campaign
  utm_term varchar,  -- same for the term
  utm_content varchar,  -- same for the content
  utm_id varchar,  -- same for the campaign's number
  campaign_params map(varchar, varchar),  -- every campaign parameter of the URL, raw
  click_ids map(varchar, varchar),  -- every click ID of the URL, raw and case-safe: `click_ids['gclid']`
  touch_source varchar,  -- source of the touchpoint, lower case, from UTM, click ID or referrer
  touch_medium varchar,  -- its medium
  touch_campaign varchar,  -- its campaign
  channel varchar,  -- its channel, such as `Paid Search`, `Organic Search`, `AI Assistant`, `Direct`
  user_agent varchar,  -- User-Agent as sent
  browser varchar,  -- its browser
  os varchar,  -- its system
  device varchar,  -- `desktop`, `mobile`, `tablet` and so on
  is_bot boolean,  -- a crawler, a monitor, a library or the like
  bot_name varchar,  -- which one
  language varchar,  -- Accept-Language as sent
  client_ip varchar,  -- the visitor's address, truncated by default (`tracker.client_ip`)
  fetch_dest varchar,  -- Sec-Fetch-Dest
  fetch_site varchar,  -- Sec-Fetch-Site
  purpose varchar,  -- Sec-Purpose, such as `prefetch`
  lead_id varchar,  -- the lead a form submit belongs to
  form varchar,  -- name of the form
  form_verdict varchar,  -- `accepted`, `refused` or `unconfirmed`
  properties json,  -- what an offline fact says, as JSON
  b bigint not null
);

create table lead_facts (
  lead_id varchar,  -- the lead
  occurred_at timestamptz not null check (isfinite(occurred_at)),  -- when
  fact varchar,  -- `submitted`, `accepted`, `refused`, `unconfirmed`, `confirmed`, `discarded` or `erased`
  reason varchar,  -- why
  event_id varchar,  -- the row in `events`
  visitor_id varchar,  -- the browser
  visit_id varchar,  -- the visit
  host varchar,  -- Host of the form
  form varchar,  -- its name
  rule varchar,  -- rule that took it
  action varchar,  -- path it was sent to
  page varchar,  -- page it stands on
  contact varchar,  -- sealed; not kept of a refused form
  lead_fields varchar[],  -- lead fields in it
  field_names varchar[],  -- names of all its fields
  withheld integer,  -- values the never-store list took out
  files integer,  -- files sent with it; none is kept
  is_bot boolean,  -- sent by a bot
  b bigint not null
);

create table delivery_facts (
  delivery_id varchar,  -- the delivery
  lead_id varchar,  -- the lead
  sink varchar,  -- name of the sink
  occurred_at timestamptz not null check (isfinite(occurred_at)),  -- when
  fact varchar,  -- `owed`, `delivered`, `failed`, `dead` or `requeued`
  attempt integer,  -- which attempt
  reason varchar,  -- what the sink said
  next_attempt_at timestamptz,  -- not before
  remote_ref varchar,  -- the remote's own name for it
  b bigint not null
);

create table drops (
  occurred_at timestamptz not null check (isfinite(occurred_at)),  -- when
  node varchar,  -- machine
  worker varchar,  -- writer
  epoch bigint,  -- its start, Unix nanoseconds
  reason varchar,  -- `excluded`, `quarantined`, `disk_full`, `write_error`, or `retired` (see `storage.retention`)
  count bigint,  -- how many
  first_seq bigint,  -- first number, if known
  last_seq bigint,  -- last number, if known
  b bigint not null
);

create table spool_files (
  name varchar,  -- name of the file
  ingested_at timestamptz not null check (isfinite(ingested_at)),  -- when
  node varchar,  -- machine
  worker varchar,  -- writer
  epoch bigint,  -- its start, Unix nanoseconds
  records bigint,  -- records in it
  quarantined bigint,  -- lines that could not be read
  stopped boolean,  -- the writer's last file
  last_seq bigint,  -- highest number in it
  b bigint not null
);

-- How far the log is filed. Batches up to `b` are in; up to `intent` shall be, and up to `promoted` are, in Parquet parts;
-- readers take them from there up to the watermark `w`; up to `forgotten` they are gone from these tables. `since` is the
-- day (UTC) on which the first batch after `intent` came.
create table mark (
  w bigint not null,
  promoted bigint not null,
  intent bigint not null,
  forgotten bigint not null,
  b bigint not null,
  since varchar
);
