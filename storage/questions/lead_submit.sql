-- With which event was a form sent that no visitor could be told for?
select
  event_id,
  occurred_at,
  'form_submit' as kind,
  false as is_touchpoint,
  visit_id,
  path as page,
  channel,
  touch_source as source,
  touch_medium as medium,
  touch_campaign as campaign
from events
where lead_id = $lead_id
order by occurred_at, event_id
