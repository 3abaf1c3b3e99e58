"""Do pictures show what a unit detects? Known-truth scores of rendering settings, as one table.

Every class logit of SynthNet, or of the vision transformer SynthViT, is rendered; a second network,
the judge, which never took part, names the pictures as they are. That number separates good
settings from bad ones. The network's own activation does not: settings whose pictures show nothing
reach the highest ones.

SynthNet is so robust that its pictures are readable without transforms, too. That the scores can
fail shows on the judge, an ordinary network: `--swap` renders the judge and asks SynthNet.

`--network synthvit` compares the presets "plain" and "vit". Times are of the processor, for a step
of one image.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lucent.modelzoo.spec import ModelSpec, spec_of
from lucent.modelzoo.synthnet import LABELS, SPEC, SynthNet, synthnet
from lucent.modelzoo.synthnet.data import GEOMETRY, draw_all
from lucent.modelzoo.synthnet.truth import (
    high_frequency_share,
    hue_match,
    orientation_distance,
    strongest_wave,
)
from lucent.modelzoo.synthvit import synthvit
from lucent.optvis import param
from lucent.optvis.objectives import Objective, channel
from lucent.optvis.param import Image
from lucent.optvis.render import default_image, render_vis
from lucent.optvis.transform import compose, standard_transforms
from lucent.optvis.transform.base import Transform

JUDGE = Path(__file__).with_name("synthnet_judge.pth")
# Of the real pictures: neither network was trained or tested with images of this seed.
REFERENCE_SEED = 4242
SIZE = SPEC.image_size or 96
CLASSES = range(len(LABELS))
NETWORKS: dict[str, Callable[[], nn.Module]] = {"synthnet": synthnet, "synthvit": synthvit}


@dataclass(frozen=True)
class Setting:
    """A way to render a batch: what is optimised, and the transforms (None: the preset's)."""

    image: Callable[[ModelSpec, int], Image]
    transforms: Sequence[Transform] | None = None
    preset: str = "plain"


def spec_image(spec: ModelSpec, batch: int) -> Image:
    """Return the images that `render_vis` makes of the spec when it is given none."""
    return default_image(spec, batch=batch)


def lucid_image(_: ModelSpec, batch: int) -> Image:
    """Return Lucid's standard images: natural colours, amplitudes that fall with 1/f."""
    return param.image(SIZE, batch=batch)


def pixel_image(_: ModelSpec, batch: int) -> Image:
    """Return images of independent pixels and colours."""
    return param.image(SIZE, batch=batch, fft=False, decorrelate=False)


def one_by_one(image: Tensor) -> Tensor:
    """Apply the standard transforms, each sampling for itself: a run cannot fuse a function."""
    return compose(standard_transforms)(image)


SETTINGS = {
    "plain": Setting(spec_image),
    "lucid": Setting(lucid_image),
    "pixels": Setting(pixel_image),
    "untransformed": Setting(spec_image, transforms=()),
    "sequential": Setting(spec_image, transforms=(one_by_one,)),
    "vit": Setting(spec_image, preset="vit"),
}
#: Those that are compared of each network where none are named.
COMPARED = {
    "synthnet": ("plain", "lucid", "pixels", "untransformed", "sequential"),
    "synthvit": ("plain", "vit"),
}


@dataclass(frozen=True)
class Reference:
    """What real images do to the network that is rendered."""

    pictures: np.ndarray = field(repr=False)
    labels: np.ndarray = field(repr=False)
    best_logit: Tensor

    @classmethod
    def of(cls, model: nn.Module, *, count: int = 2000) -> Reference:
        """Draw the images and find the highest logit of every class among them."""
        scenes = draw_all(-(-count // len(LABELS)), REFERENCE_SEED, size=SIZE)
        pictures = np.moveaxis(scenes.images[:count], 1, -1) / np.float32(255)
        return cls(pictures, scenes.labels[:count], logits(model, pictures).amax(dim=0))

    def one_per_class(self, number: int) -> np.ndarray:
        """Return the picture of every class that comes at place `number`."""
        rows = [np.flatnonzero(self.labels == label)[number] for label in CLASSES]
        return self.pictures[rows]


@torch.no_grad()
def logits(model: nn.Module, pictures: np.ndarray) -> Tensor:
    """Return the class logits (B, 28) of pictures (B, H, W, 3) in [0, 1]."""
    images = torch.from_numpy(pictures).float().movedim(-1, 1)
    return torch.cat([model(SPEC.preprocess(part)) for part in images.split(100)])


def render_logits(model: nn.Module, setting: Setting, *, steps: int, seed: int) -> np.ndarray:
    """Render all class logits as one batch; return pictures (28, H, W, 3)."""
    return render(model, "labels", CLASSES, setting=setting, steps=steps, seed=seed)


def render(
    model: nn.Module,
    layer: str,
    channels: Sequence[int],
    *,
    setting: Setting,
    steps: int,
    seed: int,
) -> np.ndarray:
    """Render channels of a layer as one batch; return pictures (B, H, W, 3)."""
    terms = [channel(layer, unit, batch=row) for row, unit in enumerate(channels)]
    return render_vis(
        model,
        Objective.sum(terms),
        partial(setting.image, spec_of(model), len(terms)),
        transforms=setting.transforms,
        preset=setting.preset,
        thresholds=(steps,),
        seed=seed,
        show_image=False,
        progress=False,
    )[-1]


def scores(
    pictures: np.ndarray, model: nn.Module, judge: nn.Module, reference: Reference
) -> dict[str, float]:
    """Return the scores of one picture per class, in the order of `LABELS`."""
    diagonal = torch.tensor(CLASSES)
    own, seen = logits(model, pictures), logits(judge, pictures).softmax(dim=1)
    right = seen.argmax(dim=1) == diagonal
    return {
        "judge p": seen.diagonal().mean().item(),
        "judge top-1": right.float().mean().item(),
        "HF share": float(high_frequency_share(pictures).mean()),
        **geometry_scores(pictures),
        "own p": own.softmax(dim=1).diagonal().mean().item(),
        "activation": (own.diagonal() / reference.best_logit).median().item(),
    }


def geometry_scores(pictures: np.ndarray) -> dict[str, float]:
    """Return how far orientation, wavelength and hues are from those of the striped classes."""
    angles, ratios, hues = [], [], []
    for name, truth in GEOMETRY.items():
        picture = pictures[LABELS.index(name)]
        wave = strongest_wave(picture)
        angles.append(float(orientation_distance(wave.orientation, truth.orientation)))
        # The ratio to the nearest wavelength of the class: 1 inside its range.
        nearest = np.clip(wave.wavelength, *truth.wavelength_at(len(picture)))
        ratios.append(wave.wavelength / nearest)
        if truth.hues is not None:
            hues.append(hue_match(picture, truth.hues))
    errors, shares = zip(*hues, strict=True)
    return {
        "angle": float(np.mean(angles)),
        "angle max": max(angles),
        "wavelength": float(np.exp(np.abs(np.log(ratios)).mean())),
        "hue": float(np.mean(errors)),
        "rarer hue": min(shares),
    }


def kernel_orientation_error(model: SynthNet, *, steps: int, seed: int) -> dict[str, float]:
    """Return how far renders of `conv1` lie from the Fourier peaks of its kernels, in degrees.

    The layer is a convolution and a ReLU, so the picture that excites a channel most, when nothing
    is transformed, is the wave of its kernel. Kernels without a clear orientation are left out.
    """
    weights = model.conv1.conv.weight.detach().numpy()
    kernels = np.zeros((len(weights), SIZE, SIZE, 3))
    kernels[:, : weights.shape[2], : weights.shape[3]] = np.moveaxis(weights, 1, -1)
    # The window of strongest_wave fades the border; a kernel belongs in the middle.
    kernels = np.roll(kernels, SIZE // 2 - weights.shape[2] // 2, axis=(1, 2))
    channels = range(len(weights))
    setting = SETTINGS["untransformed"]
    pictures = render(model, "conv1", channels, setting=setting, steps=steps, seed=seed)
    errors = [
        float(orientation_distance(found.orientation, truth.orientation))
        for found, truth in zip(
            map(strongest_wave, pictures), map(strongest_wave, kernels), strict=True
        )
        if truth.coherence > 0.4
    ]
    return {"kernels": len(errors), "median": float(np.median(errors)), "max": max(errors)}


def mean_scores(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the mean of every score over the seeds; of a score called max, the largest."""
    return {
        key: float((np.max if key.endswith("max") else np.mean)([row[key] for row in rows]))
        for key in rows[0]
    }


def table(rows: Mapping[str, Mapping[str, float]]) -> str:
    """Return rows of scores as aligned text."""
    columns = list(next(iter(rows.values())))
    width = max(map(len, rows))
    lines = [" " * width + "".join(f"{column:>13}" for column in columns)]
    for name, row in rows.items():
        lines.append(f"{name:<{width}}" + "".join(f"{row[column]:13.3f}" for column in columns))
    return "\n".join(lines)


def load_judge() -> SynthNet:
    """Return the judge: the same architecture; other seed, other data, no adversarial training."""
    return synthnet(weights=JUDGE)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Return the command line's options."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", choices=NETWORKS, default="synthnet")
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, help="default: those compared")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=256)
    parser.add_argument("--swap", action="store_true", help="render the judge, ask SynthNet")
    return parser.parse_args(arguments)


def measured(
    model: nn.Module, judge: nn.Module, reference: Reference, setting: Setting, *, options: Any
) -> dict[str, float]:
    """Return the scores of a setting, means over the seeds."""
    rows = []
    for seed in options.seeds:
        start = time.process_time()
        pictures = render_logits(model, setting, steps=options.steps, seed=seed)
        spent = 1000 * (time.process_time() - start) / (options.steps * len(pictures))
        rows.append({**scores(pictures, model, judge, reference), "ms a step": spent})
    return mean_scores(rows)


def main(arguments: list[str] | None = None) -> None:
    """Print the table."""
    options = parse(arguments)
    model, judge = NETWORKS[options.network](), load_judge()
    if options.swap:
        model, judge = judge, model
    reference = Reference.of(model)
    real = [
        scores(reference.one_per_class(seed), model, judge, reference) for seed in options.seeds
    ]
    rows = {"real images": {**mean_scores(real), "ms a step": float("nan")}}
    for name in options.settings or COMPARED[options.network]:
        rows[name] = measured(model, judge, reference, SETTINGS[name], options=options)
    print(table(rows))
    if isinstance(model, SynthNet):
        kernels = kernel_orientation_error(model, steps=options.steps // 2, seed=options.seeds[0])
        print("conv1 against its kernels, degrees:", *(f"{k} {v:.1f}" for k, v in kernels.items()))


if __name__ == "__main__":
    main()
