-- Does each writer's count add up? The latest writers first.
select ledger.*, writers.last_file_at
from ledger
left join writers on writers.worker = ledger.worker and writers.epoch = ledger.epoch
where ledger.epoch in ($ids)
order by ledger.epoch desc, ledger.node, ledger.worker
