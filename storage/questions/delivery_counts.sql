-- How far is each sink?
select
  sink,
  count(*) filter (state = 'delivered') as delivered,
  count(*) filter (state = 'owed') as owed,
  count(*) filter (state = 'failed') as failed,
  count(*) filter (state = 'dead') as dead
from deliveries
group by sink
order by sink
