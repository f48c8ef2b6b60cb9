-- When was somebody with one of these keyed hashes erased?
select
  occurred_at as erased_at,
  properties->>'ordered_at' as ordered_at
from events
where name = 'erasure.done'
  and properties->>'subject' in (select unnest($subjects::varchar[]))
order by occurred_at
