-- To whom were these leads sent?
select *
from deliveries
where lead_id in (select unnest($lead_ids::varchar[]))
order by owed_at
