-- Which writers put files into the log last?
select epoch
from spool_files
where epoch is not null
group by epoch
order by max(ingested_at) desc, epoch desc
limit $limit
