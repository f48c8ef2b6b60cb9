"""Memory of one ropo worker per connection: idle ones, over http and https, and slow downloads of a large file.

    python -m benchmarks connection_memory [--idle 10000] [--idle-tls 2000] [--downloads 1000] [--seconds 12]
                                           [--bytes-per-sec 4000]

Starts a whole `ropo serve` with one worker and reads that worker's resident memory (VmRSS) from /proc before and while the
connections stand: `bytes each` is the difference, divided. Every idle connection has been answered once. `kernel` is
what the socket buffers of all connections on this machine hold (TCP `mem` in /proc/net/sockstat), both ends together.
Clients come from several addresses 127.0.0.x, so that ports do not run out.

Linux only. Needs an open files limit of a little more than the number of connections (`ulimit -Hn`); with less it takes
as many as there may be, and says so.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import datetime
import gc
import json
import os
import resource
import selectors
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

SPARE_FILES = 600  # what a worker keeps beside its visitors' connections
LARGE = 2**30
REQUEST = b"GET %b HTTP/1.1\r\nHost: site.example\r\nUser-Agent: benchmark\r\nAccept: */*\r\n\r\n"
CONFIG = """proxy:
  listen: 127.0.0.1:{port}
  upstream: http://127.0.0.1:{origin}
  workers: 1
  tls: {{listen: "127.0.0.1:{tls_port}", certificates: [{{certificate: {d}/cert.pem, key: {d}/key.pem}}]}}
  max_connections: 20000
  max_connections_per_address: 0
  idle_timeout_secs: 3600
storage: {{path: {d}/data, hot_path: {d}/hot.duckdb}}
dashboard: {{listen: "127.0.0.1:0"}}
"""


class Origin(asyncio.Protocol):
    """Answers /large with LARGE zeroes, as fast as they are taken, and all else with a word."""

    PIECE = bytes(65_536)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.left = 0
        self.paused = False

    def data_received(self, data: bytes) -> None:
        if data.startswith(b"GET /large"):
            self.left = LARGE
            self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % LARGE)
            self.resume_writing()
        else:
            self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello")

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.paused = False
        while self.left and not self.paused and not self.transport.is_closing():
            self.left -= len(self.PIECE)
            self.transport.write(self.PIECE)


async def serve_origin(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Origin, "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def make_certificate(folder: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "site.example")])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1))
    pem = serialization.Encoding.PEM
    (folder / "cert.pem").write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(pem))
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "key.pem").write_bytes(private)
    (folder / "key.pem").chmod(0o600)


def resident(pid: int) -> int:
    """Bytes of a process that are in memory."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise ProcessLookupError(pid)


def kernel_bytes() -> int:
    words = Path("/proc/net/sockstat").read_text().split("TCP:")[1].split("\n")[0].split()
    return int(words[words.index("mem") + 1]) * os.sysconf("SC_PAGESIZE")


