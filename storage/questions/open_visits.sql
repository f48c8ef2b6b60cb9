-- Which visits had an event since then, and so may go on? With what their latest touchpoint came from.
with latest as (
  select
    visitor_id,
    visit_id,
    min(occurred_at) as started_at,
    max(occurred_at) as last_at,
    coalesce(bool_or(is_entrance), false) as entered,
    arg_max(
      {'campaign_params': campaign_params, 'click_ids': click_ids, 'referrer_host': referrer_host},
      occurred_at
    ) filter (is_touchpoint) as touch
  from events
  where visit_id is not null
    and occurred_at >= $since
  group by visitor_id, visit_id
)
select
  visitor_id,
  visit_id,
  started_at,
  last_at,
  entered,
  touch.campaign_params as campaign_params,
  touch.click_ids as click_ids,
  touch.referrer_host as referrer_host
from latest
order by last_at, visit_id
