-- How much did this visitor do up to the lead, and since when?
select
  count(distinct visit_id) as visits,
  count(*) filter (name = 'page_view') as page_views,
  min(occurred_at) as first_seen_at
from events
where visitor_id = $visitor_id
  and occurred_at <= $occurred_at
