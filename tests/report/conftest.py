"""A made-up site and a browser, made once for all tests of the pages."""

from __future__ import annotations

import pytest
from report.browser import Visitor, chromium
from report.sample import Sample


@pytest.fixture(scope="session")
def sample(tmp_path_factory):
    """A site with every kind of odd name. Shared: leave it as it was."""
    site = Sample(tmp_path_factory.mktemp("sample") / "site", n_units=24)
    site.write()
    return site


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found


@pytest.fixture
def visit(browser, sample):
    """Visitors of the sample, or of another folder, who have nothing to complain about."""
    visitors = []

    def begin(folder=sample.folder, **options):
        visitors.append(Visitor(browser, folder, **options))
        return visitors[-1]

    yield begin
    for visitor in visitors:
        visitor.context.close()
        visitor.check()
