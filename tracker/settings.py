"""The section `tracker:` of config.yaml: the cookie, visits, what is left out, and forms.

Knows names, defaults and limits. Knows nothing of what is done with them.

In every glob here `*` stands for any characters, `/` among them, and `?` for one.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

LeadField = Literal[
    "salutation", "first_name", "last_name", "name", "company", "position", "email", "phone", "mobile", "street",
    "postcode", "city", "country", "subject", "message", "product", "callback_at", "consent",
]  # fmt: skip

# Only what is mapped to one of these leaves the worker's memory; docs/lead.md says what each one means.
LEAD_FIELDS: tuple[str, ...] = LeadField.__args__

Glob = Annotated[str, Meta(min_length=1, max_length=500)]
PathGlob = Annotated[str, Meta(pattern=r"^[/*]", max_length=500)]
HostGlob = Annotated[str, Meta(pattern=r"^[A-Za-z0-9.*?\[\]:_-]+$", max_length=253)]


class CookieSettings(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    # RFC 6265 section 4.1.1: a cookie's name is a token.
    name: Annotated[
        str, Meta(pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}$", description="Name of the visitor's cookie.")
    ] = "ropo_id"
    # Browsers cut longer lives to 400 days (draft-ietf-httpbis-rfc6265bis section 5.5).
    max_age_days: Annotated[int, Meta(ge=1, le=400, description="How long a browser keeps the cookie.")] = 390
    domain: Annotated[
        Annotated[str, Meta(pattern=r"^\.?[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*$", max_length=253)] | None,
        Meta(description="Domain whose hosts share the cookie, such as `example.com`. Empty: the site's host alone."),
    ] = None
    secure: Annotated[
        Literal["auto", "always", "never"],
        Meta(description="The Secure attribute: `auto` sets it when the visitor came over https."),
    ] = "auto"
    secrets: Annotated[
        list[Annotated[str, Meta(min_length=16)]],
        Meta(description="Signing keys, by reference; the last signs, all verify. Empty: one is generated and kept."),
    ] = []


class Redirect(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True, tag_field="type", tag="redirect"):
    to: Annotated[Glob, Meta(description="The form was accepted if the site redirects to this path or URL.")]


class Status(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True, tag_field="type", tag="status"):
    codes: Annotated[
        list[Annotated[int, Meta(ge=100, le=599)]],
        Meta(min_length=1, description="The form was accepted if the site answers one of these status codes."),
    ]


class Text(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True, tag_field="type", tag="text"):
    contains: Annotated[
        str, Meta(min_length=1, max_length=500, description="The form was accepted if the answer contains this text.")
    ]


class Json(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True, tag_field="type", tag="json"):
    field: Annotated[
        str, Meta(min_length=1, max_length=200, description="Field of a JSON answer; dots lead into objects.")
    ]
    value: Annotated[
        str | bool | int, Meta(description="The form was accepted if the field has this value, such as `mail_sent`.")
    ]


Success = Redirect | Status | Text | Json


class FormRule(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    name: Annotated[str, Meta(pattern=r"^[a-z0-9_-]{1,64}$", description="Name of the rule, unique; leads carry it.")]
    host: Annotated[HostGlob | None, Meta(description="Host the form is sent to. Empty: any.")] = None
    path: Annotated[PathGlob, Meta(description="Path the form is sent to, such as `/contact/*`.")]
    page: Annotated[PathGlob | None, Meta(description="Path of the page the form stands on. Empty: any.")] = None
    fields: Annotated[
        dict[LeadField, Glob],
        Meta(description="Lead field to the form's own field name, or a glob of it. What is not named is recognised."),
    ] = {}
    success: Annotated[
        Success | None,
        Meta(description="How an accepted form is told: `redirect`, `status`, `text` or `json`. Empty: recognised."),
    ] = None
    ignore: Annotated[bool, Meta(description="Never make a lead of this form, nor look into its body.")] = False


class FormSettings(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    capture: Annotated[
        Literal["generic", "configured", "off"],
        Meta(description="`generic` recognises contact forms, `configured` takes those with a rule, `off` none."),
    ] = "generic"
    max_body_bytes: Annotated[
        int, Meta(ge=1024, le=67_108_864, description="Most of a form's body that is looked at; larger is no lead.")
    ] = 1_048_576
    max_answer_bytes: Annotated[
        int, Meta(ge=1024, le=67_108_864, description="Most of the site's answer that is looked at, unpacked.")
    ] = 524_288
    rules: Annotated[list[FormRule], Meta(description="Rules for single forms; the first that fits is taken.")] = []

    def __post_init__(self) -> None:
        names = [rule.name for rule in self.rules]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"two rules of the same name: {', '.join(twice)}")


class TrackerSettings(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    cookie: Annotated[CookieSettings, Meta(description="The visitor's cookie.")] = CookieSettings()
    inactivity_secs: Annotated[
        int, Meta(ge=60, le=86_400, description="A visit ends after this long without any request of its visitor.")
    ] = 1800
    client_ip: Annotated[
        Literal["truncated", "full", "none"],
        Meta(description="Visitors' addresses in the log: `truncated` keeps /24 of IPv4 and /48 of IPv6."),
    ] = "truncated"
    exclude: Annotated[
        list[PathGlob],
        Meta(description="Paths that are counted but not logged, such as `/health` or `/static/*`."),
    ] = []
    own_hosts: Annotated[
        list[HostGlob],
        Meta(description="Further hosts of this site, such as `*.example.com`: links from them are no referrers."),
    ] = []
    upstream_fields: Annotated[
        bool, Meta(description="Tell the site who comes: X-Ropo-Visitor and its like on every request.")
    ] = False
    forms: Annotated[FormSettings, Meta(description="Which forms become leads.")] = FormSettings()
