-- What is this lead's present state?
select *
from lead_states
where lead_id = $lead_id
