"""Draw the sheets of docs/pictures: all class logits of SynthNet, and channels of middle layers."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.quality import CLASSES, SETTINGS, render
from lucent.misc.io import save
from lucent.misc.io.pictures import contact_sheet, to_pil
from lucent.modelzoo.synthnet import LABELS, synthnet
from lucent.modelzoo.synthnet.model import MIXED

SIDE = 120  # width of the pictures on a sheet, in pixels
MIDDLE_LAYERS = ("mixed3b", "mixed4a")


def spread(n_channels: int, count: int = 24) -> list[int]:
    """Return channels at even distances, so that every branch of a block is among them."""
    return list(range(0, n_channels, n_channels // count))[:count]


def write_sheet(path: Path, pictures: np.ndarray, captions: list[str], columns: int) -> None:
    """Write captioned pictures as a PNG of 256 colours, which keeps it small enough to ship."""
    sheet = to_pil(contact_sheet(pictures, captions, columns=columns, width=SIDE))
    save(sheet.quantize(256, dither=Image.Dither.NONE), path, optimize=True)


def main(arguments: list[str] | None = None) -> None:
    """Render with the default setting and write both sheets."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/pictures"))
    parser.add_argument("--steps", type=int, default=256)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=("logits", "channels"))
    options = parser.parse_args(arguments)
    model, setting = synthnet(), SETTINGS["default"]
    options.out.mkdir(parents=True, exist_ok=True)
    how = {"setting": setting, "steps": options.steps, "seed": options.seed}
    if options.only != "channels":
        pictures = render(model, "labels", CLASSES, **how)
        write_sheet(options.out / "synthnet_logits.png", pictures, list(LABELS), columns=7)
    if options.only != "logits":
        units = {layer: spread(MIXED[layer].total) for layer in MIDDLE_LAYERS}
        rendered = [render(model, layer, units[layer], **how) for layer in MIDDLE_LAYERS]
        pictures = np.concatenate(rendered)
        captions = [f"{layer}:{unit}" for layer in MIDDLE_LAYERS for unit in units[layer]]
        write_sheet(options.out / "synthnet_channels.png", pictures, captions, columns=8)


if __name__ == "__main__":
    main()
