-- What is known of these leads? The earliest first.
select *
from lead_states
where lead_id in (select unnest($lead_ids::varchar[]))
order by occurred_at
