-- What is known of these visits? The newest first.
select *
from visits
where visit_id in ($ids)
order by started_at desc, visit_id
