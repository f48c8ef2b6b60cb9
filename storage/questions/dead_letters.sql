-- What will not be tried again, and why? The newest first.
select delivery_id, lead_id, sink, attempts, owed_at, last_at, reason
from deliveries
where state = 'dead'
order by last_at desc, delivery_id
