-- To which deliveries has nothing happened since then?
select delivery_id
from delivery_facts
group by delivery_id
having max(occurred_at) < $before
