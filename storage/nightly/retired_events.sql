-- What does the ledger keep of events that are retired? Their numbers, by writer and hour.
select
  to_timestamp(epoch_us(occurred_at) // 3600000000 * 3600) as occurred_at,
  max(node) as node,
  worker,
  epoch,
  'retired' as reason,
  count(distinct seq) as count,
  min(seq) as first_seq,
  max(seq) as last_seq
from $rows as old
where seq >= 0
group by epoch_us(occurred_at) // 3600000000, worker, epoch
