-- Which leads have contact data, and whose are they?
select distinct lead_id, visitor_id, contact
from lead_facts
where contact is not null
  and lead_id not in (select lead_id from lead_facts where fact = 'erased')
