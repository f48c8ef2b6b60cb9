"""What one append to the spool costs a worker, relative to a bare os.write of the same bytes in the same run.

    python benchmarks/spool_append.py
    python benchmarks/spool_append.py --folder /srv/ropo/data --rate 2000

Both write to files in the same folder and take turns, so that a slow moment of the disk hits both. `append` is timed
inside a running loop with its timers, syncs and seals going on, in bursts as a worker makes them. Trust the ratio; the
microseconds are this machine's.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path

import uvloop

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from storage.spool import SpoolWriter
from tracker import clock
from tracker.model import ExchangeRecord, encode_line

# A usual page view: some 700 bytes, as the records of real sites are.
RECORD = ExchangeRecord(
    seq=123_456,
    occurred_at=clock.now_text(),
    method="GET",
    target="/products/machines/cnc-5-axis?utm_source=google&utm_medium=cpc&utm_campaign=autumn-2026&gclid=" + "x" * 60,
    status=200,
    scheme="https",
    host="www.example.com",
    client_ip="192.0.2.0",
    duration_us=18_250,
    wait_us=17_800,
    response_bytes=8192,
    content_type="text/html; charset=utf-8",
    referrer="https://www.google.com/",
    user_agent="Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
    language="de-DE,de;q=0.9,en;q=0.8",
    fetch_dest="document",
    fetch_site="cross-site",
    visitor_id=clock.new_id(),
    identity="known",
)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=200_000, help="how many of each to write (default: %(default)s)")
    parser.add_argument("--burst", type=int, default=20, help="records per turn of the loop (default: %(default)s)")
    parser.add_argument("--sync", choices=["group", "always", "off"], default="group", help="the setting of that name")
    parser.add_argument("--rate", type=int, default=0, help="records per second; 0: as fast as it goes (default)")
    parser.add_argument(
        "--folder", type=Path, help="where to write (default: a folder below the system's temporary one)"
    )
    return parser.parse_args()


async def measure(folder: Path, options: argparse.Namespace) -> tuple[list[float], list[float], dict[str, int]]:
    line = encode_line(RECORD)
    whole = line + b"\n"
    writer = SpoolWriter(folder, node="bench", worker="bench", epoch=time.time_ns(), version="", sync=options.sync)
    fd = os.open(folder / "bare", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
    burst, clock_ns, write = options.burst, time.perf_counter_ns, os.write
    bare, ours = [], []
    pause = burst / options.rate if options.rate else 0
    for turn in range(options.records // burst):
        # Who goes first changes, so that none always finds the caches warm.
        for mine in (True, False) if turn % 2 else (False, True):
            begun = clock_ns()
            if mine:
                for seq in range(burst):
                    writer.append(line, seq)
                ours.append((clock_ns() - begun) / burst)
            else:
                for _ in range(burst):
                    write(fd, whole)
                bare.append((clock_ns() - begun) / burst)
        await asyncio.sleep(pause)
    counters = writer.counters
    await writer.close(options.records)
    os.close(fd)
    return bare, ours, counters


def main() -> None:
    options = arguments()
    with tempfile.TemporaryDirectory(prefix="ropo-bench-", dir=options.folder) as name:
        bare, ours, counters = uvloop.run(measure(Path(name), options))
    used = resource.getrusage(resource.RUSAGE_SELF)
    assert counters["records"] == options.records // options.burst * options.burst, counters
    print(
        f"{counters['records']} records of {len(encode_line(RECORD)) + 1} bytes, {counters['syncs']} syncs, {counters['sealed']} files sealed"
    )
    print(f"{'':12}{'median':>10}{'mean':>10}{'p99':>10}   us per record")
    for label, times in (("os.write", bare), ("append", ours)):
        figures = (statistics.median(times), statistics.fmean(times), statistics.quantiles(times, n=100)[98])
        print(f"{label:12}" + "".join(f"{figure / 1000:10.2f}" for figure in figures))
    more = statistics.median(ours) - statistics.median(bare)
    print(
        f"ratio {statistics.median(ours) / statistics.median(bare):.2f} (median), {more / 1000:.2f} us on top of the write"
    )
    print(f"CPU of the whole run, both writers and the sync thread: {used.ru_utime + used.ru_stime:.1f} s")


if __name__ == "__main__":
    main()
