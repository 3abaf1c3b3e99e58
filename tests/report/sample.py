"""A small site of made-up values with every kind of odd name, for the tests of data and pages."""

from __future__ import annotations

from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from shutil import copytree

import numpy as np
from PIL import Image

from lucent.folders import slug
from lucent.report.pages import (
    AtlasCell,
    AtlasLevel,
    AtlasPage,
    Cell,
    ExampleGroup,
    ExampleItem,
    Fact,
    Histogram,
    LayerPage,
    LayerRef,
    Render,
    Similar,
    Site,
    Sprite,
    UnitPage,
    UnitRef,
    UnitSummary,
    Weight,
    Weights,
)
from lucent.report.writing import Templates

#: Names that have to appear as they are, and do nothing.
ODD = (
    "</script><img src=x onerror=\"window.injected='end of script'\">",
    "<script>window.injected = 'script'</script>",
    "\"quoted\" & 'quoted' `ticks` ${window.injected=1} {{ 7 * 7 }} {% raw %}",
    "javascript:window.injected=1//",
    "../../up/and\\away?query#fragment%2e%2e",
    "Ünï çødé 花 цветок \u2028 line \u202eright to left\u202c",
    "عصفور",
    "a very long name " * 20 + "verylongword" * 20,
)
LAYERS = ("conv1", 'mixed4a/"<b>bold</b>"\'s', "блок[3].花", "head")


def write_site(folder, site, units):
    """Write the pages of a site beside its pictures; the path of the first page."""
    templates = Templates(site)
    copytree(files("lucent.report") / "static", folder / "static", dirs_exist_ok=True)
    pages = {"index.html": templates.index()}
    pages |= {f"data/{name}": text for name, text in templates.scripts()}
    pages |= {layer.path: templates.layer(layer) for layer in site.layers}
    pages |= {atlas.path: templates.atlas(atlas) for atlas in site.atlases}
    pages |= {unit.path: templates.unit(unit) for unit in units}
    for path, text in pages.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8", newline="\n")
    return folder / "index.html"


