-- Does each writer's count add up, hour by hour? received = logged + dropped + missing + in_flight.
-- A number belongs to the hour (UTC) in which its exchange began. What is neither logged nor dropped belongs to the hour in
-- which the next number was given. A drop may be told in a later hour than its number was given, and the clock may be set
-- back: then an hour's gap is closed by a later one's surplus, and what stays open up to the end is the gap.
with blocks as (
  select
    max(node) as node,
    worker,
    epoch,
    epoch_us(occurred_at) // 3600000000 as hour_number,
    seq >> 6 as block,
    bit_or(1::ubigint << (seq & 63)) as bits,
    max(seq) as last_seq
  from events
  where seq >= 0
  group by worker, epoch, hour_number, block
),
reasons as (
  select
    max(node) as node,
    worker,
    epoch,
    epoch_us(occurred_at) // 3600000000 as hour_number,
    reason,
    sum(count)::bigint as count,
    max(last_seq) as last_seq
  from drops
  group by worker, epoch, hour_number, reason
),
parts as (
  select max(node) as node, worker, epoch, hour_number, sum(bit_count(bits))::bigint as logged, max(last_seq) as last_seq
  from blocks
  group by worker, epoch, hour_number

  union all by name

  select
    max(node) as node,
    worker,
    epoch,
    hour_number,
    sum(count)::bigint as dropped,
    (sum(count) filter (where reason = 'quarantined'))::bigint as quarantined,
    (sum(count) filter (where reason in ('disk_full', 'write_error')))::bigint as lost,
    map_from_entries(list((reason, count) order by reason)) as drops,
    max(last_seq) as last_seq
  from reasons
  group by worker, epoch, hour_number

  union all by name

  select node, worker, epoch, epoch_us(last_file_at) // 3600000000 as hour_number, last_seq
  from writers
),
hours as (
  select
    max(node) as node,
    worker,
    epoch,
    hour_number,
    coalesce(max(last_seq), 0) as last_seq,
    coalesce(max(logged), 0) as logged,
    coalesce(max(dropped), 0) as dropped,
    coalesce(max(quarantined), 0) as quarantined,
    coalesce(max(lost), 0) as lost,
    coalesce(any_value(drops), map {}) as drops
  from parts
  where epoch is not null
  group by worker, epoch, hour_number
),
sums as (
  select
    *,
    max(last_seq) over so_far - sum(logged + dropped) over so_far as gap_so_far
  from hours
  window so_far as (partition by worker, epoch order by hour_number)
),
open_gaps as (
  select
    *,
    greatest(min(gap_so_far) over (
      partition by worker, epoch
      order by hour_number
      rows between current row and unbounded following
    ), 0) as open_gap
  from sums
),
gaps as (
  select
    *,
    -- Not lag(open_gap, 1, 0): as DuckDB 2.0 keeps that in a view, 1.5 cannot read it.
    (open_gap - coalesce(lag(open_gap) over (partition by worker, epoch order by hour_number), 0))::bigint as gap
  from open_gaps
),
settled as (
  select gaps.* replace (coalesce(writers.node, gaps.node) as node), coalesce(writers.ended, false) as ended
  from gaps
  left join writers
    on writers.worker = gaps.worker and writers.epoch = gaps.epoch
)
select
  node,  -- machine
  worker,  -- writer
  epoch,  -- its start, Unix nanoseconds
  to_timestamp(hour_number * 3600) as hour,  -- beginning of the hour
  logged + dropped + gap as received,  -- numbers given in it
  logged,  -- of them in `events`
  dropped,  -- of them dropped, with a reason
  case when ended then gap else 0 end as missing,  -- of them neither, though the writer has ended
  case when ended then 0 else gap end as in_flight,  -- of them not written yet; the writer still runs
  quarantined,  -- of `dropped`: their line could not be read
  lost,  -- of `dropped`: the worker could not keep them, because the disk refused
  gap = 0 or not ended as balanced,  -- nothing is missing
  drops  -- dropped by reason
from settled
where logged + dropped + gap > 0
