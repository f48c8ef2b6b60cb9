"""Runs statements as a query's process would, with layers taken away: do those below hold by themselves?

    python -m tests.support.reader_layers FOLDER "LAYER ..."     statements as a JSON list on stdin, outcomes on stdout

Layers are `statement`, `transaction`, `duckdb` and `system`. An outcome is `ran: ROWS` or `refused: WHY`.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from pathlib import Path

import duckdb

from dashboard.reader import files, query, statement
from dashboard.reader.frames import Order
from storage import sql


def outcome(order: Order, gone: set[str]) -> str:
    """In this process, which is locked in for good."""
    if "system" not in gone:
        query.lock_in(order)
    if "duckdb" in gone:
        con = duckdb.connect(config={"threads": 1, "temp_directory": ""})
        con.execute(f"attach {sql.literal(order.door)} as log (read_only)")
        con.execute("use log")
    else:
        con = query.connect(order)
    try:
        asked = order.sql if "statement" in gone else statement.checked(con, order.sql)
        if "transaction" not in gone:
            con.execute("begin transaction read only")
        return f"ran: {con.execute(asked).fetchall()}"
    except Exception as error:
        return f"refused: {error}"


def main(root: Path, gone: set[str]) -> None:
    door = root / "log.duckdb"
    names, folders = files.of_door(door)
    found = []
    for text in json.load(sys.stdin):
        read, write = os.pipe()
        if not os.fork():
            with suppress(BaseException):
                order = Order(
                    door=str(door), limit_secs=20, secs=20, sql=text, files=names, folders=folders, threads=1,
                    trees=[str(root / "cold"), str(root / "shelves")],
                )  # fmt: skip
                os.write(write, outcome(order, gone).encode()[:4000])
            os._exit(0)
        os.close(write)
        with os.fdopen(read, "rb") as pipe:
            found.append(pipe.read().decode("utf-8", "replace") or "refused: ended")
        os.wait()
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main(Path(sys.argv[1]), set(sys.argv[2].split()))
