-- Which arrivals were marketing contacts, and what did each say of its origin?
select
  event_id,
  visitor_id,
  visit_id,
  occurred_at,
  channel,
  touch_source as source,
  touch_medium as medium,
  touch_campaign as campaign,
  utm_term as term,
  utm_content as content,
  utm_id as campaign_id,
  click_ids,
  campaign_params,
  referrer,
  referrer_host,
  path as landing_page
from events
where is_touchpoint
