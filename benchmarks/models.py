"""Does `render_vis` do the right thing for every architecture?

Of three layers of each, the unit that is strongest on the start image is rendered for ten steps
without transforms; its score before and after makes a row of the table. `--markdown` writes the
table to docs/models.md. `--truncation` tells instead how long ViT-B/16 runs up to block 6, relative
to all of it.
"""

from __future__ import annotations

import argparse
import logging
import platform
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.architectures import ARCHITECTURES, REFUSED, SEED, Architecture
from benchmarks.contenders import Sample, Stopwatch
from benchmarks.speed import Result, machine, race, spread, table
from benchmarks.workloads import WORKLOADS
from lucent.errors import LucentError
from lucent.hooks import Activations
from lucent.modelzoo.spec import spec_of
from lucent.optvis import param
from lucent.optvis.render import render_vis
from lucent.util import forked_rng, frozen_eval

logger = logging.getLogger(__name__)

STEPS = 10
PAGE = Path(__file__).parents[1] / "docs" / "models.md"
PACKAGES = ("torch", "torchvision", "timm", "transformers", "open_clip_torch")
HEADER = ("architecture", "layer", "gives", "objectives get", "unit", "score before", "after")
TRUNCATED = "vit_b_16 block 6"


@dataclass(frozen=True)
class Outcome:
    """What became of a unit.

    Attributes:
        layer: its address.
        gives: shape of what the layer gives for a batch of one image.
        gets: shape of what objectives get of that.
        unit: its number.
        before: its mean over positions, of the start image.
        after: the same of the image after the steps.
        pictures: both images, (1, *spatial, C).
    """

    layer: str
    gives: tuple[int, ...]
    gets: tuple[int, ...]
    unit: int
    before: float
    after: float
    pictures: Sequence[np.ndarray]


def outcome(architecture: Architecture, model: nn.Module, layer: str) -> Outcome:
    """Render the unit of a layer that is strongest on the start image, so that it is not dead.

    Args:
        architecture: of the model.
        model: the network, which comes back as it was.
        layer: its address.

    Raises:
        LucentError: it cannot be rendered.
    """
    image = partial(_start_image, architecture.shape)
    with forked_rng(SEED):
        start = image()().detach()
    given, seen = activations(model, layer, start)
    unit = int(_means(seen).argmax())
    pictures = render_vis(
        model,
        f"{layer}:{unit}",
        image,
        transforms=[],
        preset="plain",
        thresholds=(0, STEPS),
        fixed_image_size=architecture.shape[1:] if len(architecture.shape) == 3 else None,
        seed=SEED,
        progress=False,
        show_image=False,
    )
    before, after = (
        _means(activations(model, layer, _network_image(picture, start))[1])[unit].item()
        for picture in pictures
    )
    return Outcome(layer, tuple(given.shape), tuple(seen.shape), unit, before, after, pictures)


def activations(model: nn.Module, layer: str, image: Tensor) -> tuple[Tensor, Tensor]:
    """Return what a layer gives for an image, and the same as objectives get it.

    Args:
        model: the network.
        layer: the address.
        image: (B, C, *spatial), in [0, 1].
    """
    with frozen_eval(model), torch.no_grad(), Activations(model, [layer]) as T:
        T.run(spec_of(model).preprocess(image))
        return T(layer), T.channels_first(layer)


def _start_image(shape: tuple[int, ...]) -> param.Image:
    channels, *depth, height, width = shape
    return param.image(width, height, channels=channels, depth=depth[0] if depth else None)


def _means(acts: Tensor) -> Tensor:
    """Return the mean over positions of every channel of the first image, (C,)."""
    return acts[0].flatten(1).mean(dim=1) if acts.dim() > 2 else acts[0]


def _network_image(picture: np.ndarray, like: Tensor) -> Tensor:
    return torch.from_numpy(np.moveaxis(picture, -1, 1).copy()).to(like)


def rows(architecture: Architecture) -> Iterator[list[str]]:
    """Yield the lines of the table about an architecture; a layer that fails has the reason."""
    logger.info("%s", architecture)
    model = architecture.model()
    for layer in architecture.layers:
        try:
            found = outcome(architecture, model, layer)
        except LucentError as error:
            reason = str(error).splitlines()[0]
            yield [architecture.name, f"`{layer}`", reason, *[""] * (len(HEADER) - 3)]
            continue
        yield [
            architecture.name,
            f"`{layer}`",
            *(" x ".join(map(str, shape)) for shape in (found.gives, found.gets[1:])),
            str(found.unit),
            f"{found.before:.4g}",
            f"{found.after:.4g}",
        ]


