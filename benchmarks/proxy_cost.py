"""CPU per request of one ropo worker, with tracking and log, as a ratio to nginx doing the same work.

    python -m benchmarks proxy_cost [--rounds 3] [--seconds 4] [--connections 64]
                                    [--scenarios page,first,varied,form,big] [--proxies nginx,haproxy,bare,ropo,pair]

Needs nginx and wrk (Debian: apt-get install nginx wrk; haproxy too, if it is to be compared) and two cores. The proxies
run on core 0, the site behind them and the load on core 1. nginx, too, writes an access log line and sets a cookie. CPU
is user + system time of the busiest process, read from /proc, so that it holds on a machine that does other things as
well; the ratio is taken within each round. `all` adds ropo's other processes: collector, dashboard, supervisor.

    page    an 8 kB page for a known visitor         first   the same for a new one, who gets a cookie
    form    a contact form, which becomes a lead     big     a file of 1 MB
    varied  page, but no two requests or answers have the same fields: nothing is found again that was read before

    bare    ropo's proxy alone, without tracking and log: the rest of `ropo` is their price
    pair    ropo with two workers on both cores, beside the load; CPU is that of both workers
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

import uvloop

from proxy.observer import Unobserved
from proxy.server import Proxy
from proxy.settings import ProxySettings

LANDING = "/?utm_source=google&utm_medium=cpc&utm_campaign=autumn%202026&utm_content=ad1&gclid=Cj0KCQiA"
BROWSER = {
    "User-Agent": "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 "
    "Safari/537.36",
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
    "Accept-Language": "de-DE,de;q=0.9,en-US;q=0.8,en;q=0.7",
    "Accept-Encoding": "gzip, deflate, br, zstd",
    "Referer": "https://www.google.com/",
    "Sec-Fetch-Dest": "document",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Site": "cross-site",
    "Sec-Fetch-User": "?1",
    "Upgrade-Insecure-Requests": "1",
    "Sec-CH-UA": '"Chromium";v="141", "Not?A_Brand";v="8"',
    "Sec-CH-UA-Mobile": "?0",
    "Sec-CH-UA-Platform": '"Windows"',
}
FORM = "name=Erika+Mustermann&email=erika%40example.com&company=Beispiel+GmbH&message=" + "Bitte+um+Angebot." * 20
PATHS = {"page": LANDING, "first": LANDING, "varied": "/varied/", "form": "/form", "big": "/1m.bin"}
PROXIES = ("nginx", "haproxy", "bare", "ropo", "pair")
# A number per request in what real visitors' requests differ in: the cookie, the page they come from.
VARIED = """
local n = math.random(1000000) * 1000
local cookie = wrk.headers["Cookie"]
function request()
  n = n + 1
  wrk.headers["Cookie"] = cookie .. "; n=" .. n
  wrk.headers["Referer"] = "https://www.google.com/?n=" .. n
  return wrk.format(nil, wrk.path .. "?n=" .. n)
end
"""

ORIGIN = """worker_processes 1; daemon off; pid {d}/origin.pid; error_log {d}/origin.err warn; {user}
events {{ worker_connections 8192; }}
http {{ access_log off; keepalive_requests 100000000; keepalive_timeout 300s; client_body_buffer_size 1m; {temp}
  server {{ listen 127.0.0.1:{port} backlog=4096;
    location / {{ root {d}/www; types {{ text/html html; }} }}
    location /varied/ {{ alias {d}/www/; add_header X-Request-Id $request_id; types {{ text/html html; }} }}
    location = /form {{ default_type text/html; return 200 "<html><body>Danke</body></html>"; }} }} }}"""
NGINX = """worker_processes 1; daemon off; pid {d}/nginx.pid; error_log {d}/nginx.err warn; {user}
events {{ worker_connections 8192; }}
http {{ keepalive_requests 100000000; client_max_body_size 0; {temp}
  log_format t '$time_iso8601 $cookie_vid $remote_addr $request_method $host $request_uri $status $body_bytes_sent '
    '$request_time "$http_referer" "$http_user_agent" $arg_utm_source $arg_utm_medium $arg_utm_campaign $arg_gclid';
  access_log {d}/nginx.log t;
  upstream site {{ server 127.0.0.1:{origin}; keepalive 256; keepalive_requests 100000000; }}
  server {{ listen 127.0.0.1:{port} backlog=4096; location / {{
    proxy_pass http://site; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host;
    proxy_set_header X-Forwarded-For $remote_addr;
    add_header Set-Cookie "vid=$request_id; Path=/; HttpOnly; Max-Age=31536000"; }} }} }}"""
HAPROXY = """global
  nbthread 1
  log 127.0.0.1:9 local0
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  option httplog
  log global
