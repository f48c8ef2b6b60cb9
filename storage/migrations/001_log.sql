-- The log's tables. Append-only: no key, no index, no update. Every row carries `b`, the number of the batch that brought
-- it; the views leave it out. A time that is absent or infinite has no day to be filed under, so it is refused.

create table events (
  event_id varchar,
  occurred_at timestamptz not null check (isfinite(occurred_at)),
  name varchar,
  source varchar,
  node varchar,
  worker varchar,
  epoch bigint,
  seq bigint,
  visitor_id varchar,
  identity varchar,
  visit_id varchar,
  is_entrance boolean,
  is_touchpoint boolean,
  scheme varchar,
  host varchar,
  method varchar,
  path varchar,
  query varchar,
  status integer,
  ended_by varchar,
  refusal varchar,
  retries integer,
  duration_us bigint,
  wait_us bigint,
  request_bytes bigint,
  response_bytes bigint,
  content_type varchar,
  location varchar,
  referrer varchar,
  referrer_host varchar,
  utm_source varchar,
  utm_medium varchar,
  utm_campaign varchar,
  utm_term varchar,
  utm_content varchar,
  utm_id varchar,
  campaign_params map(varchar, varchar),
  click_ids map(varchar, varchar),
  touch_source varchar,
  touch_medium varchar,
  touch_campaign varchar,
  channel varchar,
  user_agent varchar,
  browser varchar,
  os varchar,
  device varchar,
  is_bot boolean,
  bot_name varchar,
  language varchar,
  client_ip varchar,
  fetch_dest varchar,
  fetch_site varchar,
  purpose varchar,
  lead_id varchar,
  form varchar,
  form_verdict varchar,
  properties json,
  b bigint not null
);

create table lead_facts (
  lead_id varchar,
  occurred_at timestamptz not null check (isfinite(occurred_at)),
  fact varchar,
  reason varchar,
  event_id varchar,
  visitor_id varchar,
  visit_id varchar,
  host varchar,
  form varchar,
  rule varchar,
  action varchar,
  page varchar,
  contact varchar,
  lead_fields varchar[],
  field_names varchar[],
  withheld integer,
  files integer,
  is_bot boolean,
  b bigint not null
);

create table delivery_facts (
  delivery_id varchar,
  lead_id varchar,
  sink varchar,
  occurred_at timestamptz not null check (isfinite(occurred_at)),
  fact varchar,
  attempt integer,
  reason varchar,
  next_attempt_at timestamptz,
  remote_ref varchar,
  b bigint not null
);

create table drops (
  occurred_at timestamptz not null check (isfinite(occurred_at)),
  node varchar,
  worker varchar,
  epoch bigint,
  reason varchar,
  count bigint,
  first_seq bigint,
  last_seq bigint,
  b bigint not null
);

create table spool_files (
  name varchar,
  ingested_at timestamptz not null check (isfinite(ingested_at)),
  node varchar,
  worker varchar,
  epoch bigint,
  records bigint,
  quarantined bigint,
  stopped boolean,
  last_seq bigint,
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
