-- Was it ordered to erase whose lead this is?
select count(*) > 0 as is_erased
from lead_facts
where lead_id = $lead_id
  and fact = 'erased'
