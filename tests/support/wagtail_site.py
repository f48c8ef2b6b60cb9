"""A real Wagtail site: Django's sqlite, a home page, two pages to read, and Wagtail's own contact form.

What such a site does that invented ones do not: a CSRF token in the body and in a cookie, 200 for a form it accepted
(a landing page, no redirect), 200 with the form again for one it refused, 403 without the token.
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from tests.support.ports import free_port
from tests.support.waiting import until

START_SECS = 60

SETTINGS = """
from .base import *
DEBUG = True
SECRET_KEY = "only for tests"
ALLOWED_HOSTS = ["*"]
INSTALLED_APPS = INSTALLED_APPS + ["company"]
EMAIL_BACKEND = "django.core.mail.backends.dummy.EmailBackend"
"""

MODELS = """
from django.db import models
from modelcluster.fields import ParentalKey
from wagtail.contrib.forms.models import AbstractEmailForm, AbstractFormField
from wagtail.fields import RichTextField
from wagtail.models import Page

class ContentPage(Page):
    body = RichTextField()
    template = "company/content.html"

class FormField(AbstractFormField):
    page = ParentalKey("FormPage", related_name="form_fields", on_delete=models.CASCADE)

class FormPage(AbstractEmailForm):
    template = "company/form.html"
    landing_page_template = "company/landing.html"
"""

SEED = """
from wagtail.models import Site
from company.models import ContentPage, FormField, FormPage
home = Site.objects.get(is_default_site=True).root_page
for title, slug in (("Pumpen", "pumpen"), ("Ventile", "ventile")):
    home.add_child(instance=ContentPage(title=title, slug=slug, show_in_menus=True, body=f"<p>Alles zu {title}.</p>"))
form = FormPage(title="Kontakt", slug="kontakt", show_in_menus=True,
                to_address="vertrieb@example.com", from_address="web@example.com")
home.add_child(instance=form)
for order, (label, kind, required) in enumerate([
    ("Name", "singleline", True), ("E-Mail", "email", True), ("Telefon", "singleline", False),
    ("Nachricht", "multiline", True), ("Datenschutz", "checkbox", True),
]):
    FormField.objects.create(page=form, sort_order=order, label=label, field_type=kind, required=required)
"""

BASE = """{% load wagtailcore_tags %}<!doctype html><html lang="de"><head><title>{{ page.title }}</title></head><body>
<nav><a href="/">Start</a> <a href="/pumpen/">Pumpen</a> <a href="/ventile/">Ventile</a>
<a href="/kontakt/">Kontakt</a></nav><h1>{{ page.title }}</h1>{% block content %}{% endblock %}</body></html>
"""
TEMPLATES = {
    "company/base.html": BASE,
    "company/content.html": '{% extends "company/base.html" %}{% load wagtailcore_tags %}'
    "{% block content %}{{ page.body|richtext }}{% endblock %}",
    "home/home_page.html": '{% extends "company/base.html" %}{% block content %}<p>Willkommen</p>{% endblock %}',
    # novalidate: the browser itself must not keep the refused form back
    "company/form.html": '{% extends "company/base.html" %}{% block content %}'
    '<form id="kontakt" method="post" action="{{ page.url }}" novalidate>{% csrf_token %}{{ form.as_p }}'
    "<button>Senden</button></form>{% endblock %}",
    "company/landing.html": '{% extends "company/base.html" %}{% block content %}'
    '<p id="danke">Vielen Dank, wir melden uns.</p>{% endblock %}',
}


class WagtailSite:
    """`build()` once, then `start()` and `stop()`; as a context manager it starts and stops."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "site"
        self.output = folder / "wagtail.log"
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def build(self) -> WagtailSite:
        """Makes the project, its database and its pages. Takes some seconds: Wagtail has many migrations."""
        self.folder.mkdir(parents=True)
        self._run("-c", "from wagtail.bin.wagtail import main; main()", "start", "peer", str(self.folder))
        for package in ("company", "company/migrations"):
            (self.folder / package).mkdir()
            (self.folder / package / "__init__.py").touch()
        (self.folder / "company/models.py").write_text(MODELS)
        (self.folder / "peer/settings/tests.py").write_text(SETTINGS)
        # A project's own folder goes before the apps' folders.
        templates = self.folder / "peer/templates"
        for name, text in TEMPLATES.items():
            (templates / name).parent.mkdir(parents=True, exist_ok=True)
            (templates / name).write_text(text)
        for command in (["makemigrations", "company"], ["migrate"], ["shell", "-c", SEED]):
            self._run("manage.py", *command)
        return self

    def _run(self, *arguments: str) -> None:
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=self.folder,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert done.returncode == 0, f"{arguments[:2]} failed:\n{done.stdout[-3000:]}"

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "DJANGO_SETTINGS_MODULE": "peer.settings.tests", "PYTHONUNBUFFERED": "1"}

    def start(self) -> WagtailSite:
        """Answers when it returns."""
        with self.output.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "manage.py", "runserver", "--noreload", f"127.0.0.1:{self.port}"],
                cwd=self.folder,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        until(self._answers, "Wagtail answers", deadline_secs=START_SECS)
        return self

    def _answers(self) -> bool:
        assert self._process.poll() is None, f"Wagtail ended:\n{self.output.read_text()[-3000:]}"
        connection = HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", "/kontakt/")
            return connection.getresponse().status == 200
        except (OSError, HTTPException):
            return False
        finally:
            connection.close()

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(timeout=20)
            self._process = None

    def __enter__(self) -> WagtailSite:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def submissions(self) -> int:
        """How many forms Wagtail itself has accepted and kept."""
        connection = sqlite3.connect(self.folder / "db.sqlite3")
        try:
            return connection.execute("select count(*) from wagtailforms_formsubmission").fetchone()[0]
        finally:
            connection.close()
