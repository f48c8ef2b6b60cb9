-- Which erasures were ordered and are not done? The earliest first.
-- Whoever was killed in between has taken the names out of the order already: it is not done all the same.
select
  properties->>'order' as order_id,
  min(properties->>'subject') as subject,
  min(epoch_us(occurred_at)) as ordered_us,
  list(distinct properties->>'visitor') filter (properties->>'visitor' is not null) as visitors,
  list(distinct properties->>'lead_id') filter (properties->>'lead_id' is not null) as leads,
  list(distinct properties->>'email_hash') filter (properties->>'email_hash' is not null) as email_hashes
from events
where name = 'erasure.ordered'
  and properties->>'order' is not null
  and properties->>'order' not in (
    select properties->>'order'
    from events
    where name = 'erasure.done'
  )
group by order_id
order by ordered_us
