-- Who became known, how far is each lead, and what had brought this person by then?
-- Leads stand among their visitor's events, and running sums say what each had behind it: one pass over the events, however
-- many leads a visitor left. (For a visitor with 200,000 events and 20,000 leads: 0.4 s. An asof join compared all with all,
-- 40 s, and a filter clause instead of the case took 7 s.)
with trails as (
  select
    visitor_id,
    occurred_at,
    null as lead_id,
    visit_id,
    case when name = 'page_view' then 1 end as page,
    case when is_touchpoint then
      {
        'channel': channel,
        'source': touch_source,
        'medium': touch_medium,
        'campaign': touch_campaign,
        'at': occurred_at
      }
    end as touch
  from events
  where visitor_id in (select visitor_id from lead_states where visitor_id is not null)

  union all

  select visitor_id, occurred_at, lead_id, null, null, null
  from lead_states
  where visitor_id is not null
),
sums as (
  select
    lead_id,
    first_value(touch ignore nulls) over trail as first_touch,
    last_value(touch ignore nulls) over trail as last_touch,
    count(touch) over trail as touchpoints,
    count(distinct visit_id) over trail as visits,
    count(page) over trail as page_views
  from trails
  -- Not by rows: events of the lead's own microsecond belong to it.
  window trail as (partition by visitor_id order by occurred_at range unbounded preceding)
),
pasts as (
  select *
  from sums
  where lead_id is not null
),
sent as (
  select
    lead_id,
    count(*) filter (state = 'delivered') as delivered,
    count(*) filter (state in ('owed', 'failed')) as owed,
    count(*) filter (state = 'dead') as dead
  from deliveries
  group by lead_id
)
select
  leads.lead_id,
  leads.occurred_at,
  leads.state,
  leads.reason,
  leads.visitor_id,
  leads.visit_id,
  leads.host,
  leads.form,
  leads.rule,
  leads.page,
  leads.action,
  leads.contact,
  leads.lead_fields,
  leads.field_names,
  pasts.first_touch.channel as first_touch_channel,
  pasts.first_touch.source as first_touch_source,
  pasts.first_touch.medium as first_touch_medium,
  pasts.first_touch.campaign as first_touch_campaign,
  pasts.first_touch."at" as first_touch_at,
  pasts.last_touch.channel as last_touch_channel,
  pasts.last_touch.source as last_touch_source,
  pasts.last_touch.medium as last_touch_medium,
  pasts.last_touch.campaign as last_touch_campaign,
  pasts.last_touch."at" as last_touch_at,
  coalesce(pasts.touchpoints, 0) as touchpoints,
  coalesce(pasts.visits, 0) as visits,
  coalesce(pasts.page_views, 0) as page_views,
  coalesce(sent.delivered, 0) as delivered,
  coalesce(sent.owed, 0) as owed,
  coalesce(sent.dead, 0) as dead
from lead_states as leads
left join pasts on pasts.lead_id = leads.lead_id
left join sent on sent.lead_id = leads.lead_id
