"""What the pipeline costs per record, and how that compares to decoding and encoding the same records.

Makes exchanges as visitors leave them (a page and its parts, some campaigns, some bots), puts them through
`tracker.pipeline` in batches as the collector does, and prints microseconds of CPU per record. The ratio to msgspec,
measured in the same run, is what can be compared between machines.

    python benchmarks/pipeline_cost.py --records 200000 --batch 5000
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tracker import clock
from tracker.model import Event, ExchangeRecord, SpoolHeader, decode_line, encode_line
from tracker.pipeline import Pipeline
from tracker.settings import TrackerSettings

START_US = 1_795_341_600_000_000  # 2026-11-22 10:00 UTC
PARTS = ("/static/site.css", "/static/site.js", "/static/logo.svg", "/static/font.woff2", "/api/stock")
AGENT = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/{}.0.0.0 Safari/537.36 Build/{}"
)


def records(count: int, *, agents: int, unique_clicks: bool, seed: int) -> list[ExchangeRecord]:
    """Visits of one page with its parts after another, 200 visitors at once."""
    dice = random.Random(seed)
    known_agents = [AGENT.format(100 + number % 42, number) for number in range(agents)]
    known_agents += ["Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", "curl/8.16.0"]
    made: list[ExchangeRecord] = []
    while len(made) < count:
        visitors = [(clock.new_id(START_US + len(made)), dice.choice(known_agents)) for _ in range(200)]
        for _ in range(3):
            for visitor_id, agent in visitors:
                page = f"/products/{dice.randrange(300)}"
                query, referrer = "", "https://www.example.com/"
                if dice.random() < 0.2:
                    click = dice.getrandbits(64) if unique_clicks else dice.randrange(50)
                    query = f"?utm_source=google&utm_medium=cpc&utm_campaign=brand-{dice.randrange(9)}&gclid=Cj0{click}"
                    referrer = "https://www.google.com/"
                for target, kind, dest in [(page + query, "text/html; charset=utf-8", "document")] + [
                    (part, "text/css", "style") for part in PARTS
                ]:
                    number = len(made) + 1
                    made.append(
                        ExchangeRecord(
                            seq=number,
                            occurred_at=clock.text_of(START_US + number * 200),
                            method="GET",
                            target=target,
                            status=200,
                            scheme="https",
                            host="www.example.com",
                            client_ip="192.0.2.0",
                            duration_us=12_345,
                            wait_us=11_000,
                            response_bytes=8192,
                            content_type=kind,
                            referrer=referrer if dest == "document" else f"https://www.example.com{page}",
                            user_agent=agent,
                            language="de-DE,de;q=0.9,en;q=0.8",
                            fetch_dest=dest,
                            fetch_site="same-origin",
                            visitor_id=visitor_id,
                            identity="known",
                        )
                    )
    return made[:count]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=100_000, help="exchanges per round (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=5_000, help="exchanges per batch (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds; the median counts (default: %(default)s)")
    parser.add_argument("--agents", type=int, default=500, help="different user agents (default: %(default)s)")
    parser.add_argument("--unique-clicks", action="store_true", help="every click ID is a new one: caches do not help")
    parser.add_argument("--seed", type=int, default=1, help="of the made visits (default: %(default)s)")
    options = parser.parse_args()

    made = records(options.records, agents=options.agents, unique_clicks=options.unique_clicks, seed=options.seed)
    lines = [encode_line(record) for record in made]
    header = SpoolHeader("bench", "w1", START_US * 1000)
    batches = [made[at : at + options.batch] for at in range(0, len(made), options.batch)]
    pipeline_us, codec_us, events = [], [], 0
    for _ in range(options.rounds):
        before = time.process_time()
        for line in lines:
            encode_line(decode_line(line))
        codec_us.append((time.process_time() - before) / len(lines) * 1e6)
        pipeline = Pipeline(
            TrackerSettings(), sinks=("csv",), version="bench", delivery_id=lambda lead_id, sink: f"{lead_id}-{sink}"
        )
        rows: list[Event] = []
        before = time.process_time()
        for number, batch in enumerate(batches):
            rows = pipeline.run([(header, f"w1-{header.epoch:020d}-{number:06d}.ndjson", batch, 0)]).events
            events += len(rows)
        pipeline_us.append((time.process_time() - before) / len(made) * 1e6)
    assert events == len(made) * options.rounds
    ours, codec = statistics.median(pipeline_us), statistics.median(codec_us)
    print(f"pipeline            {ours:6.2f} us/record  (rounds: {' '.join(f'{us:.2f}' for us in pipeline_us)})")
    print(f"msgspec both ways   {codec:6.2f} us/record")
    print(f"ratio               {ours / codec:6.2f}")


if __name__ == "__main__":
    main()
