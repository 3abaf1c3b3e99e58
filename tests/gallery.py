"""Draw composite figures of Lucid's notebooks with SqueezeNet: `python -m tests.gallery OUT`.

The folder that LUCENT_TEST_DATA names has the network and the photograph. Each figure is a
function that gives captioned pictures; its docstring says what one is to see, and test_gallery.py
checks it.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lucent.misc.io import load, save
from lucent.misc.io.pictures import contact_sheet
from lucent.optvis import objectives, param, transform
from lucent.optvis.objectives import Objective, channel
from lucent.optvis.render import render_vis
from lucent.weights import read_state_dict

#: Of most pictures, and of those that begin with a photograph, in pixels.
SIDE, PHOTO_SIDE = 128, 160
#: Units whose pictures are easy to tell apart.
SCALES, BERRIES = ("features.7", 231), ("features.7", 143)
ARCHES, TENTS, SHELLS = ("features.9", 208), ("features.9", 272), ("features.9", 112)

Pictures = dict[str, np.ndarray]


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

    def run(
        self,
        objective: Objective,
        image: Callable[[], Any] | None = None,
        *,
        size: int = SIDE,
        **options: Any,
    ) -> list[np.ndarray]:
        """Return the pictures of a run, (B, H, W, C), one for each threshold."""
        given = {"thresholds": (self.steps,), "fixed_image_size": size, "seed": 0, **options}
        return render_vis(
            self.network,
            objective,
            image or (lambda: param.image(size)),
            progress=False,
            show_image=False,
            **given,
        )

    def render(self, *args: Any, **options: Any) -> np.ndarray:
        """Return the last pictures of a run, (B, H, W, C)."""
        return self.run(*args, **options)[-1]

    def square_photo(self, size: int) -> Tensor:
        """Return the photograph as (1, 3, size, size)."""
        return nn.functional.interpolate(self.photo, (size, size), mode="bilinear", antialias=True)


def tutorial(stage: Stage) -> Pictures:
    """A unit, another one, the sum of both; with fewer transforms; with pixels."""

    def picture(objective, image=None, **options):
        return stage.render(objective, image, **options)[0]

    strong = [
        transform.pad(16),
        transform.jitter(8),
        transform.random_scale([n / 100 for n in range(80, 120)]),
        transform.random_rotate([*range(-10, 10), *range(-5, 5), *10 * list(range(-2, 2))]),
        transform.jitter(2),
    ]
    scales, berries = channel(*SCALES), channel(*BERRIES)
    return {
        "scales": picture(scales),
        "berries": picture(berries),
        "scales + berries": picture(scales + berries),
        "pixels": picture(scales, lambda: param.image(SIDE, fft=False, decorrelate=False)),
        "no transforms": picture(scales, transforms=[]),
        "jitter only": picture(scales, transforms=[transform.jitter(2)]),
        "strong transforms": picture(scales, transforms=strong),
    }


def negative_neurons(stage: Stage) -> Pictures:
    """What a unit dislikes, to the left of what it likes; measured before the ReLU."""
    pictures = {}
    for layer, unit in (("features.9.expand3x3", 16), ("features.9.expand3x3", 80)):
        objective = channel(layer, unit, batch=1) - channel(layer, unit, batch=0)
        pair = stage.render(objective, lambda: param.image(SIDE, batch=2))
        pictures |= {f"-{layer}:{unit}": pair[0], f"+{layer}:{unit}": pair[1]}
    return pictures


def diversity(stage: Stage) -> Pictures:
    """Four pictures of one unit, alone and with the term that pushes them apart."""
    layer, unit = "features.10", 25
    terms = {"alone": channel(layer, unit)}
    terms["diverse"] = terms["alone"] - 60 * objectives.diversity(layer)
    pictures = {}
    for name, objective in terms.items():
        batch = stage.render(objective, lambda: param.image(SIDE, batch=4))
        pictures |= {f"{name} {n}": picture for n, picture in enumerate(batch)}
    return pictures


def interaction(stage: Stage) -> Pictures:
    """Two units of different layers, each alone and both at once; a random direction."""
    direction = torch.randn(192, generator=torch.Generator().manual_seed(0))
    wanted = {
        "arches": channel(*ARCHES, batch=0),
        "berries": channel(*BERRIES, batch=1),
        "arches + berries": channel(*ARCHES, batch=2) + channel(*BERRIES, batch=2),
        "random direction": objectives.direction(
            "features.9.expand3x3", direction, batch=3, cossim_pow=0
        ),
    }
    objective = Objective.sum(wanted.values())
    batch = stage.render(objective, lambda: param.image(SIDE, batch=4))
    return dict(zip(wanted, batch, strict=True))


def shared_images(batch: int, size: int) -> param.Image:
    """Images of one batch that share what is coarse, and blend from the first to the last."""
    shape = (batch, 3, size, size)
    shared = [(1, 2), (1, 4), (1, 8), (2, 8), (1, 16), (2, 16)]
    parts = [param.lowres_tensor(shape, (n, 3, size // k, size // k)) for n, k in shared]
    return param.to_valid_rgb(param.summed([param.fft_image(shape), *parts]), decorrelate=True)


def aligned_interpolation(stage: Stage) -> Pictures:
    """From tents to arches in six pictures: what they share stays where it is."""
    count = 6
    # Arches are about 2.5 times as active as tents, and would fill all pictures but the first.
    objective = Objective.sum(
        2.5 * (1 - n / (count - 1)) * channel(*TENTS, batch=n)
        + n / (count - 1) * channel(*ARCHES, batch=n)
        for n in range(count)
    )
    pictures = {}
    for name, image in (
        ("aligned", lambda: shared_images(count, SIDE)),
        ("independent", lambda: param.image(SIDE, batch=count)),
    ):
        # The parts add up, so that each learns at a smaller rate.
        batch = stage.render(
            objective, image, optimizer=lambda params: torch.optim.Adam(params, lr=0.02)
        )
        pictures |= {f"{name} {n}/{count - 1}": picture for n, picture in enumerate(batch)}
    return pictures


def over(picture: np.ndarray, background: np.ndarray | float) -> np.ndarray:
    """Return a picture (H, W, 4) in front of a background."""
    colour, alpha = picture[..., :3], picture[..., 3:]
    return (colour * alpha + (1 - alpha) * background).astype(np.float32)


def transparency(stage: Stage) -> Pictures:
    """Units without the ground that they do not need: on black, white, a board; their alpha."""
    rows, columns = np.indices((SIDE, SIDE)) // 8 % 2
    board = (0.4 + 0.2 * (rows ^ columns))[..., None]
    transforms = [transform.collapse_alpha_random(), *transform.standard_transforms]
    pictures, thresholds = {}, (2 * stage.steps,)  # what is nearly transparent takes long to vanish
    for name, (layer, unit) in (("berries", BERRIES), ("arches", ARCHES)):
        (rgba,) = stage.render(
            objectives.product(objectives.neuron(layer, unit), objectives.transparency()),
            lambda: param.image(SIDE, alpha=True),
            transforms=transforms,
            thresholds=thresholds,
        )
        pictures |= {
            f"{name} on black": over(rgba, 0.0),
            f"{name} on white": over(rgba, 1.0),
            f"{name} on a board": over(rgba, board),
            f"alpha of {name}": rgba[..., 3],
        }
    return pictures


def xy2rgb(stage: Stage) -> Pictures:
    """Units drawn by networks of coordinates: sharper with the steps, at any size, in between."""
    units = {"arches": ARCHES, "shells": SHELLS}
    made: list[param.CPPN] = []

    def image() -> param.CPPN:
        made.append(param.cppn(SIDE, batch=len(units)))
        return made[0]

    early, late = stage.run(
        Objective.sum(channel(*unit, batch=n) for n, unit in enumerate(units.values())),
        image,
        thresholds=(stage.steps // 4, 2 * stage.steps),
        transforms=[],
        optimizer=lambda params: torch.optim.Adam(params, lr=0.005),
        seed=1,
    )
    pictures = {f"{name}, early": picture for name, picture in zip(units, early, strict=True)}
    pictures |= {f"{name}, late": picture for name, picture in zip(units, late, strict=True)}
    with torch.no_grad():
        large = made[0].resized(4 * SIDE)()[0]
    corner = large[:, 2 * SIDE : 3 * SIDE, SIDE : 2 * SIDE]
    return {**pictures, "a part of arches at 4x": corner.permute(1, 2, 0).numpy()}


CARICATURED = ("features.3", "features.5", "features.7", "features.9", "features.12")


def caricature(stage: Stage) -> Pictures:
    """What layers of growing depth see in a photograph, exaggerated."""
    photo = stage.square_photo(PHOTO_SIDE)
    objective = Objective.sum(
        objectives.dot_compare(layer, batch=n + 1, cossim_pow=1)
        for n, layer in enumerate(CARICATURED)
    )
    batch = stage.render(
        objective,
        lambda: param.stack([photo, param.image(PHOTO_SIDE, batch=len(CARICATURED))]),
        size=PHOTO_SIDE,
    )
    return dict(zip(("photograph", *CARICATURED), batch, strict=True))


#: About one over the difference between the Gram matrices of the photograph and of noise, so that
#: every layer counts the same.
STYLE_WEIGHTS = {
    "features.1": 1 / 400,
    "features.3": 1 / 6000,
    "features.4": 1 / 24000,
    "features.5": 1 / 12000,
}


def style_transfer_2d(stage: Stage) -> Pictures:
    """A photograph drawn with the strokes of another picture, and those strokes alone.

    Without transforms there are dots and holes, with plain pixels of plain colours fine noise and
    dull colours; in SqueezeNet the difference is small.
    """
    content = stage.square_photo(PHOTO_SIDE)
    style = stage.render(channel(*SCALES), lambda: param.image(PHOTO_SIDE), size=PHOTO_SIDE)
    strokes = Objective.sum(
        weight
        * objectives.activation_difference(layer, transform_f=objectives.gram, difference_to=2)
        for layer, weight in STYLE_WEIGHTS.items()
    )
    both = -0.035 * objectives.activation_difference("features.5", difference_to=1) - strokes

    def picture(objective, transforms=None, **description):
        def batch():
            return param.stack([param.image(PHOTO_SIDE, **description), content, style])

        return stage.render(objective, batch, size=PHOTO_SIDE, transforms=transforms)[0]

    return {
        "content": content[0].permute(1, 2, 0).numpy(),
        "style": style[0],
        "both": picture(both),
        "style only": picture(-1 * strokes),
        "no transforms": picture(both, transforms=[]),
        "plain pixels": picture(both, fft=False, decorrelate=False),
    }


FIGURES: dict[str, Callable[[Stage], Pictures]] = {
    figure.__name__: figure
    for figure in (
        tutorial,
        negative_neurons,
        diversity,
        interaction,
        aligned_interpolation,
        transparency,
        xy2rgb,
        caricature,
        style_transfer_2d,
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
        pictures = FIGURES[name](stage)
        columns = 6 if len(pictures) == 12 else 4
        sheet = contact_sheet([*pictures.values()], [*pictures], columns=columns)
        save(sheet, options.out / f"{name}.png")


if __name__ == "__main__":
    main()
