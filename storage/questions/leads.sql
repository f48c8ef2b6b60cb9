-- What is known of these leads? The newest first. The statement of the view `leads` finds no others.
with lead_states as materialized (
  select *
  from main.lead_states
  where lead_id in ($ids)
)
select *
from (
$leads
) as leads
order by occurred_at desc, lead_id