class Bench:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port, self.tls_port, origin = free_port(), free_port(), free_port()
        make_certificate(folder)
        config = folder / "config.yaml"
        config.write_text(CONFIG.format(d=folder, port=self.port, tls_port=self.tls_port, origin=origin))
        ropo = "import sys; sys.argv[0] = 'ropo'; from ropo.cli import main; sys.exit(main())"
        out = (folder / "out").open("wb")
        this = str(Path(__file__).resolve())
        self.processes = [
            subprocess.Popen(command, stdout=out, stderr=out, start_new_session=True)
            for command in (
                [sys.executable, this, "--serve-origin", str(origin)],
                [sys.executable, "-c", ropo, "serve", "--config", str(config)],
            )
        ]
        self.pid = self._worker()

    def _worker(self) -> int:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/", timeout=2).read()
                for path in (self.folder / "data/status").glob("*.json"):
                    state = json.loads(path.read_bytes())
                    if state["kind"] == "worker":
                        return state["pid"]
            time.sleep(0.1)
        raise SystemExit(f"ropo did not start:\n{(self.folder / 'out').read_text()}")

    def stop(self) -> None:
        for process in reversed(self.processes):
            process.send_signal(signal.SIGTERM)
        for process in reversed(self.processes):
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(60)
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)

    def connect(self, number: int, *, tls: ssl.SSLContext | None = None) -> socket.socket:
        connection = socket.socket()
        connection.bind((f"127.0.0.{2 + number // 5000}", 0))
        connection.settimeout(20)
        connection.connect(("127.0.0.1", self.port if tls is None else self.tls_port))
        return connection if tls is None else tls.wrap_socket(connection, server_hostname="site.example")

    def report(self, name: str, count: int, before: int, kernel: int, after: int, kernel_after: int) -> None:
        print(
            f"{name:24}{count:8}{before / 1e6:12.1f}{after / 1e6:12.1f}{(after - before) / count:14,.0f}"
            f"{max(0, kernel_after - kernel) / count:16,.0f}",
            flush=True,
        )

    def idle(self, count: int, *, tls: ssl.SSLContext | None = None) -> None:
        before, kernel = resident(self.pid), kernel_bytes()
        connections = []
        for number in range(count):
            connection = self.connect(number, tls=tls)
            connection.sendall(REQUEST % b"/")
            assert connection.recv(65_536).startswith(b"HTTP/1.1 200")
            connections.append(connection)
        time.sleep(2)
        name = "idle, https" if tls else "idle"
        self.report(name, count, before, kernel, resident(self.pid), kernel_bytes())
        for connection in connections:  # all of them still stand
            connection.sendall(REQUEST % b"/")
            assert connection.recv(65_536).startswith(b"HTTP/1.1 200")
        for connection in connections:
            connection.close()
        time.sleep(2)

    def downloads(self, name: str, count: int, seconds: float, bytes_per_sec: int) -> None:
        """The largest of the values seen counts: buffers fill while others drain."""
        before, kernel = resident(self.pid), kernel_bytes()
        selector = selectors.DefaultSelector()
        connections = []
        for number in range(count):
            connection = self.connect(number)
            connection.sendall(REQUEST % b"/large")
            connection.setblocking(False)
            selector.register(connection, selectors.EVENT_READ)
            connections.append(connection)
        most = most_kernel = taken = 0
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            turn = time.monotonic()
            for key, _ in selector.select(0):
                with contextlib.suppress(BlockingIOError):
                    taken += len(key.fileobj.recv(bytes_per_sec))
            most, most_kernel = max(most, resident(self.pid)), max(most_kernel, kernel_bytes())
            time.sleep(max(0.0, 1 - (time.monotonic() - turn)))
        assert taken > count * bytes_per_sec
        self.report(name, count, before, kernel, most, most_kernel)
        for connection in connections:
            connection.close()
        time.sleep(2)
        print(f"{'… after they have left':24}{'':8}{'':12}{resident(self.pid) / 1e6:12.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--idle", type=int, default=10_000)
    parser.add_argument("--idle-tls", type=int, default=2_000)
    parser.add_argument("--downloads", type=int, default=1_000)
    parser.add_argument("--seconds", type=float, default=12)
    parser.add_argument("--bytes-per-sec", type=int, default=4_000)
    parser.add_argument("--serve-origin", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if options.serve_origin:
        uvloop.run(serve_origin(options.serve_origin))
        return
    most = hard - SPARE_FILES
    if max(options.idle, options.idle_tls, options.downloads * 2) > most:
        print(
            f"ulimit -Hn is {hard}: no more than {most} connections are tried, {most // 2} downloads", file=sys.stderr
        )
    tls = ssl.create_default_context()
    tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    gc.disable()
    with tempfile.TemporaryDirectory(prefix="ropo-bench-") as folder:
        bench = Bench(Path(folder))
        try:
            header = ("connections", "RSS before", "with, MB", "bytes each", "kernel, each")
            print(f"{'':20}{header[0]:>12}{header[1]:>12}{header[2]:>12}{header[3]:>14}{header[4]:>16}")
            bench.idle(min(options.idle, most))
            bench.idle(min(options.idle_tls, most), tls=tls)
            # Twice: what the first left behind in the allocator must do for the second.
            for name in ("slow downloads", "the same again"):
                bench.downloads(name, min(options.downloads, most // 2), options.seconds, options.bytes_per_sec)
        finally:
            bench.stop()


if __name__ == "__main__":
    main()
