-- Which contacts are in the log, those to be erased among them, and whose are they?
select distinct lead_id, visitor_id, contact
from lead_facts
where contact is not null
