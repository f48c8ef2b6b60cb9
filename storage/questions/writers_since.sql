-- Which writers put files into the log since then?
select epoch
from writers
where last_file_at >= to_timestamp($since_us / 1e6)
group by epoch
order by epoch desc