def page(architectures: Sequence[Architecture], refused: Sequence[Architecture]) -> str:
    """Return docs/models.md.

    Args:
        architectures: of the tables.
        refused: those with layers that are refused, of the last table.
    """
    parts = [_INTRODUCTION.format(n=len(architectures), steps=STEPS, versions=_versions())]
    for source in dict.fromkeys(each.source for each in architectures):
        own = [each for each in architectures if each.source == source]
        lines = [row for each in own for row in rows(each)]
        parts.append(f"## {source}\n\n{table(HEADER, lines, markdown=True)}")
        if remarks := [f"- {each.name}: {each.remark}." for each in own if each.remark]:
            parts.append("\n".join(remarks))
    reasons = [[str(each), f"`{layer}`", each.remark] for each in refused for layer in each.layers]
    parts.append(_LIMITS + table(("architecture", "layer", "reason"), reasons, markdown=True))
    return "\n\n".join(parts) + "\n"


_INTRODUCTION = """\
# Architectures

{n} architectures with random weights, three layers of each. A row tells what the layer gives for a
batch of one, what objectives get of each image (channels first), which unit was rendered (the
strongest one on the start image), and its mean over positions before and after {steps} steps of
`render_vis` without transforms. Configurations are small where the library lets one choose. Batch
norms have the statistics of a few images, because signals would die on the way through random
weights.

Written by `python -m benchmarks.models --markdown` with {versions}.
`tests/test_models.py` checks the same, and that the network comes back as it was."""

_LIMITS = """\
## What is refused

Of these layers it cannot be told which number belongs to which channel and position. The error asks
for `layout=`, which helps where each axis means one thing.

"""


def _versions() -> str:
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return f"Python {platform.python_version()}, {packages}"


def truncation(steps: int, repeats: int) -> str:
    """Return how long a forward pass takes that stops at a layer, and a whole one.

    The weights are frozen in both and the image wants a gradient, as in a step of a run.
    """
    workload = WORKLOADS[TRUNCATED]
    model = workload.build()
    image = torch.rand(1, 3, workload.seen, workload.seen, requires_grad=True)
    with frozen_eval(model), Activations(model, [workload.layer]) as T:
        ways = {"truncated": lambda: T.run(image), "whole": lambda: model(image)}
        samples = race(
            {name: partial(_timed, way) for name, way in ways.items()}, steps=steps, repeats=repeats
        )
    results = {name: Result(own) for name, own in samples.items()}
    lines = [[name, spread(result.values("cpu"))] for name, result in results.items()]
    ratio = results["whole"].relative_to(results["truncated"], "cpu")
    text = table((TRUNCATED, "CPU ms/pass"), lines, markdown=False)
    return f"{text}\nwhole / truncated, median of the turns: {ratio:.2f}"


def _timed(way: Callable[[], object], steps: int) -> Sample:
    watch = Stopwatch(torch.device("cpu"))
    watch.start()
    for _ in range(steps):
        way()
    watch.stop()
    return watch.sample(steps)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Return the command line's options."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.models", description=__doc__)
    add = parser.add_argument
    add("--only", default="", metavar="TEXT", help="architectures with this in their names")
    add("--markdown", action="store_true", help=f"write {PAGE.name}, of all architectures")
    add("--truncation", action="store_true", help="instead: whole against truncated passes")
    add("--steps", type=int, default=3, metavar="N", help="passes in each turn")
    add("--repeats", type=int, default=9, metavar="N", help="turns")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    """Print or write what the options ask for."""
    options = parse(arguments)
    torch.set_num_threads(1)
    logging.basicConfig(stream=sys.stderr, format="%(message)s")
    logger.setLevel(logging.INFO)
    if options.truncation:
        print(machine())
        print(truncation(options.steps, options.repeats))
    elif options.markdown:
        PAGE.write_text(page(ARCHITECTURES, REFUSED), encoding="utf-8")
    else:
        chosen = [each for each in ARCHITECTURES if options.only in str(each)]
        lines = [row for each in chosen for row in rows(each)]
        print(table(HEADER, lines, markdown=False))


if __name__ == "__main__":
    main()
