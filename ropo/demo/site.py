"""The web site of Musterwerk Maschinenbau GmbH. Knows its pages and forms, and nothing of a proxy before it.

Contact form, `/de/kontakt/` and `/en/contact/`: complete, it answers 303 to a thank-you page; else 200 with the form
again. Call-back form, `/de/rueckruf/` and `/en/callback/`: complete, it answers 200 with the thank-you page itself.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import jinja2
from aiohttp import web

from ropo.demo.catalogue import BY_SLUG, LANGUAGES, PRODUCTS, Language, Product, Text
from ropo.demo.datasheet import datasheet
from ropo.demo.forms import CALLBACK, CONTACT, Field, Filled, filled

PAGES = Path(__file__).parent / "pages"
MAX_FORM_BYTES = 65_536
LANGUAGE_COOKIE = "mw_lang"

PLACES: dict[str, Text] = {
    "home": {"de": "/de/", "en": "/en/"},
    "products": {"de": "/de/produkte/", "en": "/en/products/"},
    "contact": {"de": "/de/kontakt/", "en": "/en/contact/"},
    "contact_thanks": {"de": "/de/kontakt/danke/", "en": "/en/contact/thank-you/"},
    "callback": {"de": "/de/rueckruf/", "en": "/en/callback/"},
    "privacy": {"de": "/de/datenschutz/", "en": "/en/privacy/"},
    "imprint": {"de": "/de/impressum/", "en": "/en/imprint/"},
}
TITLES: dict[str, Text] = {
    "home": {"de": "Maschinen für die Blechbearbeitung", "en": "Machines for sheet metal"},
    "products": {"de": "Produkte", "en": "Products"},
    "contact": {"de": "Kontakt", "en": "Contact"},
    "contact_thanks": {"de": "Vielen Dank", "en": "Thank you"},
    "callback": {"de": "Rückruf", "en": "Call back"},
    "callback_thanks": {"de": "Vielen Dank", "en": "Thank you"},
    "privacy": {"de": "Datenschutz", "en": "Privacy"},
    "imprint": {"de": "Impressum", "en": "Imprint"},
    "notfound": {"de": "Seite nicht gefunden", "en": "Page not found"},
}
ROBOTS = "User-agent: *\nDisallow: /de/kontakt/danke/\nDisallow: /en/contact/thank-you/\n"
ICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="6" fill="#0f3d5c"/>'
    '<path d="M6 24V9l10 9 10-9v15" fill="none" stroke="#f2a33a" stroke-width="4"/></svg>'
)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Form:
    """A form of the site: its page, its fields, and where an accepted one leads. None: the thanks are the answer."""

    page: str
    fields: tuple[Field, ...]
    goes_to: str | None


FORMS = (Form("contact", CONTACT, "contact_thanks"), Form("callback", CALLBACK, None))


def make_site() -> web.Application:
    """The site as an application, to be served anywhere."""
    site = Site()
    app = web.Application(client_max_size=MAX_FORM_BYTES, middlewares=[site.not_found])
    route = app.router
    route.add_get("/", site.entrance)
    for language in LANGUAGES:
        for page in ("home", "products", "contact_thanks", "privacy", "imprint"):
            route.add_get(PLACES[page][language], site.plain(page, language))
        for product in PRODUCTS:
            route.add_get(place_of(product, language), site.product(product, language))
        for form in FORMS:
            route.add_get(PLACES[form.page][language], site.empty(form, language))
            route.add_post(PLACES[form.page][language], site.sent(form, language))
    route.add_get("/downloads/{slug}-{language:de|en}.pdf", site.download)
    for path, content, content_type in (
        ("/static/site.css", site.css, "text/css"),
        ("/favicon.ico", ICON, "image/svg+xml"),
        ("/robots.txt", ROBOTS, "text/plain"),
    ):
        route.add_get(path, site.file(content, content_type))
    return app


def place_of(product: Product, language: Language) -> str:
    return f"{PLACES['products'][language]}{product.slug}/"


def language_of(request: web.Request) -> Language:
    """The language of the path, else of the cookie, else of the browser, else German."""
    for language in LANGUAGES:
        if request.path.startswith(f"/{language}/"):
            return language
    if (chosen := request.cookies.get(LANGUAGE_COOKIE)) in LANGUAGES:
        return chosen
    first = request.headers.get("Accept-Language", "de").strip().lower()
    return "de" if first.startswith("de") else "en"


class Site:
    """The pages. Each method answers a request, or makes the handler that does."""

    def __init__(self) -> None:
        self.css = (PAGES / "site.css").read_text()
        self.environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(PAGES),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self.environment.globals.update(
            places=PLACES,
            products=PRODUCTS,
            titles=TITLES,
            place_of=place_of,
            style_tag=sha256(self.css.encode()).hexdigest()[:12],
        )

    def page(
        self, name: str, language: Language, *, status: int = 200, alternate: Text | None = None, **values: Any
    ) -> web.Response:
        template = self.environment.get_template(f"{name}.html")
        html = template.render(
            page=name,
            language=language,
            # The same page in the other language, for the switch.
            alternate=alternate or PLACES.get(name, PLACES["home"]),
            title=values.pop("title", None) or TITLES[name][language],
            **values,
        )
        response = web.Response(text=html, status=status, content_type="text/html")
        response.set_cookie(LANGUAGE_COOKIE, language, path="/", samesite="Lax", max_age=31_536_000)
        response.headers["Content-Language"] = language
        return response

    async def entrance(self, request: web.Request) -> web.StreamResponse:
        """`/` leads to the visitor's language; the query, which may name a campaign, goes along."""
        target = PLACES["home"][language_of(request)]
        if request.query_string:
            target += f"?{request.rel_url.raw_query_string}"
        return web.Response(
            status=302, headers={"Location": target, "Vary": "Accept-Language, Cookie", "Cache-Control": "no-cache"}
        )

    def plain(self, page: str, language: Language) -> Handler:
        async def answer(request: web.Request) -> web.StreamResponse:
            return self.page(page, language)

        return answer

    def product(self, product: Product, language: Language) -> Handler:
        alternate: Text = {one: place_of(product, one) for one in LANGUAGES}

        async def answer(request: web.Request) -> web.StreamResponse:
            title = f"{product.name}, {product.kind[language]}"
            return self.page("product", language, title=title, alternate=alternate, product=product)

        return answer

    def empty(self, form: Form, language: Language) -> Handler:
        async def answer(request: web.Request) -> web.StreamResponse:
            # A product page links here with its machine already chosen.
            chosen = BY_SLUG.get(request.query.get("product", ""))
            values = {"product": chosen.name} if chosen else {}
            return self.page(form.page, language, form=form, filled=Filled(values))

        return answer

    def sent(self, form: Form, language: Language) -> Handler:
        async def answer(request: web.Request) -> web.StreamResponse:
            try:
                sent = await request.post()
            except (UnicodeDecodeError, LookupError, ValueError):
                raise web.HTTPBadRequest(text="This is not a form.\n") from None
            result = filled(form.fields, sent, language)
            if not result.accepted:
                return self.page(form.page, language, form=form, filled=result)
            if form.goes_to:
                # RFC 9110 15.4.4: the answer to the form is another page, to be fetched with GET.
                raise web.HTTPSeeOther(PLACES[form.goes_to][language])
            return self.page(f"{form.page}_thanks", language, who=result.values["name"])

        return answer

    async def download(self, request: web.Request) -> web.StreamResponse:
        product = BY_SLUG.get(request.match_info["slug"])
        if product is None:
            raise web.HTTPNotFound
        language: Language = "de" if request.match_info["language"] == "de" else "en"
        name = f"{product.slug}-{language}.pdf"
        return web.Response(
            body=datasheet(product, language),
            content_type="application/pdf",
            headers={"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "max-age=3600"},
        )

    def file(self, content: str, content_type: str) -> Handler:
        async def answer(request: web.Request) -> web.StreamResponse:
            return web.Response(text=content, content_type=content_type, headers={"Cache-Control": "max-age=86400"})

        return answer

    @web.middleware
    async def not_found(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except web.HTTPNotFound:
            return self.page("notfound", language_of(request), status=404)
