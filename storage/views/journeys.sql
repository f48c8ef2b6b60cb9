-- What did the person behind each lead do up to it, step by step?
-- One row per event. An arrival is a touchpoint, though it shows a page as well. Files that belong to a page are left out.
with leads as (
  select lead_id, visitor_id, event_id, occurred_at
  from lead_states
),
steps as (
  select
    leads.lead_id,
    events.occurred_at,
    case
      when events.name = 'form_submit' then 'form_submit'
      when events.is_touchpoint then 'touchpoint'
      else events.name
    end as kind,
    events.visitor_id,
    events.visit_id,
    events.path as page,
    events.channel,
    events.touch_source as source,
    events.touch_medium as medium,
    events.touch_campaign as campaign,
    events.event_id
  from events
  join leads on events.visitor_id = leads.visitor_id
  where (events.is_touchpoint or events.name in ('page_view', 'download', 'form_submit'))
    and (events.occurred_at <= leads.occurred_at or events.event_id = leads.event_id)

  union all

  -- A lead without a visitor, for want of a cookie, has its form at least.
  select
    leads.lead_id,
    events.occurred_at,
    'form_submit' as kind,
    events.visitor_id,
    events.visit_id,
    events.path as page,
    events.channel,
    events.touch_source as source,
    events.touch_medium as medium,
    events.touch_campaign as campaign,
    events.event_id
  from events
  join leads on events.lead_id = leads.lead_id
  where leads.visitor_id is null
    and events.lead_id is not null
)
select
  lead_id,  -- the lead
  row_number() over (partition by lead_id order by occurred_at, event_id) as position,  -- from 1
  occurred_at,  -- when
  kind,  -- `touchpoint`, `page_view`, `download` or `form_submit`
  visitor_id,  -- the browser
  visit_id,  -- the visit
  page,  -- path
  channel,  -- of a touchpoint
  source,  -- of a touchpoint
  medium,  -- of a touchpoint
  campaign,  -- of a touchpoint
  event_id  -- the row in `events`
from steps
