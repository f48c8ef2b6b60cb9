-- How many events does this browser have?
select count(*) as events
from events
where visitor_id = $visitor_id
