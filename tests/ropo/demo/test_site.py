import re

import pytest

from ropo.demo.catalogue import LANGUAGES, PRODUCTS
from ropo.demo.site import PLACES, make_site, place_of

CONTACT = {"name": "Erika Muster", "email": "erika@example.com", "nachricht": "Guten Tag", "datenschutz": "1"}
CALLBACK = {"name": "Jo", "phone": "+49 7132 5550100", "preferred_time": "As soon as possible", "privacy": "1"}


@pytest.fixture
async def site(aiohttp_client):
    return await aiohttp_client(make_site())


async def test_every_link_on_every_page_leads_somewhere(site):
    seen, waiting = set(), ["/de/", "/en/"]
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        answer = await site.get(path)
        assert answer.status == 200, path
        if answer.content_type == "text/html":
            html = await answer.text()
            waiting += [link for link in re.findall(r'(?:href|src|action)="(/[^"]*)"', html) if link not in seen]
    assert {place_of(product, language) for product in PRODUCTS for language in LANGUAGES} <= seen
    assert sum(path.endswith(".pdf") for path in seen) == 2 * len(PRODUCTS)


@pytest.mark.parametrize(("language", "word"), [("de", "Unsere Maschinen"), ("en", "Our machines")])
async def test_the_site_speaks_two_languages(site, language, word):
    answer = await site.get(f"/{language}/")
    html = await answer.text()
    assert f'<html lang="{language}">' in html
    assert word in html
    assert answer.headers["Content-Language"] == language


@pytest.mark.parametrize(
    ("accepted", "cookie", "target"),
    [
        ("de-DE,de;q=0.9", None, "/de/"),
        ("en-GB", None, "/en/"),
        ("fr", None, "/en/"),
        ("de", "en", "/en/"),
        ("en", "xx", "/en/"),
    ],
)
async def test_the_entrance_leads_to_the_visitor_s_language(site, accepted, cookie, target):
    headers = {"Accept-Language": accepted} | ({"Cookie": f"mw_lang={cookie}"} if cookie else {})
    answer = await site.get("/", headers=headers, allow_redirects=False)
    assert (answer.status, answer.headers["Location"]) == (302, target)


async def test_the_entrance_keeps_the_campaign(site):
    answer = await site.get("/?utm_source=a%20b&gclid=X", headers={"Accept-Language": "de"}, allow_redirects=False)
    assert answer.headers["Location"] == "/de/?utm_source=a%20b&gclid=X"


async def test_a_complete_contact_form_leads_to_a_thank_you_page(site):
    answer = await site.post("/de/kontakt/", data=CONTACT, allow_redirects=False)
    assert (answer.status, answer.headers["Location"]) == (303, "/de/kontakt/danke/")
    assert "Vielen Dank" in await (await site.get("/de/kontakt/danke/")).text()


async def test_an_incomplete_contact_form_comes_back_with_its_errors_marked(site):
    answer = await site.post("/de/kontakt/", data=CONTACT | {"email": '"><script>x</script>', "name": ""})
    html = await answer.text()
    assert answer.status == 200
    assert html.count('aria-invalid="true"') == 2
    assert 'id="contact-form"' in html
    assert "Guten Tag" in html
    assert "<script>" not in html


async def test_a_complete_call_back_form_is_answered_by_the_thank_you_page_itself(site):
    answer = await site.post("/en/callback/", data=CALLBACK, allow_redirects=False)
    html = await answer.text()
    assert answer.status == 200
    assert "We will call you, Jo" in html
    assert "<form" not in html


async def test_an_incomplete_call_back_form_comes_back(site):
    html = await (await site.post("/en/callback/", data=CALLBACK | {"phone": "x"})).text()
    assert 'id="callback-form"' in html
    assert html.count('aria-invalid="true"') == 1


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"{}", "application/json", 200),
        (b"\xff=\xfe", "application/x-www-form-urlencoded", 400),
        (b"name=x", "application/x-www-form-urlencoded; charset=klingon", 400),
        (b"no boundary here", "multipart/form-data", 400),
        (b"no boundary here", "multipart/form-data; boundary=x", 400),
        (b"name=" + b"x" * 70_000, "application/x-www-form-urlencoded", 413),
    ],
)
async def test_a_body_that_is_no_form_does_no_harm(site, body, content_type, status):
    answer = await site.post("/de/kontakt/", data=body, headers={"Content-Type": content_type})
    assert answer.status == status


async def test_a_product_page_preselects_its_machine_in_the_contact_form(site):
    html = await (await site.get("/en/contact/?product=mw-laser-3015")).text()
    assert '<option value="MW-Laser 3015" selected>' in html
    other = await (await site.get("/en/contact/?product=nothing")).text()
    assert '<option value="" selected>' in other


async def test_a_data_sheet_is_a_download(site):
    answer = await site.get("/downloads/mw-press-160-de.pdf")
    assert answer.content_type == "application/pdf"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="mw-press-160-de.pdf"'
    assert (await answer.read()).startswith(b"%PDF-")


@pytest.mark.parametrize(
    "path", ["/nothing", "/de/nichts", "/downloads/other-de.pdf", "/downloads/mw-press-160-fr.pdf"]
)
async def test_a_page_that_does_not_exist_says_so_in_the_site_s_own_look(site, path):
    answer = await site.get(path)
    assert answer.status == 404
    assert "Musterwerk" in await answer.text()


async def test_robots_and_icon_are_there(site):
    assert "User-agent" in await (await site.get("/robots.txt")).text()
    assert (await site.get("/favicon.ico")).content_type == "image/svg+xml"


def test_every_page_has_a_place_in_both_languages():
    for places in PLACES.values():
        assert [places[language].startswith(f"/{language}/") for language in LANGUAGES] == [True, True]
