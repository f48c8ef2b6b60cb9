-- What does the ledger keep of drops that are retired? Their sums, by writer and hour, without the reasons.
select
  to_timestamp(epoch_us(occurred_at) // 3600000000 * 3600) as occurred_at,
  max(node) as node,
  worker,
  epoch,
  'retired' as reason,
  sum(count)::bigint as count,
  min(first_seq) as first_seq,
  max(last_seq) as last_seq
from $rows as old
group by epoch_us(occurred_at) // 3600000000, worker, epoch
