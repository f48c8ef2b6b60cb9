-- Does each writer's count add up? received = logged + dropped + missing + in_flight.
-- Numbers are given when an exchange begins and written when it ends. Below the highest number of a writer that still runs,
-- what is not written yet is in flight; of one that has ended, it is missing. Overdue are those that were given a minute
-- before the latest one, or longer: if they are more than the exchanges that the writer has under way, some are lost.
-- A life is known by worker and epoch: a file whose header was torn has lost its node.
-- Writers that gave no number, such as a command that noted a fact, have no line.
-- A number that stands in two rows is counted once, by a bit in a block of 64: 7 times cheaper than count(distinct).
with blocks as (
  select
    max(node) as node,
    worker,
    epoch,
    seq >> 6 as block,
    bit_or(1::ubigint << (seq & 63)) as bits,
    max(seq) as last_seq,
    max(occurred_at) as last_at
  from events
  where seq >= 0
  group by worker, epoch, block
),
-- By the order of the numbers and not by time alone: the clock may have been set back.
settling as (
  select
    *,
    max(last_at) over (partition by worker, epoch order by block)
      < last_value(last_at) over (
        partition by worker, epoch
        order by block
        rows between unbounded preceding and unbounded following
      ) - interval 1 minute as settled
  from blocks
),
reasons as (
  select max(node) as node, worker, epoch, reason, sum(count)::bigint as count, max(last_seq) as last_seq
  from drops
  group by worker, epoch, reason
),
parts as (
  select
    max(node) as node,
    worker,
    epoch,
    sum(bit_count(bits))::bigint as logged,
    max(last_seq) as last_seq,
    max(last_seq) filter (where settled) - sum(bit_count(bits)) filter (where settled) as unsettled
  from settling
  group by worker, epoch

  union all by name

  select
    max(node) as node,
    worker,
    epoch,
    sum(count)::bigint as dropped,
    map_from_entries(list((reason, count) order by reason)) as drops,
    max(last_seq) as last_seq
  from reasons
  group by worker, epoch

  union all by name

  select node, worker, epoch, stopped, ended, last_seq
  from writers
),
balances as (
  select
    max(node) as node,
    worker,
    epoch,
    coalesce(max(last_seq), 0) as received,
    coalesce(max(logged), 0) as logged,
    coalesce(max(dropped), 0) as dropped,
    coalesce(any_value(drops), map {}) as drops,
    coalesce(max(unsettled), 0)::bigint as unsettled,
    coalesce(bool_or(stopped), false) as stopped,
    coalesce(bool_or(ended), false) as ended
  from parts
  where epoch is not null
  group by worker, epoch
),
gaps as (
  select *, greatest(received - logged - dropped, 0) as gap
  from balances
)
select
  node,  -- machine
  worker,  -- writer
  epoch,  -- its start, Unix nanoseconds
  to_timestamp(epoch / 1e9) as started_at,  -- the same as a time
  received,  -- highest number known
  logged,  -- of them in `events`
  dropped,  -- of them dropped, with a reason
  case when ended then gap else 0 end as missing,  -- of them neither, though the writer has ended
  case when ended then 0 else gap end as in_flight,  -- of them not written yet; the writer still runs
  gap = 0 or not ended as balanced,  -- nothing is missing
  drops,  -- dropped by reason
  stopped,  -- it ended in order
  least(gap, greatest(unsettled - dropped, 0)) as overdue,  -- of both, begun over a minute before its latest row
  ended  -- nothing more comes of it
from gaps
where received > 0 or dropped > 0
