-- What did this visitor do up to the lead, and what had brought the visitor each time?
select
  event_id,
  occurred_at,
  case
    when name = 'form_submit' then 'form_submit'
    when is_touchpoint then 'touchpoint'
    else name
  end as kind,
  coalesce(is_touchpoint, false) as is_touchpoint,
  visit_id,
  path as page,
  channel,
  touch_source as source,
  touch_medium as medium,
  touch_campaign as campaign,
  utm_term as term,
  utm_content as content,
  utm_id as campaign_id,
  click_ids,
  campaign_params,
  referrer
from events
where visitor_id = $visitor_id
  and (occurred_at <= $occurred_at or event_id = $event_id)
  and (is_touchpoint or name in ('page_view', 'download', 'form_submit'))
order by occurred_at, event_id
