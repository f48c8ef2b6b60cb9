-- What became of this lead at each sink?
select *
from deliveries
where lead_id = $lead_id
order by sink
