"""The section `storage:` of config.yaml."""

from __future__ import annotations

import socket
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Sync = Literal["group", "always", "off"]

# A lead is tried for 28 days at most (`export.give_up_days`): what is younger may still be owed to somebody.
LeadDays = Annotated[int, Meta(ge=30, le=36_500)]
Days = Annotated[int, Meta(ge=1, le=36_500)]


class RetentionSettings(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """The section `storage.retention:`. Empty is for ever."""

    events_days: Annotated[
        Days | None,
        Meta(
            description="How many days (UTC) requests and facts are kept after their own. The ledger keeps their number. "
            "Attribution looks back 90 days. Empty: for ever."
        ),
    ] = None
    leads_days: Annotated[
        LeadDays | None,
        Meta(description="The same for leads with their contact data, from the last that happened to each."),
    ] = None
    deliveries_days: Annotated[
        LeadDays | None, Meta(description="The same for what is known of deliveries, from the last attempt of each.")
    ] = None
    drops_days: Annotated[
        LeadDays | None, Meta(description="The same for the reasons why something was dropped; their sums are kept.")
    ] = None


class StorageSettings(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    path: Annotated[
        str, Meta(min_length=1, description="Folder for everything ropo keeps: spool, log, secrets. On a local disk.")
    ]
    node: Annotated[
        Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")] | None,
        Meta(description="Name of this machine in the log. Empty: its host name."),
    ] = None
    sync: Annotated[
        Sync,
        Meta(
            description="When records are forced to the disk: in a `group` every `sync_interval_ms`, `always` at once, "
            "or `off` (left to the system). Forms are always forced to the disk before the site gets them."
        ),
    ] = "group"
    sync_interval_ms: Annotated[
        int, Meta(ge=1, le=10_000, description="Most a power cut can take with `sync: group`.")
    ] = 10
    seal_interval_secs: Annotated[
        float, Meta(gt=0, le=60, description="How long a worker fills one spool file before the collector may have it.")
    ] = 1.0
    publish_interval_secs: Annotated[
        float, Meta(gt=0, le=3600, description="How often new rows are shown to those who read log.duckdb.")
    ] = 2.0
    part_rows: Annotated[
        int, Meta(ge=1000, le=100_000_000, description="Rows after which hot rows become a Parquet part.")
    ] = 1_000_000
    grace_secs: Annotated[
        float,
        Meta(
            ge=0, le=3600, description="How long a part and the same rows in hot stand side by side for slow readers."
        ),
    ] = 60.0
    archive_hours: Annotated[
        int, Meta(ge=0, le=8760, description="How long spool files are kept compressed once they are in the log.")
    ] = 48
    quarantine_days: Annotated[
        int, Meta(ge=1, le=3650, description="How long lines that could not be read are kept, with their reason.")
    ] = 30
    nightly_at: Annotated[
        str,
        Meta(
            pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$",
            description="Local time at which what is too old and what is to be erased goes; after a standstill at once.",
        ),
    ] = "03:30"
    hot_path: Annotated[
        str | None,
        Meta(
            description="File to publish fresh rows in, up to 50 MB every few seconds. Empty: on tmpfs if it has room."
        ),
    ] = None
    memory_limit_mb: Annotated[
        int, Meta(ge=64, le=1_048_576, description="Most memory the collector's database may take.")
    ] = 1024
    retention: Annotated[RetentionSettings, Meta(description="How long the log keeps its rows.")] = RetentionSettings()

    @property
    def node_name(self) -> str:
        """`node`, or the host name of this machine."""
        return self.node or socket.gethostname()
