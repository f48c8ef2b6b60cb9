-- Which leads came last?
select lead_id
from lead_states
where $state is null or state = $state
order by occurred_at desc, lead_id
limit $limit
