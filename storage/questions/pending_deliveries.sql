-- What is still owed to the sinks, since when, and how often was it tried and requeued? The oldest first.
with requeued as (
  select delivery_id, count(*) as requeues
  from delivery_facts
  where fact = 'requeued'
  group by delivery_id
)
select
  deliveries.delivery_id,
  lead_id,
  sink,
  epoch_us(owed_at) as owed_us,
  attempts,
  epoch_us(next_attempt_at) as next_attempt_us,
  coalesce(requeues, 0) as requeues
from deliveries
left join requeued on requeued.delivery_id = deliveries.delivery_id
where state in ('owed', 'failed')
order by owed_at, deliveries.delivery_id
