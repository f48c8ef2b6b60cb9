-- What is still owed to the sinks, since when in this round, and how often was it tried in it? The oldest first.
with open as (
  select delivery_id, lead_id, sink, next_attempt_at
  from deliveries
  where state in ('owed', 'failed')
),
rounds as (
  select
    delivery_id,
    coalesce(max(occurred_at) filter (fact = 'requeued'), min(occurred_at)) as owed_at,
    count(*) filter (fact = 'requeued') as requeues
  from delivery_facts
  group by delivery_id
),
attempts as (
  select facts.delivery_id, max(facts.attempt) as attempts
  from delivery_facts as facts
  join rounds on rounds.delivery_id = facts.delivery_id
  where facts.occurred_at >= rounds.owed_at
  group by facts.delivery_id
)
select
  open.delivery_id,
  open.lead_id,
  open.sink,
  epoch_us(rounds.owed_at) as owed_us,
  coalesce(attempts.attempts, 0) as attempts,
  epoch_us(open.next_attempt_at) as next_attempt_us,
  rounds.requeues
from open
join rounds on rounds.delivery_id = open.delivery_id
left join attempts on attempts.delivery_id = open.delivery_id
order by rounds.owed_at, open.delivery_id
