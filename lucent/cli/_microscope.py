"""`lucent microscope`: pages of a whole network."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lucent.cli._estimate import bytes_in, duration, show, size
from lucent.cli._project import Project, add_project, check_new
from lucent.cli._shared import epilog
from lucent.errors import InputError

if TYPE_CHECKING:
    from lucent.collect import Collection
    from lucent.sweep import Sweep


def add(commands: Any) -> argparse.ArgumentParser:
    """Add the command to those of a parser."""
    command: argparse.ArgumentParser = commands.add_parser(
        "microscope",
        help="make pages that show every unit of a network",
        description="Make a web site of OUT/sweep, OUT/collection (either may be missing) and "
        "OUT/atlas in OUT/site, and print the path of its first page. It opens from the file "
        "system, without a server and without a network. A site that is there is replaced when "
        "the new one is complete.",
        **epilog(
            "lucent microscope out      then open out/site/index.html in a browser",
            "lucent microscope out --title 'ResNet-50, ImageNet'",
            "lucent microscope out --layers layer3 layer4",
        ),
    )
    add_project(command)
    option = command.add_argument
    option("--title", metavar="TEXT", help="of the site (default: the name of the network)")
    option("--layers", nargs="+", metavar="LAYER", help="of the site (default: all there are)")
    command.set_defaults(command=_run)
    return command


def _run(args: argparse.Namespace) -> int:
    from lucent.report import SiteSettings, microscope

    project = Project(args.out)
    check_new(project.site, args)
    sources = _sources(project)
    # A folder that was filled by other programs may not say which network it is about; its site
    # then has no weights between units.
    if args.model or project.knows_its_model():
        sources["model"] = project.model(args)
    if args.dry_run:
        _estimate(sources, args.layers)
        return 0
    sources["atlases"] = project.atlases()
    settings = SiteSettings(args.title, args.layers)
    microscope(project.site, **sources, settings=settings, progress=sys.stderr.isatty())
    print(project.site / "index.html")
    return 0


def _sources(project: Project) -> dict[str, Any]:
    """Return what there is to show."""
    from lucent.collect import Collection
    from lucent.sweep import Sweep

    found: dict[str, Any] = {}
    if project.sweep.exists():
        found["sweep"] = Sweep.open(project.sweep)
    if project.collection.exists():
        found["collection"] = Collection.open(project.collection)
    if not found:
        raise InputError(
            f"There is nothing to show in {str(project.path)!r}: run `lucent sweep "
            f"{project.path}` or `lucent collect {project.path}` first."
        )
    return found


def _estimate(sources: dict[str, Any], wanted: list[str] | None) -> None:
    """Print what there is to show, and what it takes by the pages of the smallest layer."""
    from lucent.report import SiteSettings, microscope

    units = _units(sources.get("sweep"), sources.get("collection"))
    if wanted:
        units = {layer: n for layer, n in units.items() if layer in wanted} or units
    smallest = min(units, key=lambda layer: units[layer])
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        microscope(Path(folder, "site"), settings=SiteSettings(layers=[smallest]), **sources)
        seconds, taken = time.perf_counter() - start, bytes_in(Path(folder, "site"))
    share = sum(units.values()) / units[smallest]
    show(
        {
            "layers": ", ".join(f"{layer} ({n})" for layer, n in units.items()),
            "pages": f"{1 + len(units) + sum(units.values()):,}, and those of atlases",
            "time": f"at most {duration(seconds * share)} on this machine, by the pages of "
            f"{smallest}",
            "disk": f"at most {size(taken * share)}, by the same",
        }
    )


def _units(sweep: Sweep | None, collection: Collection | None) -> dict[str, int]:
    """Return how many units of each layer have a page."""
    found: dict[str, int] = {}
    if collection is not None:
        found.update({layer: collection.units(layer) for layer in collection.layers})
    if sweep is not None:
        for layer in sweep.layers:
            found.setdefault(layer, len(sweep.units(layer)))
    return found
