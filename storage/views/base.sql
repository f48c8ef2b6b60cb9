-- One table of the log, wherever its rows lie: filed in Parquet parts, or still fresh.
-- The watermark is read once. A filed row answers from the moment it has passed the row's batch, the fresh one until then.
-- Parts appear a grace before it passes them and fresh rows stay a grace after, so that each row comes once even if the
-- three reads below meet different moments. (Two filters by the watermark would be two reads of it; and as a materialized
-- CTE it keeps DuckDB 1.5 from leaving out columns: 15 times slower.)
select $columns
from (
  select $columns, b as valid_from, 9223372036854775807 as valid_until
  from read_parquet($cold, union_by_name = true, hive_partitioning = false)
  union all
  select $columns, 0, b - 1
  from $fresh
) as rows
join (select w from $mark) as mark on mark.w between rows.valid_from and rows.valid_until
