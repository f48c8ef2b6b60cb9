"""`ropo serve`: the whole of ropo, until it is stopped."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from ropo.cli import options


@click.command()
@options.config
@click.option(
    "--upstream", metavar="URL", help="The site behind, instead of proxy.upstream; `demo` is the built-in one."
)
@click.option("--listen", metavar="HOST:PORT", help="Where visitors come to, instead of proxy.listen.")
@options.storage
def serve(config: Path, upstream: str | None, listen: str | None, storage: str | None) -> None:
    """Start the proxy, the log and the deliveries. Ctrl-C or SIGTERM stops them in order. SIGHUP reads the settings
    again and replaces the workers; no request is refused or cut by that. What this line says goes on counting.

    \b
    ropo serve
    ropo serve --upstream http://127.0.0.1:9000
    ropo serve --config /etc/ropo/config.yaml --listen 0.0.0.0:80
    """
    given = {"proxy__upstream": upstream, "proxy__listen": listen, "storage__path": storage}
    settings = options.load(config, **given)
    # Imported here: nobody who only asks for help or the settings needs it.
    from ropo import supervisor

    sys.exit(supervisor.run(settings, config_path=config, read_again=lambda: options.load_again(config, **given)))
