-- Which events count as a goal, and what is each worth? Today: every accepted lead.
select
  lead_id as conversion_id,
  'lead' as name,
  occurred_at,
  visitor_id,
  visit_id,
  lead_id,
  form,
  cast(null as decimal(18, 2)) as value,
  cast(null as varchar) as currency
from lead_states
where state = 'accepted'
