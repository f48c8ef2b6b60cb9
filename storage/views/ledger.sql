-- Does each writer's count add up? received = logged + dropped + missing + in_flight.
-- Numbers are given when an exchange begins and written when it ends. Below the highest number of a writer that still runs,
-- what is not written yet is in flight; of one that has stopped or was followed by another, it is missing.
-- Writers that gave no number, such as a command that noted a fact, have no line.
-- A number that stands in two rows is counted once, by a bit in a block of 64: 7 times cheaper than count(distinct).
with blocks as (
  select
    node,
    worker,
    epoch,
    seq >> 6 as block,
    bit_or(1::ubigint << (seq & 63)) as bits,
    max(seq) as last_seq
  from events
  where seq >= 0
  group by node, worker, epoch, block
),
reasons as (
  select node, worker, epoch, reason, sum(count)::bigint as count, max(last_seq) as last_seq
  from drops
  group by node, worker, epoch, reason
),
parts as (
  select node, worker, epoch, sum(bit_count(bits))::bigint as logged, max(last_seq) as last_seq
  from blocks
  group by node, worker, epoch

  union all by name

  select
    node,
    worker,
    epoch,
    sum(count)::bigint as dropped,
    map_from_entries(list((reason, count) order by reason)) as drops,
    max(last_seq) as last_seq
  from reasons
  group by node, worker, epoch

  union all by name

  select node, worker, epoch, bool_or(stopped) as stopped, max(last_seq) as last_seq
  from spool_files
  group by node, worker, epoch
),
writers as (
  select
    node,
    worker,
    epoch,
    coalesce(max(last_seq), 0) as received,
    coalesce(max(logged), 0) as logged,
    coalesce(max(dropped), 0) as dropped,
    coalesce(any_value(drops), map {}) as drops,
    coalesce(bool_or(stopped), false) as stopped
  from parts
  where epoch is not null
  group by node, worker, epoch
),
youngest as (
  select node, worker, max(epoch) as epoch
  from spool_files
  group by node, worker
),
gaps as (
  select
    writers.*,
    greatest(received - logged - dropped, 0) as gap,
    stopped or coalesce(writers.epoch < youngest.epoch, false) as ended
  from writers
  left join youngest on youngest.node is not distinct from writers.node and youngest.worker = writers.worker
)
select
  node,
  worker,
  epoch,
  to_timestamp(epoch / 1e9) as started_at,
  received,
  logged,
  dropped,
  case when ended then gap else 0 end as missing,
  case when ended then 0 else gap end as in_flight,
  gap = 0 or not ended as balanced,
  drops,
  stopped
from gaps
where received > 0 or dropped > 0
