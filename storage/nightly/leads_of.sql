-- Which leads came from these browsers, and which browsers did these leads come from?
select distinct lead_id, visitor_id
from lead_facts
where visitor_id in (select unnest($visitors::varchar[]))
  or lead_id in (select unnest($leads::varchar[]))
