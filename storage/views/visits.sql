-- Which visits were there, what brought each, and how far did it go?
-- A visit belongs to what brought it first; a later touchpoint inside it is in `touchpoints`.
with sums as (
  select
    visit_id,
    visitor_id,
    min(occurred_at) as started_at,
    max(occurred_at) as ended_at,
    count(*) filter (name = 'page_view') as page_views,
    count(*) filter (name = 'download') as downloads,
    count(*) filter (name = 'form_submit') as form_submits,
    count(*) as requests,
    count(*) filter (is_touchpoint) as touchpoints,
    -- A forged or expired cookie is answered with a new one, as none is.
    coalesce(bool_or(identity in ('minted', 'forged', 'expired')), false) as is_first,
    arg_min(path, occurred_at) filter (name = 'page_view') as first_page,
    arg_max(path, occurred_at) filter (name = 'page_view') as last_page,
    arg_min(path, occurred_at) filter (is_entrance) as entrance,
    arg_min(
      {
        'channel': channel,
        'source': touch_source,
        'medium': touch_medium,
        'campaign': touch_campaign,
        'term': utm_term,
        'referrer_host': referrer_host
      },
      occurred_at
    ) filter (is_touchpoint) as touch,
    arg_min(host, occurred_at) as host,
    any_value(device) as device,
    any_value(browser) as browser,
    any_value(os) as os,
    coalesce(bool_or(is_bot), false) as is_bot
  from events
  where visit_id is not null
  group by visitor_id, visit_id
),
accepted as (
  select visit_id, count(*) as leads
  from lead_states
  where visit_id is not null
    and state = 'accepted'
  group by visit_id
)
select
  sums.visit_id,  -- UUIDv7
  visitor_id,  -- the browser
  started_at,  -- first event
  ended_at,  -- last event
  (epoch_us(ended_at) - epoch_us(started_at)) / 1e6 as duration_secs,  -- between the two
  page_views,  -- pages seen
  downloads,  -- files fetched
  form_submits,  -- forms sent, whatever became of them
  requests,  -- all exchanges
  touchpoints,  -- arrivals that are marketing contacts
  page_views = 1 and downloads = 0 and form_submits = 0 as is_bounce,  -- one page, no file, no form
  is_first,  -- the browser got its cookie in it; else it had been here before
  host,  -- Host of the first event
  coalesce(first_page, entrance) as landing_page,  -- path of the first page
  coalesce(last_page, entrance) as exit_page,  -- path of the last page
  touch.channel as channel,  -- of the first touchpoint
  touch.source as source,  -- of the first touchpoint
  touch.medium as medium,  -- of the first touchpoint
  touch.campaign as campaign,  -- of the first touchpoint
  touch.term as term,  -- of the first touchpoint
  touch.referrer_host as referrer_host,  -- of the first touchpoint
  device,  -- what the visitor used
  browser,  -- its browser
  os,  -- its system
  is_bot,  -- any of its events is a bot's
  coalesce(leads, 0) as leads,  -- forms the site accepted in it
  coalesce(leads, 0) > 0 as converted  -- at least one such form
from sums
left join accepted on accepted.visit_id = sums.visit_id