frontend visitors
  bind 127.0.0.1:{port}
  capture request header User-Agent len 128
  capture request header Referer len 128
  default_backend site
backend site
  http-reuse always
  http-response set-header Set-Cookie "vid=x; Path=/"
  server one 127.0.0.1:{origin}
"""
ROPO = """proxy: {{listen: "127.0.0.1:{port}", upstream: "http://127.0.0.1:{origin}", workers: {workers}}}
storage: {{path: {d}/{name}, hot_path: {d}/{name}.duckdb}}
dashboard: {{listen: "127.0.0.1:0"}}
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def family(pid: int) -> list[int]:
    """The process and all below it."""
    pids = [pid]
    for one in pids:
        with suppress(OSError):
            for task in os.listdir(f"/proc/{one}/task"):
                pids += map(int, Path(f"/proc/{one}/task/{task}/children").read_text().split())
    return pids


def cpu_seconds(pid: int) -> dict[int, float]:
    """User and system time so far, by process."""
    used = {}
    for one in family(pid):
        with suppress(OSError):
            fields = Path(f"/proc/{one}/stat").read_text().rsplit(")", 1)[1].split()
            used[one] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return used


class Bench:
    def __init__(self, folder: Path, connections: int, seconds: int) -> None:
        self.folder = folder
        self.connections = connections
        self.seconds = seconds
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.ports: dict[str, int] = {}

    def start(self, name: str, command: list[str], port: int, core: int | str) -> None:
        with (self.folder / f"{name}.out").open("wb") as out:
            self.running[name] = subprocess.Popen(
                ["taskset", "-c", str(core), *command], stdout=out, stderr=out, start_new_session=True
            )
        self.ports[name] = port
        for _ in range(300):
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.3):
                return
            time.sleep(0.1)
        raise SystemExit(f"{name} does not listen on {port}; see {self.folder}/{name}.out")

    def start_all(self, names: list[str]) -> None:
        www = self.folder / "www"
        www.mkdir()
        (www / "index.html").write_text("<html><title>t</title><body>" + "x" * 8050 + "</body></html>")
        (www / "1m.bin").write_bytes(os.urandom(1 << 20))
        origin = free_port()
        self.start_nginx("origin", ORIGIN, origin, origin, core=1)
        for name in names:
            port = free_port()
            if name == "nginx":
                self.start_nginx(name, NGINX, port, origin, core=0)
            elif name == "haproxy":
                config = self.folder / "haproxy.cfg"
                config.write_text(HAPROXY.format(port=port, origin=origin))
                self.start(name, ["haproxy", "-f", str(config)], port, 0)
            elif name == "bare":
                command = [
                    sys.executable,
                    "-m",
                    "benchmarks.proxy_cost",
                    "--serve-bare",
                    str(port),
                    f"http://127.0.0.1:{origin}",
                ]
                self.start(name, command, port, 0)
            else:
                config = self.folder / f"{name}.yaml"
                workers = 2 if name == "pair" else 1
                config.write_text(ROPO.format(d=self.folder, name=name, port=port, origin=origin, workers=workers))
                command = [sys.executable, "-m", "ropo", "serve", "--config", str(config)]
                self.start(name, command, port, "0,1" if name == "pair" else 0)

    def start_nginx(self, name: str, text: str, port: int, origin: int, *, core: int) -> None:
        user = "user root;" if os.geteuid() == 0 else ""
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        temp = " ".join(f"{kind}_temp_path {self.folder}/{name}-{kind};" for kind in kinds)
        config = self.folder / f"{name}.conf"
        config.write_text(text.format(d=self.folder, port=port, origin=origin, temp=temp, user=user))
        self.start(name, ["nginx", "-c", str(config)], port, core)

    def cookie(self, port: int) -> str:
        request = urllib.request.Request(f"http://127.0.0.1:{port}{LANDING}", headers=BROWSER)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return "; ".join(value.split(";")[0] for value in answer.headers.get_all("Set-Cookie") or [])

    def load(self, name: str, scenario: str) -> dict[str, float]:
        port, pid = self.ports[name], self.running[name].pid
        fields = dict(BROWSER)
        if scenario != "first":
            fields["Cookie"] = "consent=yes; " + self.cookie(port)
        script = [f"wrk.headers[{json.dumps(key)}] = {json.dumps(value)}" for key, value in fields.items()]
        if scenario == "form":
            script += ['wrk.method = "POST"', f"wrk.body = {json.dumps(FORM)}"]
            script.append('wrk.headers["Content-Type"] = "application/x-www-form-urlencoded"')
        if scenario == "varied":
            script.append(VARIED)
        lua = self.folder / "load.lua"
        lua.write_text("\n".join(script))
        connections = 8 if scenario == "big" else self.connections

        def wrk(seconds: int) -> str:
            command = [
                "taskset",
                "-c",
                "1",
                "wrk",
                "-t1",
                f"-c{connections}",
                f"-d{seconds}s",
                "--latency",
                "-s",
                str(lua),
            ]
            return subprocess.run(
                [*command, f"http://127.0.0.1:{port}{PATHS[scenario]}"], capture_output=True, text=True, check=True
            ).stdout

        wrk(1)
        before = cpu_seconds(pid)
        said = wrk(self.seconds)
        used = [seconds - before.get(one, 0.0) for one, seconds in cpu_seconds(pid).items()]
        requests = int(re.search(r"(\d+) requests in", said)[1])
        p99, unit = re.search(r"99%\s+([\d.]+)(us|ms|s)", said).groups()
        bad = sum(map(int, re.findall(r"Non-2xx or 3xx responses: (\d+)", said)))
        return {
            "cpu_us": sum(sorted(used)[-2 if name == "pair" else -1 :]) / requests * 1e6,
            "all_us": sum(used) / requests * 1e6,
            "per_second": requests / self.seconds,
            "p99_ms": float(p99) * {"us": 0.001, "ms": 1, "s": 1000}[unit],
            "bad": bad,
        }

    def stop(self) -> None:
        for process in reversed(self.running.values()):
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
        for process in self.running.values():
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)


