-- What did these browsers do, and which requests brought these leads? The earliest first.
select *
from events
where visitor_id in (select unnest($visitor_ids::varchar[]))
  or lead_id in (select unnest($lead_ids::varchar[]))
order by occurred_at
