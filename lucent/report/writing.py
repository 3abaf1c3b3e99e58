"""From the values of `lucent.report.pages` to texts of files."""

from __future__ import annotations

from collections.abc import Iterator

from lucent.report.pages import AtlasPage, LayerPage, Site, UnitPage
from lucent.report.scripts import atlas_data, layer_data, script, search_data
from lucent.report.statistics import number
from lucent.util import optional


class Templates:
    """The templates of the package, for one site.

    Args:
        site: what all pages share.

    Raises:
        MissingExtra: Jinja2 is not installed.
    """

    def __init__(self, site: Site) -> None:
        jinja2 = optional("jinja2", "whole")
        self.site = site
        self.environment = jinja2.Environment(
            loader=jinja2.PackageLoader("lucent.report"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self.environment.filters["number"] = number

    def index(self) -> str:
        """Return the first page."""
        return self._page("index.html", "index.html", None)

    def layer(self, page: LayerPage) -> str:
        """Return the page of a layer."""
        return self._page("layer.html", page.path, page)

    def unit(self, page: UnitPage) -> str:
        """Return the page of a unit."""
        return self._page("unit.html", page.path, page)

    def atlas(self, page: AtlasPage) -> str:
        """Return the page of an atlas."""
        return self._page("atlas.html", page.path, page)

    def scripts(self) -> Iterator[tuple[str, str]]:
        """Yield names and texts of the scripts that hold data."""
        yield "search.js", script("search", search_data(self.site))
        for layer in self.site.layers:
            yield f"layer-{layer.slug}.js", script(f"layer:{layer.slug}", layer_data(layer))
        for atlas in self.site.atlases:
            yield f"atlas-{atlas.slug}.js", script(f"atlas:{atlas.slug}", atlas_data(atlas))

    def _page(self, template: str, path: str, page: LayerPage | UnitPage | AtlasPage | None) -> str:
        # `root` leads from the page to the folder of the site.
        found = self.environment.get_template(template)
        text: str = found.render(site=self.site, page=page, root="../" * path.count("/"))
        return text
