"""Draw the sheets of docs/pictures: all class logits of SynthNet, and channels of middle layers."""

from __future__ import annotations

import argparse
import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from benchmarks.quality import CLASSES, SETTINGS, render
from lucent.misc.io.pictures import tiled, to_pil
from lucent.modelzoo.synthnet import LABELS, synthnet
from lucent.modelzoo.synthnet.model import MIXED

# Width of the pictures on a sheet and height of the line of text under them, in pixels.
SIDE, TEXT = 120, 14
MIDDLE_LAYERS = ("mixed3b", "mixed4a")


def spread(n_channels: int, count: int = 24) -> list[int]:
    """Return channels at even distances, so that every branch of a block is among them."""
    return list(range(0, n_channels, n_channels // count))[:count]


def captioned(picture: np.ndarray, caption: str) -> np.ndarray:
    """Return a picture (H, W, 3) in [0, 1] as bytes, enlarged, with a line of text under it."""
    tile = Image.new("RGB", (SIDE, SIDE + TEXT), "white")
    tile.paste(to_pil(picture).resize((SIDE, SIDE), Image.Resampling.LANCZOS))
    ImageDraw.Draw(tile).text((1, SIDE + 1), caption, fill="black")
    return np.asarray(tile)


def write_sheet(path: Path, pictures: np.ndarray, captions: list[str], columns: int) -> None:
    """Write captioned pictures as a PNG of 256 colours, which keeps it small enough to ship."""
    tiles = [captioned(*pair) for pair in zip(pictures, captions, strict=True)]
    buffer = io.BytesIO()
    palette = to_pil(tiled(tiles, columns, gap=4)).quantize(256, dither=Image.Dither.NONE)
    palette.save(buffer, format="PNG", optimize=True)
    path.write_bytes(buffer.getvalue())


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
