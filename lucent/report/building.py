"""From a sweep and a collection to a folder of pages."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from importlib.resources import as_file, files
from pathlib import Path

from tqdm import tqdm

from lucent.errors import InputError
from lucent.folders import WorkFolder, begun, read_json
from lucent.recipes.atlas import Atlas
from lucent.report.atlases import save_tiles
from lucent.report.connections import Connections, connections
from lucent.report.examples import save_pictures, shown_pictures
from lucent.report.index import Layer
from lucent.report.pages import Site
from lucent.report.sources import Sources
from lucent.report.units import Units
from lucent.report.writing import Templates

#: What folders of sites say they are.
KIND = "site"
#: Where the parts of a site are, its files outside of them, and what desktops put into folders.
_PARTS = ("static", "data", "layers", "atlas", "units/*", "pictures/*", "maps/*")
_OWN = ("index.html", "plan.json", "manifest.json", ".lock")
_OF_DESKTOPS = (".DS_Store", "Thumbs.db", "desktop.ini")


@contextmanager
def replaced(folder: Path, plan: dict[str, object]) -> Iterator[WorkFolder]:
    """Yield a folder beside another one that takes its place when the block ends well.

    A block that was cut off goes on with what it had finished, if its plan is the same.

    Args:
        folder: that is made or replaced.
        plan: all that decides about the content.

    Raises:
        InputError: something else than a site is in the folder, or another process makes it.
    """
    folder = folder.resolve()  # of a link, what it leads to is replaced
    new, old = (folder.with_name(f".{folder.name}.{end}") for end in ("new", "old"))
    if old.exists() and not folder.exists():
        old.rename(folder)  # it was cut off between the two renames below
    _check_replaceable(folder)
    _without_other_plan(new, plan)
    with WorkFolder.opened(new, KIND, plan) as work:
        yield work
    _check_replaceable(folder)  # once more: it may have taken hours
    if folder.exists():
        shutil.rmtree(old, ignore_errors=True)
        folder.rename(old)
    new.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def _check_replaceable(folder: Path) -> None:
    """Refuse a folder that holds anything but a site: it would be lost with it."""
    if folder.is_file():
        raise InputError(f"{str(folder)!r} is a file: name a folder for the site.")
    if not folder.exists():
        return
    if begun(folder, KIND) is None and any(folder.iterdir()):
        raise InputError(
            f"{str(folder)!r} is not empty, and holds no site that could be replaced: name a new "
            "folder."
        )
    if (foreign := _foreign(folder)) is not None:
        raise InputError(
            f"{str(foreign)!r} is no part of the site that is to be replaced, and would be lost "
            "with it: move it elsewhere, or name a new folder."
        )


def _foreign(folder: Path) -> Path | None:
    """Return a file in the folder of a site that the site did not bring, None if there is none."""
    own = {folder / name for name in _OWN}
    for pattern in _PARTS:
        for part in folder.glob(f"{pattern}/part.json"):
            own |= {part, *(part.parent / name for name in read_json(part))}
    others = (path for path in folder.rglob("*") if path not in own)
    return next((path for path in others if _counts(path)), None)


def _counts(path: Path) -> bool:
    return path.is_symlink() or (path.is_file() and path.name not in _OF_DESKTOPS)


def _without_other_plan(new: Path, plan: dict[str, object]) -> None:
    """Remove what was begun from something else, unless another process is at work in it."""
    if (other := begun(new, KIND)) not in (None, plan):
        with WorkFolder.opened(new, KIND, other or {}):
            pass
        shutil.rmtree(new)


@dataclass(frozen=True, eq=False)
class Build:
    """Fills the folder of a site part by part.

    Attributes:
        sources: what is known of the network.
        layers: of the site.
        atlases: with pages in the site, in the same order.
        site: what all pages share.
        work: the folder.
    """

    sources: Sources
    layers: list[Layer]
    atlases: Sequence[Atlas]
    site: Site
    work: WorkFolder
    _pairs: dict[int, Connections | None] = field(default_factory=dict)

    def run(self, *, progress: bool) -> None:
        """Make what is not there yet.

        Args:
            progress: show a bar that counts units.
        """
        templates = Templates(self.site)
        self._part("static", _copy_static)
        self._pictures()
        total = sum(layer.page.n_units for layer in self.layers)
        with tqdm(total=total, disable=not progress, unit="unit") as bar:
            for place, layer in enumerate(self.layers):
                fill = partial(self._layer, place, templates)
                self._part(f"units/{layer.page.slug}", fill)
                bar.update(layer.page.n_units)
        for atlas, page in zip(self.atlases, self.site.atlases, strict=True):
            self._part(f"maps/{page.slug}", partial(save_tiles, atlas))
        self._texts("layers", {f"{p.slug}.html": templates.layer(p) for p in self.site.layers})
        self._texts("atlas", {f"{p.slug}.html": templates.atlas(p) for p in self.site.atlases})
        self._texts("data", dict(templates.scripts()))
        _write(self.work.path / "index.html", templates.index())
        self.work.finish({"pages": 1 + len(self.layers) + len(self.atlases) + total})

    def _part(self, name: str, fill: Callable[[Path], None]) -> None:
        if not self.work.done(name):
            (self.work.path / name).parent.mkdir(parents=True, exist_ok=True)
            with self.work.part(name) as folder:
                fill(folder)

    def _pictures(self) -> None:
        if (collection := self.sources.collection) is not None:
            layers = [name for name in self.sources.layers if self.sources.collected(name)]
            for name, indices in shown_pictures(collection, layers).items():
                self._part(name, partial(save_pictures, collection, indices))

    def _layer(self, place: int, templates: Templates, folder: Path) -> None:
        units = Units(self.sources, self.layers, place, site=self.work.path, folder=folder)
        units.save_icons()
        for page in units.pages(self._between(place - 1), self._between(place)):
            _write(folder / f"{page.unit}.html", templates.unit(page))

    def _between(self, place: int) -> Connections | None:
        """Return the connections of a layer with the next one; the last two pairs are kept."""
        if self.sources.model is None or not 0 <= place < len(self.layers) - 1:
            return None
        if place not in self._pairs:
            for old in [known for known in self._pairs if known != place - 1]:
                del self._pairs[old]
            ends = [(self.layers[n].page.name, self.layers[n].units) for n in (place, place + 1)]
            self._pairs[place] = connections(self.sources.model, *ends)
        return self._pairs[place]

    def _texts(self, name: str, texts: dict[str, str]) -> None:
        def fill(folder: Path) -> None:
            for file, text in texts.items():
                _write(folder / file, text)

        if texts:
            self._part(name, fill)


def _copy_static(folder: Path) -> None:
    with as_file(files("lucent.report") / "static") as static:
        shutil.copytree(static, folder, dirs_exist_ok=True, copy_function=shutil.copyfile)


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")
