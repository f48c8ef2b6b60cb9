-- Which visits were there, what brought each, and how far did it go?
-- A visit belongs to what brought it first; a later touchpoint inside it is in `touchpoints`.
with sums as (
  select
    visit_id,
    visitor_id,
    min(occurred_at) as started_at,
    max(occurred_at) as ended_at,
    count(*) filter (name = 'page_view') as page_views,
    count(*) as requests,
    arg_min(path, occurred_at) filter (name = 'page_view') as first_page,
    arg_max(path, occurred_at) filter (name = 'page_view') as last_page,
    arg_min(path, occurred_at) filter (is_entrance) as entrance,
    arg_min(
      {
        'channel': channel,
        'source': touch_source,
        'medium': touch_medium,
        'campaign': touch_campaign,
        'referrer_host': referrer_host
      },
      occurred_at
    ) filter (is_touchpoint) as touch,
    any_value(device) as device,
    any_value(browser) as browser,
    any_value(os) as os,
    coalesce(bool_or(is_bot), false) as is_bot
  from events
  where visit_id is not null
  group by visitor_id, visit_id
),
leads as (
  select visit_id, count(*) as leads
  from lead_states
  where visit_id is not null
    and state = 'accepted'
  group by visit_id
)
select
  sums.visit_id,
  visitor_id,
  started_at,
  ended_at,
  (epoch_us(ended_at) - epoch_us(started_at)) / 1e6 as duration_secs,
  page_views,
  requests,
  coalesce(first_page, entrance) as landing_page,
  coalesce(last_page, entrance) as exit_page,
  touch.channel as channel,
  touch.source as source,
  touch.medium as medium,
  touch.campaign as campaign,
  touch.referrer_host as referrer_host,
  device,
  browser,
  os,
  is_bot,
  coalesce(leads, 0) as leads
from sums
left join leads on leads.visit_id = sums.visit_id
