-- Which leads have an id that begins like this?
select lead_id
from lead_states
where starts_with(lead_id, $beginning)
order by lead_id
limit 2
