"""Atlases as maps to zoom into."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lucent.folders import slug
from lucent.report.index import Layer
from lucent.report.pages import AtlasCell, AtlasLevel, AtlasPage, Fact
from lucent.report.tiles import TILE, Mosaic

if TYPE_CHECKING:
    from lucent.recipes.atlas import Atlas, Level


def atlas_pages(atlases: Sequence[Atlas], layers: Sequence[Layer]) -> tuple[AtlasPage, ...]:
    """Return the pages of atlases; `save_tiles` writes what they show.

    Args:
        atlases: in the order of the site.
        layers: that the site has pages of.
    """
    slugs = {layer.page.name: layer.page.slug for layer in layers}
    pages: list[AtlasPage] = []
    for atlas in atlases:
        own = slug(atlas.title or atlas.layer)
        taken = sum(page.slug.rpartition("~")[0] == own or page.slug == own for page in pages)
        own = f"{own}~{taken + 1}" if taken else own
        levels = tuple(_level(level, own) for level in atlas.levels)
        pages.append(
            AtlasPage(
                name=atlas.title or atlas.layer,
                slug=own,
                layer=atlas.layer,
                layer_slug=slugs.get(atlas.layer, ""),
                preview=f"{levels[0].tiles}/{levels[0].first}/0_0.webp",
                facts=_facts(atlas),
                levels=levels,
            )
        )
    return tuple(pages)


def save_tiles(atlas: Atlas, folder: Path) -> None:
    """Write the tiles of all levels of an atlas, each in a folder called after its grid."""
    for level in atlas.levels:
        _mosaic(level).save(folder / str(level.grid))


def _mosaic(level: Level) -> Mosaic:
    places = list(zip(map(int, level.rows), map(int, level.columns), strict=True))
    return Mosaic(level.grid, level.icons, places)


def _level(level: Level, own: str) -> AtlasLevel:
    mosaic, n_cells = _mosaic(level), len(level.counts)
    labels: Sequence[str] = level.labels or [""] * n_cells
    shares = level.shares.tolist() if level.labels else [None] * n_cells
    return AtlasLevel(
        grid=level.grid,
        size=mosaic.size,
        tile=TILE,
        first=mosaic.first,
        last=mosaic.last,
        tiles=f"maps/{own}/{level.grid}",
        cells=tuple(
            AtlasCell(row, column, count, label, share)
            for (row, column), count, label, share in zip(
                mosaic.places, level.counts.tolist(), labels, shares, strict=True
            )
        ),
    )


def _facts(atlas: Atlas) -> tuple[Fact, ...]:
    grids = ", ".join(f"{level.grid} x {level.grid}" for level in atlas.levels)
    return (
        Fact("Layer", atlas.layer),
        Fact("Activations", f"{len(atlas.positions):,}"),
        Fact("Cells", grids),
    )
