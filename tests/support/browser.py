"""A real browser. Knows where Chromium lies and the flags that keep it to what a test asked for."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, BrowserContext, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

FLAGS = [
    "--headless",
    "--no-sandbox",  # tests run as root in containers
    "--disable-gpu",
    "--disable-background-networking",
    "--no-first-run",
    "--disable-component-update",
    "--disable-sync",
]


def executable() -> str | None:
    """The path of the system's Chromium; None if there is none."""
    return next(filter(None, map(shutil.which, NAMES)), None)


@contextmanager
def chromium() -> Iterator[Browser]:
    """A headless Chromium. Skips the test if the system has none."""
    path = executable()
    if path is None:
        pytest.skip(f"no browser: none of {', '.join(NAMES)} found; on Debian: apt-get install chromium")
    driver = sync_playwright()
    try:
        playwright = driver.start()
    except Exception as error:
        raise RuntimeError("Playwright's driver did not start; on Debian: apt-get install libatomic1") from error
    try:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()
    finally:
        playwright.stop()


def person(browser: Browser) -> BrowserContext:
    """Cookies and history of one German visitor. Its user agent does not say `Headless`: that is the name of a bot."""
    major = browser.version.split(".")[0]
    agent = f"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{major}.0.0.0 Safari/537.36"
    return browser.new_context(locale="de-DE", service_workers="block", user_agent=agent)