async def serve_bare(port: int, upstream: str) -> None:
    """The proxy that tells nobody what it sees, until it is ended."""
    listener = socket.create_server(("127.0.0.1", port), backlog=4096)
    proxy = Proxy(ProxySettings(upstream=upstream), Unobserved(), asyncio.get_running_loop())
    await proxy.start(listener)
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--scenarios", default="page,first,varied,form,big")
    parser.add_argument("--proxies", default="nginx,bare,ropo")
    parser.add_argument("--serve-bare", nargs=2, metavar=("PORT", "UPSTREAM"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve_bare:
        uvloop.run(serve_bare(int(options.serve_bare[0]), options.serve_bare[1]))
        return
    names = options.proxies.split(",")
    if "nginx" not in names or (unknown := [name for name in names if name not in PROXIES]):
        parser.error(f"the proxies are nginx, which the others are compared with, and any of {', '.join(PROXIES[1:])}")
    scenarios = options.scenarios.split(",")
    if unknown := [scenario for scenario in scenarios if scenario not in PATHS]:
        parser.error(f"no such scenario: {', '.join(unknown)}; there are {', '.join(PATHS)}")
    if missing := [
        tool for tool in ("nginx", "wrk", "taskset", *({"haproxy"} & set(names))) if shutil.which(tool) is None
    ]:
        parser.error(f"not installed: {', '.join(missing)}; on Debian: apt-get install nginx wrk util-linux")
    folder = Path(tempfile.mkdtemp(prefix="ropo-bench-"))
    bench = Bench(folder, options.connections, options.seconds)
    try:
        bench.start_all(names)
        for scenario in scenarios:
            rows: dict[str, list[dict[str, float]]] = {name: [] for name in names}
            for number in range(options.rounds):
                print(f"{scenario}, round {number + 1} of {options.rounds} …", file=sys.stderr, flush=True)
                for name, taken in rows.items():
                    taken.append(bench.load(name, scenario))
            print(f"\n{scenario}  (medians of {options.rounds} rounds)")
            print(
                f"{'':8}{'CPU us/request':>14} {'/ nginx':>8} {'all us':>8} {'requests/s':>11} {'p99 ms':>8} {'bad':>4}"
            )
            for name, taken in rows.items():
                ratio = statistics.median(
                    mine["cpu_us"] / theirs["cpu_us"] for mine, theirs in zip(taken, rows["nginx"], strict=True)
                )
                middle = {key: statistics.median(row[key] for row in taken) for key in taken[0]}
                print(
                    f"{name:8}{middle['cpu_us']:14.1f} {ratio:8.2f} {middle['all_us']:8.1f} {middle['per_second']:11.0f} "
                    f"{middle['p99_ms']:8.2f} {sum(row['bad'] for row in taken):4.0f}"
                )
    finally:
        bench.stop()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
