-- Who became known, how far is each lead, and what had brought this person by then?
-- The running sums over a visitor's events make one pass of it, however many leads a visitor left. (With a filter clause
-- instead of the case they took 100 times as long, on 200,000 events of one visitor.)
with visitors as (
  select distinct visitor_id
  from lead_states
  where visitor_id is not null
),
trails as (
  select
    visitor_id,
    occurred_at,
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
  where visitor_id in (from visitors)
),
sums as (
  select
    visitor_id,
    occurred_at,
    first_value(touch ignore nulls) over trail as first_touch,
    last_value(touch ignore nulls) over trail as last_touch,
    count(touch) over trail as touchpoints,
    count(distinct visit_id) over trail as visits,
    count(page) over trail as page_views
  from trails
  window trail as (partition by visitor_id order by occurred_at)
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
  sums.first_touch.channel as first_touch_channel,
  sums.first_touch.source as first_touch_source,
  sums.first_touch.medium as first_touch_medium,
  sums.first_touch.campaign as first_touch_campaign,
  sums.first_touch."at" as first_touch_at,
  sums.last_touch.channel as last_touch_channel,
  sums.last_touch.source as last_touch_source,
  sums.last_touch.medium as last_touch_medium,
  sums.last_touch.campaign as last_touch_campaign,
  sums.last_touch."at" as last_touch_at,
  coalesce(sums.touchpoints, 0) as touchpoints,
  coalesce(sums.visits, 0) as visits,
  coalesce(sums.page_views, 0) as page_views,
  coalesce(sent.delivered, 0) as delivered,
  coalesce(sent.owed, 0) as owed,
  coalesce(sent.dead, 0) as dead
from lead_states as leads
asof left join sums on leads.visitor_id = sums.visitor_id and leads.occurred_at >= sums.occurred_at
left join sent on sent.lead_id = leads.lead_id
