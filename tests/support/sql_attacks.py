"""Statements that want more than an answer. Each names where it would leave a trace, or what it would find out.

`$root`, `$cold`, `$hot`, `$out` and `$secret` stand for the storage path, a folder of parts, the published rows, a folder
beside the storage path, and a file with a secret. `only_2`: DuckDB 1.5 does not even parse it.
"""

from __future__ import annotations

from dataclasses import dataclass
from string import Template

PLANTED = "planted-secret-4711"


@dataclass(frozen=True)
class Attack:
    kind: str
    sql: str
    only_2: bool = False

    def on(self, **places: object) -> str:
        return Template(self.sql).substitute({name: str(place) for name, place in places.items()})


def _all(kind: str, *statements: str, only_2: bool = False) -> list[Attack]:
    return [Attack(kind, sql, only_2) for sql in statements]


ATTACKS = [
    *_all(
        "change the log",
        "insert into events (event_id) values ('x')",
        "update events set name = 'x'",
        "delete from events",
        "truncate events",
        "drop view events",
        "alter view events rename to other",
        "create or replace view log.events as select 1",
        "create table log.main.x as select 1",
        "comment on view events is 'x'",
        "merge into events using (select 1 as a) as s on false when not matched then insert (event_id) values ('x')",
        "checkpoint log",
        "vacuum",
        "analyze",
    ),
    *_all(
        "change within a question",
        "with x as (delete from events returning *) select * from x",
        "with x as (insert into events (event_id) values ('x') returning *) select * from x",
        "with x as (update events set name = 'x' returning *) select * from x",
        "with c as (copy (select 1) to '$out/cte.csv') select 1",
        "with c as (copy (select 1) to '$cold/cte.parquet' (format parquet)) select 1",
        "select * from (with c as (copy (select 1) to '$cold/deep.csv') select 1) where exists (select 1)",
        only_2=True,
    ),
    *_all(
        "keep something",
        "create temp table x as select * from events",
        "create schema memory.x",
        "create table memory.main.x as select 1",
        "create sequence memory.main.s",
        "create macro memory.main.m() as 1",
        "create type t as enum ('a')",
        "prepare p as select 1",
        "set variable x = 1",
    ),
    *_all(
        "several statements",
        "select 1; drop view events",
        "select 1; copy (select 1) to '$out/second.csv'",
        "commit; delete from events",
        "rollback; attach '$out/x.duckdb'",
        "begin; select 1",
        "/* select 1 */ copy (select 1) to '$out/comment.csv'",
    ),
    *_all(
        "write a file",
        "copy (select 1) to '$out/x.csv'",
        "copy (select 1) to '$cold/x.parquet' (format parquet)",
        "copy (select 1) to '$hot'",
        "copy events to '$root/log.csv'",
        "export database '$out/all'",
        "attach '$out/new.duckdb' as fresh",
        "attach '$cold/new.duckdb' as fresh",
        "select * from enable_logging(storage := 'file', storage_config := {'path': '$out/logs'})",
        "select * from enable_profiling(save_location := '$out/profile.json')",
        "pragma enable_logging",
        "pragma profile_output = '$out/profile.json'",
        "select write_log('x')",
        "copy (select 1) to '/dev/stderr'",
        "use memory",
    ),
    *_all(
        "explain something that is done",
        "explain analyze delete from events",
        "explain analyze copy (select 1) to '$out/explained.csv'",
        "explain analyze create table memory.main.x as select 1",
        "explain insert into events (event_id) values ('x')",
        "explain select * from read_text('$secret')",
    ),
    *_all(
        "read a file",
        "select * from read_text('$secret')",
        "select * from read_blob('$secret')",
        "select * from read_csv('$secret', header = false, columns = {'a': 'varchar'})",
        "select * from read_csv('/etc/passwd', sep = ':')",
        "select * from read_json('$root/status/*.json')",
        "select * from read_parquet('$cold/**/*.parquet')",
        "select * from parquet_metadata('$cold/**/*.parquet')",
        "select * from read_duckdb('$hot', table_name = 'events')",
        "select * from read_duckdb('$root/work.duckdb', table_name = 'events')",
        "select * from glob('$root/**')",
        "select * from glob('/etc/*')",
        "select * from sniff_csv('/etc/passwd')",
        "from '$secret'",
        "from '/etc/passwd'",
        "from '$root/config.csv'",
        "select (select content from read_text('$secret')) from events",
        "select * from events where name in (select content from read_text('$secret'))",
        "with recursive r as (select 1 as n union all select n from r, read_text('$secret') limit 1) select * from r",
        "describe select * from read_text('$secret')",
        "summarize from read_csv('/etc/passwd', sep = ':')",
        "attach '$root/work.duckdb' as work (read_only)",
        "attach '/etc/passwd' as p (type sqlite)",
        "from read_text('/proc/self/environ')",
        "from read_blob('/proc/self/fd/0')",
        "select * from read_text('http://127.0.0.1:9/')",
        "select * from read_csv('s3://bucket/x.csv')",
    ),
    *_all(
        "run text as a statement",
        "select * from query('select * from read_text(''$secret'')')",
        "select * from query_table('$secret')",
        "select * from json_execute_serialized_sql(json_serialize_sql('select * from read_text(''$secret'')'))",
        "execute p",
        "pragma json_execute_serialized_sql('{}')",
        "import database '$out'",
    ),
    *_all(
        "loosen the lock",
        "set enable_external_access = true",
        "set lock_configuration = false",
        "set allowed_directories = ['/']",
        "reset memory_limit",
        "set memory_limit = '1TB'",
        "set threads = 64",
        "set temp_directory = '$out'",
        "set python_enable_replacements = true",
        "pragma threads = 64",
        "install httpfs",
        "load httpfs",
        "load '$out/x.duckdb_extension'",
        "call force_checkpoint()",
        "call pragma_version()",
    ),
    *_all(
        "look behind the log",
        "select * from duckdb_settings()",
        "select * from duckdb_secrets()",
        "from which_secret('s3://x', 's3')",
        "create secret s (type s3, key_id 'x')",
        "select current_setting('allowed_paths')",
        "select getenv('HOME')",
        "select * from duckdb_databases()",
        "from duckdb_databases",
        "from duckdb_views",
        "select sql from duckdb_views()",
        "from pragma_database_list",
        "from sqlite_master",
        "from pg_catalog.pg_views",
        "select view_definition from information_schema.views",
        "select pg_get_viewdef(1)",
        "from duckdb_external_file_cache()",
        "from duckdb_temporary_files()",
        "from duckdb_logs",
        "pragma database_list",
        "show databases; show tables",
        "from order",
        "from _answer",
    ),
]