class Sample:
    """Pictures of a made-up network, and the pages that show them.

    Args:
        folder: where the site is written.
        n_units: units in each layer.
    """

    def __init__(self, folder, n_units=24):
        self.folder, self.n_units = Path(folder), n_units
        self.random = np.random.default_rng(0)
        self.refs = [LayerRef(name, slug(name)) for name in LAYERS]
        self.layers = [self.layer(number) for number in range(len(LAYERS))]
        self.site = Site(
            title=f"Sample & <i>site</i> {ODD[1]}",
            model="sample<net>",
            facts=(Fact("Layers", str(len(LAYERS))), Fact('Data "set"', ODD[0])),
            layers=tuple(self.layers),
            atlases=(self.atlas(),),
        )

    def write(self):
        """Write all files; the path of the first page."""
        return write_site(self.folder, self.site, self.units())

    def picture(self, path, width=64, height=64, alpha=False):
        """A smooth random picture under a path, which is returned."""
        low = self.random.integers(0, 255, (4, 4, 4 if alpha else 3), dtype=np.uint8)
        picture = Image.fromarray(low).resize((width, height), Image.Resampling.BICUBIC)
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        picture.save(file, quality=85)
        return path

    def label(self, unit):
        return "" if unit % 5 == 4 else ODD[unit % len(ODD)] if unit % 3 == 0 else f"label {unit}"

    def layer(self, number):
        ref, sprites = self.refs[number], []
        for first in range(0, self.n_units, 100):
            count = min(100, self.n_units - first)
            rows = -(-count // 10)
            path = self.picture(f"images/icons/{ref.slug}-{first}.webp", 10 * 64, rows * 64)
            sprites.append(Sprite(path, 64, 10, rows, first, count))
        units = tuple(
            UnitSummary(u, self.label(u), float(self.random.gamma(2)), float(self.random.random()))
            for u in range(self.n_units)
        )
        return LayerPage(
            ref.name,
            ref.slug,
            facts=(Fact("Units", str(self.n_units)), Fact("Positions", "12 x 12")),
            icon=sprites[0].cell(3),
            sprites=tuple(sprites),
            units=units,
            naming="class" if ref.name == "head" else "examples",
            previous=self.refs[number - 1] if number else None,
            next=self.refs[number + 1] if number + 1 < len(self.refs) else None,
        )

    def unit_ref(self, number, unit):
        layer, ref = self.layers[number], self.refs[number]
        icon = next(s for s in layer.sprites if s.first <= unit < s.first + s.count).cell(unit)
        return UnitRef(ref, unit, layer.units[unit].label, icon)

    def units(self, most=3):
        """The pages of the first units of each layer, and of the last one; others have nothing."""
        for number, layer in enumerate(self.layers):
            for unit in range(self.n_units):
                full = unit < most or unit == self.n_units - 1
                page = self.unit(number, unit) if full else self.bare(number, unit)
                yield replace(
                    page,
                    naming=layer.naming,
                    previous=unit - 1 if unit else None,
                    next=unit + 1 if unit + 1 < self.n_units else None,
                )

    def bare(self, number, unit):
        return UnitPage(**vars(self.unit_ref(number, unit)), missing=("Nothing is known of it.",))

    def unit(self, number, unit):
        stem = f"{self.refs[number].slug}/{unit}"
        counts = [0, 1, 2, 3, 4, 5000, *map(int, self.random.poisson(40, 20))]
        edges = [*(-(2.0 ** (2 - n)) for n in range(6)), *(2.0 ** (n - 3) for n in range(21))]
        return UnitPage(
            **vars(self.unit_ref(number, unit)),
            renders=tuple(self.renders(stem)),
            examples=tuple(self.examples(stem)),
            histogram=Histogram(tuple(edges), tuple(counts), 5, -2.5, edges[-1] - 1),
            facts=(Fact("Mean", "0.125"), Fact("Largest", "7.5"), Fact("Zero or below", "61 %")),
            incoming=self.weights(stem, number - 1, "in") if number else None,
            outgoing=self.weights(stem, number + 1, "out") if number + 1 < len(LAYERS) else None,
            similar=tuple(
                Similar(**vars(self.unit_ref(number, other)), correlation=0.9 - 0.1 * other)
                for other in range(6)
            ),
            missing=("No weights: <b>no model</b> was given.",) if unit == 1 else (),
        )

    def renders(self, stem):
        for kind, title, count in [
            ("channel", "Channel", 1),
            ("neuron", "Neuron", 1),
            ("diversity", "Diversity", 4),
            ("negative", "Negative", 1),
        ]:
            paths = [f"images/units/{stem}-{kind}-{n}.webp" for n in range(count)]
            files = tuple(self.picture(path, 128, 128) for path in paths)
            yield Render(kind, title, files, None if kind == "diversity" else 12.5)

    def examples(self, stem):
        heat = self.picture(f"images/heat/{stem}.webp", 9 * 24, 5 * 24, alpha=True)
        kinds = {
            "top": "Strongest",
            "high": "99th percentile",
            "middle": "Median",
            "random": "Random",
            "low": "Weakest",
        }
        for row, (kind, title) in enumerate(kinds.items()):
            items = []
            for n in range(9):
                path = f"images/pictures/0/{9 * row + n}.webp"
                width, height = {3: (96, 64), 6: (48, 96)}.get(n, (96, 96))
                if not (self.folder / path).exists():
                    self.picture(path, width, height)
                items.append(
                    ExampleItem(
                        picture=path,
                        heat=Cell(heat, n, row, 9, 5),
                        box=(0.25, 0.125, 0.75, 0.625),
                        value=7.5 - row - n / 10,
                        key=ODD[n % len(ODD)],
                        label=ODD[(n + 1) % len(ODD)] if n % 2 else "flower",
                        width=width,
                        height=height,
                    )
                )
            yield ExampleGroup(kind, title, tuple(items))

    def weights(self, stem, number, side):
        sheet = self.picture(f"images/weights/{stem}-{side}.png", 8 * 5, 2 * 5, alpha=True)

        def weight(row, n):
            sign = -1 if row else 1
            heat = Cell(sheet, n, row, 8, 2)
            return Weight(**vars(self.unit_ref(number, n)), value=sign * (3 - n / 4), heat=heat)

        excites, inhibits = (tuple(weight(row, n) for n in range(8)) for row in (0, 1))
        return Weights(self.refs[number], excites, inhibits)

    def atlas(self):
        levels = []
        for grid in (5, 10, 20):
            size = grid * 32
            last = int(np.ceil(np.log2(size)))
            tiles = f"images/atlas/{self.refs[1].slug}/{grid}"
            first = min(8, last)
            for z in range(first, last + 1):
                extent = -(-size // 2 ** (last - z))
                for x in range(0, extent, 256):
                    for y in range(0, extent, 256):
                        width, height = min(256, extent - x), min(256, extent - y)
                        path = f"{tiles}/{z}/{x // 256}_{y // 256}.webp"
                        self.picture(path, width, height, alpha=True)
            cells = tuple(
                AtlasCell(row, column, row + column + 1, self.label(row + column), 0.5)
                for row in range(grid)
                for column in range(0, grid, 2)
            )
            levels.append(AtlasLevel(grid, size, 256, first, last, tiles, cells))
        preview = self.picture(
            f"images/atlas/{self.refs[1].slug}/preview.webp", 160, 160, alpha=True
        )
        facts = (Fact("Activations", "10,000"),)
        return AtlasPage(
            name=f"Atlas of {ODD[1]}",
            slug=self.refs[1].slug,
            layer=self.refs[1].name,
            layer_slug=self.refs[1].slug,
            preview=preview,
            facts=facts,
            levels=tuple(levels),
        )
