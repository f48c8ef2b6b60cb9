-- Which views does the log have, with which columns of which types, and what do they mean?
select
  views.view_name,
  regexp_replace(views.comment, ' \(views [0-9a-f]+\)$', '') as view_comment,
  columns.column_name,
  columns.data_type,
  columns.comment as column_comment
from duckdb_views() as views
join duckdb_columns() as columns
  on columns.database_name = views.database_name
  and columns.schema_name = views.schema_name
  and columns.table_name = views.view_name
where not views.internal
  and views.database_name = current_database()
order by views.view_name, columns.column_index
