-- Which events count as a goal, and what is each worth? Today: every accepted lead.
select
  lead_id as conversion_id,  -- the lead's ID
  'lead' as name,  -- `lead`
  occurred_at,  -- when the form was sent
  visitor_id,  -- the browser; NULL if it has no cookie
  visit_id,  -- the visit
  event_id,  -- the row in `events`
  lead_id,  -- the lead
  host,  -- Host of the form
  form,  -- its name
  page,  -- path of the page it stands on
  cast(null as decimal(18, 2)) as value,  -- amount, if known
  cast(null as varchar) as currency  -- its currency
from lead_states
where state = 'accepted'
