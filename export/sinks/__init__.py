"""The connectors, one file each, in one explicit list. A new one is added here and in `export.settings`."""

from __future__ import annotations

from export.connector import Connector
from export.settings import CsvSettings, ExportSettings, JsonlSettings, SinkSettings, WebhookSettings
from export.sinks.csv import CsvSink
from export.sinks.jsonl import JsonlSink
from export.sinks.webhook import WebhookSink

CONNECTORS = {
    CsvSettings: CsvSink,
    JsonlSettings: JsonlSink,
    WebhookSettings: WebhookSink,
}


def connector_for(settings: SinkSettings) -> Connector:
    """The connector of one sink. Raises ValueError for a webhook without a secret: the doorway generates it before."""
    return CONNECTORS[type(settings)](settings)


def connectors_for(settings: ExportSettings) -> dict[str, Connector]:
    """All sinks by name, ready for the dispatcher."""
    return {sink.name: connector_for(sink) for sink in settings.sinks}
