"""Draw the recipes with SqueezeNet on a photograph: `python -m tests.gallery OUT`.

The folder that LUCENT_TEST_DATA names has the network and the photograph. Each figure is a recipe
with settings that suit this network; test_gallery.py checks what it shows.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from lucent import recipes
from lucent.attribution import logit
from lucent.misc.io import load, save
from lucent.optvis.objectives import channel, neuron
from lucent.recipes import Result
from lucent.weights import read_state_dict

#: Of most pictures, and of those that begin with a photograph, in pixels.
SIDE, PHOTO_SIDE = 128, 160
#: Units whose pictures are easy to tell apart.
SCALES, BERRIES = ("features.7", 231), ("features.7", 143)
ARCHES, TENTS, SHELLS = ("features.9", 208), ("features.9", 272), ("features.9", 112)
CARICATURED = ("features.3", "features.5", "features.7", "features.9", "features.12")
#: The layer of the building blocks, with 13 x 13 positions.
BLOCKS = "features.12"


@dataclass(frozen=True)
class Stage:
    """What the figures are made of.

    Attributes:
        network: SqueezeNet, in eval mode.
        photo: (1, 3, H, W) in [0, 1].
        steps: of a run.
    """

    network: nn.Module
    photo: Tensor
    steps: int = 96

    @cached_property
    def square(self) -> np.ndarray:
        """The photograph, (H, W, 3), for recipes that bring it to a size."""
        return self.photo[0].movedim(0, -1).numpy()


def tutorial(stage: Stage) -> recipes.Icons:
    """A unit, another one, the sum of both."""
    scales, berries = channel(*SCALES), channel(*BERRIES)
    wanted = [scales, berries, scales + berries]
    return recipes.render_icons(stage.network, wanted, size=SIDE, steps=stage.steps)


def regularization(stage: Stage) -> recipes.Regularization:
    """A unit without anything that keeps its picture natural, and with more and more of it."""
    given = {"thresholds": (stage.steps // 4, stage.steps), "size": SIDE}
    return recipes.regularization(stage.network, channel(*SCALES), **given)


def negative_neurons(stage: Stage) -> recipes.NegativeNeurons:
    """What units dislike, to the left of what they like; measured before the ReLU."""
    units = ["features.9.expand3x3:16", "features.9.expand3x3:80"]
    return recipes.negative_neurons(stage.network, units, size=SIDE, steps=stage.steps)


def diversity(stage: Stage) -> recipes.Diversity:
    """Four pictures of one unit, alone and with the term that pushes them apart."""
    return recipes.diversity(stage.network, "features.10:25", size=SIDE, steps=stage.steps)


def interaction(stage: Stage) -> recipes.Interaction:
    """Two units of different layers, each alone and both at once."""
    units = [channel(*ARCHES), channel(*BERRIES)]
    return recipes.neuron_interaction(stage.network, units, size=SIDE, steps=stage.steps)


def aligned_interpolation(stage: Stage) -> recipes.Interpolation:
    """From tents to arches in six pictures: what they share stays where it is."""
    given = {"size": SIDE, "steps": stage.steps}
    return recipes.interpolation(stage.network, channel(*TENTS), channel(*ARCHES), **given)


def transparency(stage: Stage) -> recipes.Transparency:
    """A unit without the ground that it does not need."""
    # What is nearly transparent takes long to vanish.
    given = {"size": SIDE, "steps": 2 * stage.steps}
    return recipes.transparency(stage.network, neuron(*BERRIES), **given)


def xy2rgb(stage: Stage) -> recipes.CPPNDrawing:
    """A unit drawn by a network of coordinates: sharper with the steps."""
    steps = (stage.steps // 4, 2 * stage.steps)
    return recipes.cppn_drawing(stage.network, channel(*ARCHES), size=SIDE, steps=steps, seed=1)


def caricature(stage: Stage) -> recipes.Caricature:
    """What layers of growing depth see in a photograph, exaggerated."""
    given = {"size": PHOTO_SIDE, "steps": stage.steps}
    return recipes.caricature(stage.network, stage.square, CARICATURED, **given)


def style_transfer_2d(stage: Stage) -> recipes.StyleTransfer:
    """A photograph drawn with the strokes of a unit's picture."""
    given = {"size": PHOTO_SIDE, "steps": stage.steps}
    style = recipes.render_icons(stage.network, [channel(*SCALES)], **given).images[0]
    return recipes.style_transfer(stage.network, stage.square, style, **given)


def semantic_dictionary(stage: Stage) -> recipes.SemanticDictionary:
    """What each position of the photograph excites most."""
    given = {"count": 2, "size": 48, "steps": stage.steps // 2}
    return recipes.semantic_dictionary(stage.network, stage.square, BLOCKS, **given)


def activation_grid(stage: Stage) -> recipes.ActivationGrid:
    """What the layer sees at each position of the photograph."""
    given = {"size": 48, "steps": stage.steps // 2}
    return recipes.activation_grid(stage.network, stage.square, BLOCKS, **given)


def neuron_groups(stage: Stage) -> recipes.NeuronGroups:
    """Groups of neurons: where they are active, and what they look for."""
    return recipes.neuron_groups(stage.network, stage.square, BLOCKS, steps=stage.steps)


def spatial_attribution(stage: Stage) -> recipes.SpatialAttribution:
    """What speaks for the dog, and what for the cat."""
    scores = {"dog, not cat": logit("golden retriever", minus="tabby")}
    return recipes.spatial_attribution(stage.network, stage.square, scores, BLOCKS)


FIGURES: dict[str, Callable[[Stage], Result]] = {
    figure.__name__: figure
    for figure in (
        tutorial,
        regularization,
        negative_neurons,
        diversity,
        interaction,
        aligned_interpolation,
        transparency,
        xy2rgb,
        caricature,
        style_transfer_2d,
        semantic_dictionary,
        activation_grid,
        neuron_groups,
        spatial_attribution,
    )
}


def load_stage(folder: Path, steps: int) -> Stage:
    """Read the network and the photograph of a folder with models/ and images/."""
    from torchvision.models import squeezenet1_0

    network = squeezenet1_0()
    weights = read_state_dict(folder / "models" / "squeezenet1_0_imagenet.pth")
    network.load_state_dict({name: tensor.float() for name, tensor in weights.items()})
    photo = torch.from_numpy(load(folder / "images" / "dog_cat.jpg")).movedim(-1, 0)
    return Stage(network.eval(), photo[None], steps)


def main(arguments: Sequence[str] | None = None) -> None:
    """Write one PNG per figure."""
    parser = argparse.ArgumentParser(prog="python -m tests.gallery", description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--only", choices=FIGURES)
    parser.add_argument("--steps", type=int, default=Stage.steps)
    options = parser.parse_args(arguments)
    if not (folder := os.environ.get("LUCENT_TEST_DATA")):
        parser.error("LUCENT_TEST_DATA has to name a folder with models/ and images/")
    stage = load_stage(Path(folder), options.steps)
    for name in [options.only] if options.only else FIGURES:
        save(FIGURES[name](stage).sheet(), options.out / f"{name}.png")


if __name__ == "__main__":
    main()
