-- Which visits began last?
select visit_id
from events
where is_entrance
  and visit_id is not null
order by occurred_at desc
limit $limit
