-- Which arrivals were marketing contacts, and what did each say of its origin?
select
  event_id,  -- the arrival in `events`
  visitor_id,  -- the browser; NULL if it has no cookie
  visit_id,  -- the visit
  occurred_at,  -- when
  is_entrance,  -- it began the visit; else it came in the middle of one
  channel,  -- the class we derive, such as `Paid Search`
  touch_source as source,  -- lower case
  touch_medium as medium,  -- lower case
  touch_campaign as campaign,  -- lower case
  utm_term as term,  -- `utm_term`
  utm_content as content,  -- `utm_content`
  utm_id as campaign_id,  -- `utm_id`
  click_ids,  -- raw and case-safe: `click_ids['gclid']`
  campaign_params,  -- every campaign parameter, raw
  referrer,  -- as sent
  referrer_host,  -- its host
  host,  -- Host it arrived at
  path as landing_page,  -- path it arrived at
  device,  -- `desktop`, `mobile`, `tablet` and so on
  is_bot  -- a crawler, a monitor, a library or the like
from events
where is_touchpoint
