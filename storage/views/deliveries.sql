-- What is owed to each sink, and how far is it?
-- The latest fact tells the state; of two in the same microsecond the one that goes further. What is owed once more, because
-- a lead was confirmed by hand, is owed once: only a requeue begins a new round, in which attempts count from one again.
with facts as (
  select
    *,
    case fact
      when 'owed' then 0
      when 'failed' then 1
      when 'dead' then 2
      when 'delivered' then 3
      else 4
    end as weight
  from delivery_facts
),
rounds as (
  select
    *,
    (fact <> 'owed', occurred_at, weight) as place,
    max(occurred_at) filter (fact = 'requeued') over (partition by delivery_id) as requeued_at
  from facts
)
select
  delivery_id,  -- same for all attempts; the webhook's `webhook-id`
  any_value(lead_id) as lead_id,  -- the lead
  any_value(sink) as sink,  -- name of the sink
  case when arg_max(fact, place) = 'requeued' then 'owed' else arg_max(fact, place) end as state,  -- `owed`, `failed` (will be tried again), `delivered` or `dead`
  coalesce(max(attempt) filter (occurred_at >= coalesce(requeued_at, occurred_at)), 0)::bigint as attempts,  -- since it was owed, or requeued
  coalesce(max(requeued_at), min(occurred_at)) as owed_at,  -- since when
  max(occurred_at) as last_at,  -- latest fact
  arg_max_null(next_attempt_at, place) as next_attempt_at,  -- not before
  nullif(arg_max(reason, place), '') as reason,  -- what the sink said, without secrets or contact
  arg_max(remote_ref, place) as remote_ref  -- the remote's own name for it, such as a file name
from rounds
group by delivery_id
