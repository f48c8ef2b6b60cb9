-- To which leads has nothing happened since then? Nothing is owed of them any more: deliveries are given up before.
select lead_id
from lead_facts
group by lead_id
having max(occurred_at) < $before
