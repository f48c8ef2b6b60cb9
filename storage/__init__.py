"""Where records wait, become rows, and are asked for. All SQL and all files of the log are this room's.

    record       one line a worker wrote: the raw facts of one exchange, or a fact from outside
    spool        the folder in which records wait for the log, in files of NDJSON
    epoch        one life of a writer: the moment it started, in Unix nanoseconds
    sealed       said of a spool file that is complete and will never change: its name ends in .ndjson
    recovery     sealing what a dead writer left open, cut to what is whole
    quarantine   lines that could not be read, with the reason
    archive      spool files that are in the log, kept compressed for a while
    batch        what one transaction adds to the log; batches are numbered
    hot          the rows of the last minutes to one day: in work.duckdb, published as hot.duckdb
    part         an older range of batches as one Parquet file, never changed again; all parts are the cold side
    watermark    the batch up to which the parts answer; hot answers for what came after
    door         log.duckdb, the read-only file of views that analysts open
    ledger       the count that proves completeness: received = logged + dropped by reason

Workers hold the spool's writer (`spool`), the collector holds everything else. Nobody but the collector opens
work.duckdb; everybody may open the door.
"""
