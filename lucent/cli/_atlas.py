"""`lucent atlas`: maps of what a layer sees."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from lucent.cli._estimate import duration, show, size, slope
from lucent.cli._project import Project, add_project, check_new
from lucent.cli._shared import MODEL, epilog, positive
from lucent.errors import InputError

if TYPE_CHECKING:
    from torch import nn

    from lucent.collect import Collection
    from lucent.recipes.atlas import AtlasSettings

#: Steps of an icon of the embedded network, as in a sweep of it.
_FIRST_LOOK = 64

#: Steps that an estimate times; their difference is what more of them take.
_FEW, _MORE = 1, 5

_BATCH = 16

#: What an icon takes as PNG and once more as numbers in half precision, as a share of its pixels.
_BYTES_OF_A_PIXEL = 3 + 6


def add(commands: Any) -> argparse.ArgumentParser:
    """Add the command to those of a parser."""
    command: argparse.ArgumentParser = commands.add_parser(
        "atlas",
        help="draw a map of what a layer sees",
        description="Lay out the activation vectors of OUT/collection, average them in the cells "
        "of grids, render an icon of each average, and print the folder, OUT/atlas/LAYER. The "
        "same command typed again goes on where it was cut off.",
        **epilog(
            "lucent atlas out                              the last layer with positions",
            "lucent atlas out --layer mixed4a --grids 10 20 --method pca",
            "lucent atlas out --layer mixed4b --class rings",
            "lucent atlas out --layer mixed4b --class rings 'dark spots'   one against the other",
        ),
    )
    add_project(command)
    option = command.add_argument
    option("--layer", metavar="LAYER", help="default: the last one with positions")
    option(
        "--grids",
        nargs="+",
        type=positive,
        metavar="N",
        help="cells on a side, of each level, growing (default: of 10 20 40 those that the "
        "vectors can fill)",
    )
    option(
        "--method",
        default="umap",
        choices=("umap", "tsne", "pca"),
        help="how vectors become a map (default: %(default)s)",
    )
    option(
        "--class",
        nargs="+",
        dest="labels",
        metavar="NAME",
        help="what speaks for this class of the network, or, of two, for the one or the other",
    )
    option(
        "--steps",
        type=positive,
        metavar="N",
        help=f"of each icon (default: 128; of {MODEL} {_FIRST_LOOK}, for a first look)",
    )
    option("--seed", type=int, default=0, metavar="N", help="default: %(default)s")
    command.set_defaults(command=_run)
    return command


def _run(args: argparse.Namespace) -> int:
    from lucent.collect import Collection
    from lucent.recipes.atlas import activation_atlas, class_atlas, compare_classes

    project = Project(args.out)
    if not project.collection.exists():
        raise InputError(
            f"An atlas needs {str(project.collection)!r}: run `lucent collect {args.out}` first."
        )
    collection = Collection.open(project.collection)
    layer = args.layer or _last(collection)
    labels: list[str] = args.labels or []
    if len(labels) > 2:
        raise InputError(f"--class takes one name or two, not {len(labels)}: quote their spaces.")
    folder = project.atlas(layer, " | ".join(labels) or None)
    check_new(folder, args)
    model = project.model(args)
    settings = _settings(args, collection, layer)
    if args.dry_run:
        _estimate(model, collection, layer, settings)
        return 0
    options: dict[str, Any] = {
        "settings": settings,
        "out": folder,
        "progress": sys.stderr.isatty(),
    }
    if len(labels) == 2:
        pair = (labels[0], labels[1])
        made = compare_classes(model, collection, layer, labels=pair, **options)
    elif labels:
        made = class_atlas(model, collection, layer, label=labels[0], **options)
    else:
        made = activation_atlas(model, collection, layer, **options)
    if made.interrupted:
        raise KeyboardInterrupt
    print(folder)
    return 0


def _last(collection: Collection) -> str:
    """Return the last layer that has positions: logits are no pictures of parts."""
    placed = [layer for layer in collection.layers if len(collection.shape(layer)) > 1]
    return (placed or collection.layers)[-1]


def _settings(args: argparse.Namespace, collection: Collection, layer: str) -> AtlasSettings:
    from lucent.recipes.atlas import AtlasSettings

    usual = AtlasSettings()
    return AtlasSettings(
        grids=tuple(args.grids or ()) or _filled(usual, len(collection.vectors(layer))),
        layout=args.method.upper(),
        steps=args.steps or (_FIRST_LOOK if collection.model == MODEL else usual.steps),
        seed=args.seed,
    )


def _filled(usual: AtlasSettings, n_vectors: int) -> tuple[int, ...]:
    """Return the grids in which an average cell has enough vectors, at least the coarsest."""
    enough = tuple(grid for grid in usual.grids if usual.density * grid**2 <= n_vectors)
    return enough or usual.grids[:1]


def _estimate(
    model: nn.Module, collection: Collection, layer: str, settings: AtlasSettings
) -> None:
    """Print what there is to do, and what it takes by a few steps of a batch of icons."""
    from lucent.optvis.objectives import direction
    from lucent.recipes.icons import render_icons

    vectors = collection.vectors(layer)
    count = min(len(vectors), settings.limit or len(vectors))
    wanted = [direction(layer, vector.astype("float32")) for vector in vectors[:_BATCH]]
    side = 0

    def work(steps: int) -> None:
        nonlocal side
        side = render_icons(model, wanted, size=settings.size, steps=steps).images.shape[1]

    a_step = slope(work, _FEW, _MORE) / len(wanted)
    icons = sum(min(grid**2, count // settings.density) for grid in settings.grids)
    show(
        {
            "layer": f"{layer} of {collection.model}, {count:,} vectors of {vectors.shape[1]}",
            "layout": settings.layout,
            "grids": ", ".join(f"{grid} x {grid}" for grid in settings.grids),
            "icons": f"at most {icons}, {settings.steps} steps each",
            "time": f"at most {duration(icons * settings.steps * a_step)} for the icons on this "
            f"machine, by {_MORE} steps of {len(wanted)}",
            "disk": f"at most {size(icons * side**2 * _BYTES_OF_A_PIXEL)}, computed from their "
            "pixels",
        }
    )
