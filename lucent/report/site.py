"""A whole network as a folder of pages."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lucent import __version__
from lucent.collect import Collection
from lucent.recipes.atlas import Atlas
from lucent.report.atlases import atlas_pages
from lucent.report.building import Build, replaced
from lucent.report.index import facts_of_site, layers_of
from lucent.report.pages import Site
from lucent.report.sources import Sources
from lucent.sweep import Sweep

if TYPE_CHECKING:
    from torch import nn

Folder = str | os.PathLike[str]
_PATH = (str, os.PathLike)


@dataclass(frozen=True)
class SiteSettings:
    """What a site shows.

    Attributes:
        title: of the site; None is the name of the network.
        layers: names of those that are shown, whatever their order; None are all there are.
    """

    title: str | None = None
    layers: Sequence[str] | None = None


def microscope(
    out: Folder,
    *,
    sweep: Sweep | Folder | None = None,
    collection: Collection | Folder | None = None,
    atlases: Sequence[Atlas | Folder] = (),
    model: nn.Module | None = None,
    settings: SiteSettings | None = None,
    progress: bool = False,
) -> Path:
    """Write a site that shows every unit of a network, and return the path of its first page.

    The site opens from the file system, without a server and without a network. It is made beside
    the folder and replaces what was in it when it is complete; when it is cut off, the same call
    goes on where it was. The same sources give the same bytes.

    Args:
        out: folder of the site; a new one, or one with a site, which is replaced.
        sweep: pictures made for units, see `run_sweep`: its folder, or opened.
        collection: examples and statistics, see `collect`: its folder, or opened.
        atlases: maps to zoom into, see `activation_atlas`: their folders, or opened.
        model: the network of them; with it units are linked with those of the layers before and
            after theirs by `expanded_weights`.
        settings: title and layers; None is `SiteSettings()`.
        progress: show a bar that counts units.

    Raises:
        InputError: there is neither a sweep nor a collection, these and the model are not of one
            network, there is no such layer, or something else is in the folder.
        StorageError: there is no room, or a source is damaged.
        MissingExtra: Jinja2 is not installed.

    Source: OpenAI Microscope (https://openai.com/index/microscope), whose pages this makes for any
    network.
    """
    settings = settings or SiteSettings()
    sources = Sources(
        Sweep.open(sweep) if isinstance(sweep, _PATH) else sweep,
        Collection.open(collection) if isinstance(collection, _PATH) else collection,
        model,
        [settings.layers] if isinstance(settings.layers, str) else settings.layers,
    )
    given = [atlases] if isinstance(atlases, (*_PATH, Atlas)) else atlases
    maps = [Atlas.open(atlas) if isinstance(atlas, _PATH) else atlas for atlas in given]
    layers = layers_of(sources)
    site = Site(
        title=settings.title or sources.name,
        model=sources.name,
        facts=facts_of_site(sources, layers),
        layers=tuple(layer.page for layer in layers),
        atlases=atlas_pages(maps, layers),
        has_sweep=sources.sweep is not None,
        has_collection=sources.collection is not None,
        has_weights=model is not None,
    )
    folder = Path(os.path.abspath(os.path.expanduser(out)))
    with replaced(folder, _plan(sources, maps, site)) as work:
        Build(sources, layers, maps, site, work).run(progress=progress)
    return folder / "index.html"


def _plan(sources: Sources, atlases: Sequence[Atlas], site: Site) -> dict[str, object]:
    """Return what decides about the content of a site, so that a begun one goes on only as such."""
    package = files("lucent.report")
    code = [package / kind for kind in ("templates", "static")]
    own = sorted((file for folder in code for file in folder.iterdir()), key=lambda f: f.name)
    return {
        "shown": _sha256([repr(site).encode()]),
        "model": sources.name,
        "weights": sources.weights,
        "connected": sources.model is not None,
        **{name: _sha256([_manifest(part)]) for name, part in sources.parts.items()},
        "atlases": [_sha256(_content(atlas)) for atlas in atlases],
        "lucent": __version__,
        "pages": _sha256(file.read_bytes() for file in own),
    }


def _manifest(part: Sweep | Collection) -> bytes:
    return (part.path / "manifest.json").read_bytes()


def _content(atlas: Atlas) -> Iterable[bytes]:
    yield repr((atlas.title, atlas.layer)).encode()
    for level in atlas.levels:
        yield repr(level.labels).encode()
        for array in (level.rows, level.columns, level.counts, level.shares, level.icons):
            yield np.ascontiguousarray(array).tobytes()


def _sha256(parts: Iterable[bytes]) -> str:
    found = hashlib.sha256()
    for part in parts:
        found.update(part)
    return found.hexdigest()[:16]
