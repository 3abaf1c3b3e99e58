"""A headless Chromium, what it shows, what it complains about and what it asks for."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from pathlib import Path

import pytest

#: Where the path of Chromium or Chrome may be given.
VARIABLE = "LUCENT_TEST_CHROMIUM"


@contextmanager
def chromium():
    """A browser of playwright; the test is skipped where there is none."""
    api = pytest.importorskip("playwright.sync_api")
    path = os.environ.get(VARIABLE) or shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        pytest.skip(f"no chromium on the path, and {VARIABLE} names none")
    with api.sync_playwright() as playwright:
        # The sandbox of Chromium does not start for root, whom containers run tests as.
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


class Visitor:
    """Somebody who opens pages of a folder; `check` says whether anything went wrong meanwhile.

    Args:
        browser: of `chromium`.
        folder: of the site.
        options: of a browser context: viewport, color_scheme, java_script_enabled ...
    """

    def __init__(self, browser, folder, **options):
        self.folder = Path(folder)
        self.context = browser.new_context(
            **{"viewport": {"width": 1280, "height": 860}, **options}
        )
        self.page = self.context.new_page()
        self.page.set_default_timeout(15_000)
        self.complaints, self.requests = [], []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("requestfailed", self.failed)
        self.page.on("request", lambda request: self.requests.append(request.url))

    def failed(self, request):
        # Who goes on to the next page stops what the last one was still loading.
        if request.failure != "net::ERR_ABORTED":
            self.complaints.append(request.url)

    def open(self, path):
        """The page of a path of the site, loaded."""
        self.page.goto((self.folder / path).as_uri())
        return self.page

    def check(self):
        """Nothing was printed, nothing failed, nothing outside the folder was asked for."""
        inside = self.folder.as_uri() + "/"
        assert self.complaints == []
        assert [url for url in self.requests if not url.startswith(inside)] == []
