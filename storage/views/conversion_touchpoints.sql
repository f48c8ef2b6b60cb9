-- Which touchpoints did each conversion have behind it, in order? Every model of attribution shares out this.
-- Looks back 90 days, written in hours: where clocks are changed a day has one more or less. Arrivals of bots do not count. A
-- conversion without an arrival on record keeps a row, channel Unknown, so that sums of credit are sums of conversions.
select
  conversions.conversion_id,  -- the conversion
  conversions.name as conversion,  -- its name
  conversions.occurred_at as converted_at,  -- when it happened
  conversions.lead_id,  -- the lead
  conversions.form,  -- the form
  conversions.value,  -- amount of the whole conversion, if known
  conversions.currency,  -- its currency
  conversions.visitor_id,  -- the browser; NULL if it is not known
  touchpoints.event_id,  -- the touchpoint's row in `events`; NULL if there is none
  touchpoints.occurred_at,  -- when it was; NULL if there is none
  touchpoints.visit_id,  -- its visit
  row_number() over (journey order by touchpoints.occurred_at, touchpoints.event_id) as position,  -- from 1, the earliest
  count(*) over journey as touchpoints,  -- how many rows this conversion has
  (epoch_us(conversions.occurred_at) - epoch_us(touchpoints.occurred_at)) / 86_400e6 as days_before,  -- days to the conversion
  case when touchpoints.event_id is null then 'Unknown' else touchpoints.channel end as channel,  -- its channel; `Unknown`: no arrival is on record
  touchpoints.source,  -- lower case
  touchpoints.medium,  -- lower case
  touchpoints.campaign,  -- lower case
  touchpoints.term,  -- `utm_term`
  touchpoints.content,  -- `utm_content`
  touchpoints.campaign_id,  -- `utm_id`
  touchpoints.click_ids,  -- raw
  touchpoints.referrer_host,  -- host of the referrer
  touchpoints.host,  -- Host it arrived at
  touchpoints.landing_page  -- path it arrived at
from conversions
left join touchpoints
  on touchpoints.visitor_id = conversions.visitor_id
  and touchpoints.occurred_at <= conversions.occurred_at
  and touchpoints.occurred_at >= conversions.occurred_at - interval 2160 hours
  and not touchpoints.is_bot
window journey as (partition by conversions.conversion_id)
