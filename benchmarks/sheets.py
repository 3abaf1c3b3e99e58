"""Draw the sheets of docs/pictures.

All class logits of SynthNet, and channels of its middle layers; the logits of SynthViT, each with
the presets "plain" and "vit"; with the weights of torchvision's
SqueezeNet 1.0 (`--squeezenet FILE`) also two units at the image's own size and at the network's.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks.quality import CLASSES, SETTINGS, render
from lucent.misc.io import save
from lucent.misc.io.pictures import contact_sheet, to_pil
from lucent.modelzoo import load
from lucent.modelzoo.synthnet import LABELS, synthnet
from lucent.modelzoo.synthnet.model import MIXED
from lucent.modelzoo.synthvit import synthvit
from lucent.optvis.render import render_vis

SIDE = 120  # width of the pictures on a sheet, in pixels
MIDDLE_LAYERS = ("mixed3b", "mixed4a")
NATIVE_UNITS = ("features.9:40", "features.10:66")  # of SqueezeNet 1.0: eyes, faces of dogs


def spread(n_channels: int, count: int = 24) -> list[int]:
    """Return channels at even distances, so that every branch of a block is among them."""
    return list(range(0, n_channels, n_channels // count))[:count]


def write_sheet(path: Path, pictures: np.ndarray, captions: list[str], columns: int) -> None:
    """Write captioned pictures as a PNG of 256 colours, which keeps it small enough to ship."""
    sheet = to_pil(contact_sheet(pictures, captions, columns=columns, width=SIDE))
    save(sheet.quantize(256, dither=Image.Dither.NONE), path, optimize=True)


def native_size(weights: Path, *, steps: int, seed: int) -> np.ndarray:
    """Return pictures of the units, as the network is shown 224 px and the image's own 128.

    The captions are medians of the CPU time of a step on one thread; sizes take turns.
    """
    model = load("squeezenet1_0", weights=weights)
    torch.set_num_threads(1)
    pictures, captions = [], []
    for unit in NATIVE_UNITS:
        for size, side in ((None, 224), ("native", 128)):
            clock: list[float] = []
            images = render_vis(
                model,
                unit,
                thresholds=(steps,),
                seed=seed,
                fixed_image_size=size,
                callbacks=[lambda _, clock=clock: clock.append(time.process_time())],
                progress=False,
                show_image=False,
            )
            pictures.extend(images[-1])
            step = statistics.median(np.diff(clock))
            captions.append(f"{unit} seen at {side} px, {1000 * step:.0f} ms a step")
    return contact_sheet(pictures, captions, columns=4, width=256)


def compared(*, columns: int, **how: int) -> np.ndarray:
    """Return pictures of SynthViT's logits: a row of them plain, below it the same with "vit"."""
    presets = ("plain", "vit")
    renders = [render(synthvit(), "labels", CLASSES, setting=SETTINGS[p], **how) for p in presets]
    order = [
        (preset, number)
        for start in range(0, len(CLASSES), columns)
        for preset in range(len(presets))
        for number in CLASSES[start : start + columns]
    ]
    pictures = np.stack([renders[preset][number] for preset, number in order])
    captions = ["preset vit" if preset else LABELS[number] for preset, number in order]
    return contact_sheet(pictures, captions, columns=columns, width=SIDE)


def main(arguments: list[str] | None = None) -> None:
    """Render with the default setting and write the sheets."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/pictures"))
    parser.add_argument("--steps", type=int, default=256)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=("logits", "channels", "presets", "native"))
    parser.add_argument("--squeezenet", type=Path, metavar="FILE", help="weights, for native_size")
    options = parser.parse_args(arguments)
    model, setting = synthnet(), SETTINGS["plain"]
    options.out.mkdir(parents=True, exist_ok=True)
    how = {"setting": setting, "steps": options.steps, "seed": options.seed}
    if options.only in (None, "logits"):
        pictures = render(model, "labels", CLASSES, **how)
        write_sheet(options.out / "synthnet_logits.png", pictures, list(LABELS), columns=7)
    if options.only in (None, "channels"):
        units = {layer: spread(MIXED[layer].total) for layer in MIDDLE_LAYERS}
        rendered = [render(model, layer, units[layer], **how) for layer in MIDDLE_LAYERS]
        pictures = np.concatenate(rendered)
        captions = [f"{layer}:{unit}" for layer in MIDDLE_LAYERS for unit in units[layer]]
        write_sheet(options.out / "synthnet_channels.png", pictures, captions, columns=8)
    if options.only in (None, "presets"):
        sheet = compared(columns=7, steps=options.steps, seed=options.seed)
        save(sheet, options.out / "synthvit_presets.jpg", quality=80)
    if options.squeezenet and options.only in (None, "native"):
        sheet = native_size(options.squeezenet, steps=options.steps, seed=options.seed)
        save(sheet, options.out / "native_size.jpg", quality=80)
    elif options.only == "native":
        sys.exit("--only native needs --squeezenet FILE.")


if __name__ == "__main__":
    main()
