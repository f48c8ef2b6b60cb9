-- Does each writer's count add up? The latest writers first.
select *
from ledger
where epoch in ($ids)
order by epoch desc, node, worker
