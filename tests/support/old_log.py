"""Keeps a tiny log in the format of today, so that later versions can be tried on it.

    python -m tests.support.old_log      writes tests/support/old_logs/migration-NNN.tar.xz, NNN being the last migration

Run it when a migration was added and before a release, and keep what is there: each archive is the format of its time.
It holds `data/` (parts, work.duckdb, archive; no keys) and `about.json`: the version of ropo and of DuckDB that wrote it,
and how many rows each view had.
"""

from __future__ import annotations

import io
import json
import tarfile
import tempfile
from pathlib import Path

import duckdb

import ropo
from storage.migrations import FOLDER as MIGRATIONS
from tests.support import whole_log

FOLDER = Path(__file__).with_name("old_logs")
KEPT = ("work.duckdb", "cold", "archive", "spool")


def main() -> Path:
    number = max(int(path.name[:3]) for path in MIGRATIONS.glob("*.sql"))
    target = FOLDER / f"migration-{number:03d}.tar.xz"
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        layout, _ = whole_log.write(Path(place), days=4, filed=2)
        rows = {view: len(found) for view, found in whole_log.every_view(layout).items()}
        about = {"ropo": ropo.__version__, "duckdb": duckdb.__version__, "migration": number, "rows": rows}
        text = json.dumps(about, indent=1).encode()
        with tarfile.open(target, "w:xz", preset=9) as tar:
            info = tarfile.TarInfo("about.json")
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text))
            for name in KEPT:
                tar.add(layout.root / name, arcname=f"data/{name}")
    return target


def unpack(archive: Path, folder: Path) -> dict:
    """The log in `folder`/data, and what is told of it."""
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    return json.loads((folder / "about.json").read_text())


if __name__ == "__main__":
    print(main())
