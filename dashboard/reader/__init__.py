"""Answers SQL over HTTP, for tools that cannot open log.duckdb themselves. Off unless `dashboard.sql` is set.

    reader      the process that listens: it knows who may ask and how answers look, and no DuckDB
    nursery     its one child, which has loaded DuckDB and opens nothing: it forks a query's process when told
    query       one process for one statement, locked in before it reads it, gone after the answer
    statement   the text that was asked; looked into before it is run
    frame       what a query's process says to the reader: a head, data, an end, or a refusal

DuckDB has no privileges within a database and says so (duckdb.org/docs/operations_manual/securing_duckdb/overview), so
every layer here takes the one above it for broken: statement ▸ read-only transaction ▸ DuckDB's own lock ▸ limits of the
process ▸ Landlock ▸ file rights.
"""
