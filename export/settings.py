"""The section `export:` of config.yaml.

Knows which sinks there are and what can be set. Knows nothing of how they work. Secrets and the paths of URLs, which
often are secrets too, are in no repr.
"""

from __future__ import annotations

import os
from typing import Annotated, Literal

import msgspec
from msgspec import Meta
from yarl import URL

from export.webhook_signature import key_of

Seconds = Annotated[float, Meta(gt=0, le=86_400)]
Name = Annotated[
    str,
    Meta(
        pattern=r"^[a-z0-9_-]{1,40}\Z",
        description="What the sink is called in the log and on the command line. A new name is a new sink.",
    ),
]
Folder = Annotated[
    str, Meta(min_length=1, description="Where the files go. ropo keeps its own notes in `.ropo` inside it.")
]
CreateFolder = Annotated[
    bool,
    Meta(description="Make the folder if it is missing. Leave it off for a share: unmounted, it would fill the disk."),
]


class CsvSettings(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True, tag="csv", tag_field="type"):
    """A CSV file for each lead, dropped into a folder."""

    name: Name
    folder: Folder
    create_folder: CreateFolder = False
    delimiter: Annotated[Literal[";", ",", "\t", "|"], Meta(description="What stands between two columns.")] = ";"
    encoding: Annotated[
        Literal["utf-8", "utf-8-sig"], Meta(description="`utf-8-sig` puts a byte order mark first; Excel wants it.")
    ] = "utf-8"
    line_end: Annotated[Literal["crlf", "lf"], Meta(description="How a row ends; RFC 4180 says `crlf`.")] = "crlf"
    header: Annotated[bool, Meta(description="Write the names of the columns as first row.")] = True
    formulas: Annotated[
        Literal["keep", "neutralise"],
        Meta(
            description="`neutralise` puts a ' before cells a spreadsheet would run; it spoils `+49...` for machines."
        ),
    ] = "keep"


class JsonlSettings(
    msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True, tag="jsonl", tag_field="type"
):
    """A file with one line of JSON for each lead, dropped into a folder."""

    name: Name
    folder: Folder
    create_folder: CreateFolder = False


class WebhookSettings(
    msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True, tag="webhook", tag_field="type"
):
    """A signed POST for each lead, after Standard Webhooks 1.0."""

    name: Name
    url: Annotated[str, Meta(description="Where the lead is posted to. Its path may be secret: it is never shown.")]
    secret: Annotated[
        str,
        Meta(description="Signs each message: `whsec_` and base64 of 24 to 64 random bytes. Empty: one is generated."),
    ] = ""
    former_secrets: Annotated[
        list[str], Meta(description="Signed with as well, until the receiver knows the new `secret`.")
    ] = []
    timeout_secs: Annotated[
        Annotated[float, Meta(gt=0, le=120)], Meta(description="Until the receiver must have answered.")
    ] = 20.0
    ca_file: Annotated[
        str | None, Meta(description="PEM file of the authority to trust instead of the system's, for one of your own.")
    ] = None

    def __post_init__(self) -> None:
        # The text of these errors is shown to the operator: it says what is wrong without repeating the value.
        try:
            url = URL(self.url)
        except ValueError:
            raise ValueError("url: not a URL; it is written https://host/path") from None
        if url.scheme not in ("http", "https") or not url.host:
            raise ValueError("url: must start with https:// or http:// and name a host")
        if url.user is not None or url.password is not None:
            raise ValueError("url: holds a user or password; the message is signed instead, take them out")
        for field, secrets in (
            ("secret", [self.secret] if self.secret else []),
            ("former_secrets", self.former_secrets),
        ):
            for secret in secrets:
                try:
                    key_of(secret)
                except ValueError as error:
                    raise ValueError(f"{field}: {error}") from None

    @property
    def origin(self) -> str:
        """The part of the URL that may be shown."""
        return str(URL(self.url).origin())

    def __repr__(self) -> str:
        return f"WebhookSettings(name={self.name!r}, origin={self.origin!r})"

    def __rich_repr__(self):
        yield "name", self.name
        yield "origin", self.origin


SinkSettings = CsvSettings | JsonlSettings | WebhookSettings


class RetrySettings(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """When a delivery that failed is tried again. Each wait is a random part of the figure, so that leads that failed
    together do not come back together; a sink that says when to come back (Retry-After) is obeyed."""

    schedule_secs: Annotated[
        list[Seconds], Meta(description="Longest wait after the first, second, ... failed attempt.")
    ] = msgspec.field(default_factory=lambda: [10.0, 60.0, 300.0, 1800.0, 7200.0, 21_600.0, 43_200.0])
    then_every_secs: Annotated[Seconds, Meta(description="Longest wait after that.")] = 86_400.0
    give_up_days: Annotated[
        Annotated[float, Meta(gt=0, le=28)],
        Meta(description="A lead that could not be delivered for this long becomes a dead letter."),
    ] = 7.0


class CircuitSettings(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """When a sink is left alone. One delivery at a time then finds out whether it is back."""

    failures: Annotated[
        int, Meta(ge=1, le=1000, description="Failed attempts in a row, of more than one lead, that open the circuit.")
    ] = 5
    open_secs: Annotated[Seconds, Meta(description="Pause until one delivery is tried again.")] = 30.0
    parked_secs: Annotated[
        Seconds, Meta(description="The same after the sink refused us altogether: wrong key, endpoint disabled.")
    ] = 300.0


class ExportSettings(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """Which systems get the leads."""

    sinks: Annotated[list[SinkSettings], Meta(description="The systems that get each lead. None: leads are kept.")] = []
    retry: Annotated[RetrySettings, Meta(description="When a failed delivery is tried again.")] = RetrySettings()
    circuit: Annotated[CircuitSettings, Meta(description="When a sink that is down is left alone.")] = CircuitSettings()

    def __post_init__(self) -> None:
        names: set[str] = set()
        folders: dict[tuple[str, str], str] = {}
        for sink in self.sinks:
            if sink.name in names:
                raise ValueError(f"sinks: two of them are named {sink.name!r}; give each a name of its own")
            names.add(sink.name)
            if isinstance(sink, CsvSettings | JsonlSettings):
                # Two of a kind would give their files the same names.
                place = (type(sink).__name__, os.path.abspath(sink.folder))
                if place in folders:
                    raise ValueError(
                        f"sinks: {folders[place]!r} and {sink.name!r} fill the same folder {sink.folder!r}"
                    )
                folders[place] = sink.name
