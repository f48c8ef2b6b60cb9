-- Does the count of these writers add up in each hour since then? The earliest hour first.
select *
from ledger_hours
where epoch in ($ids)
  and hour >= to_timestamp($since_us // 3600000000 * 3600)
order by hour, node, worker, epoch
