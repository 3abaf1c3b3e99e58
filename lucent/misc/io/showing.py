"""Showing pictures, animations, textured meshes and whole pages in a notebook."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
from PIL import Image

from lucent.errors import InputError
from lucent.misc.io.animation import animated, frames_of
from lucent.misc.io.collapse_channels import collapse_channels
from lucent.misc.io.mesh_viewer import mesh_page
from lucent.misc.io.pictures import (
    Channels,
    Domain,
    Picture,
    channels_last,
    coloured,
    pictures_of,
    tiled,
)
from lucent.misc.io.serialize_array import (
    _normalize_array,
    _serialize_normalized_array,
    array_to_jsbuffer,
    data_url,
    serialize_array,
)

__all__ = [
    "animate_sequence",
    "array_to_jsbuffer",
    "collapse_channels",
    "image",
    "images",
    "serialize_array",
    "show",
    "show_page",
    "textured_mesh",
]


def show(
    thing: Any,
    domain: Domain = (0, 1),
    *,
    labels: Sequence[Any] | None = None,
    width: int | None = None,
    w: int | None = None,
    fmt: str = "png",
    channels: Channels | None = None,
) -> None:
    """Show a picture, several in a row, or anything else as it prints, in the notebook.

    Args:
        thing: an array (H, W), (H, W, C), (B, H, W, C) or of volumes (B, D, H, W, C), a tensor with
            its channels before H (or D), a picture of Pillow's, or a list of these. One channel is
            grey, three are RGB, four RGBA; others become colours, of an image grey where all of
            them are 0.5, of activations black where all are 0. Of a volume all slices are shown.
        domain: the values that become black and white, None for the smallest and the largest of
            each picture; bytes are taken as they are unless it is another interval than (0, 1).
            Colours of many activations are darkened where they would exceed it.
        labels: a caption for each of several pictures; None numbers them, [] leaves them out.
        width: of each on the page, in pixels; None takes its own.
        w: Lucid's name of the width.
        fmt: png, jpg or webp: what the page holds the pictures as.
        channels: "hue" makes colours of any number of channels, "tiles" a grey picture of each,
            side by side.

    Raises:
        InputError: there is another number of labels than of pictures, a value is NaN, or channels
            cannot be shown so.
    """
    width = w if width is None else width
    pictures = pictures_of(thing)
    if not pictures:
        import IPython.display

        IPython.display.display(thing)  # type: ignore[no-untyped-call]
    elif isinstance(thing, list | tuple) or (not isinstance(thing, Image.Image) and thing.ndim > 3):
        _display_row(pictures, labels, domain, width, fmt, channels)
    else:
        image(pictures[0], domain, width, fmt, channels=channels)


def image(
    array: Picture,
    domain: Domain = None,
    width: int | None = None,
    fmt: str = "png",
    *,
    channels: Channels | None = None,
) -> None:
    """Show one picture in the notebook.

    Args:
        array: see `show`; a batch or a volume becomes one picture, about square.
        domain: see `show`.
        width: on the page, in pixels; None takes the picture's own.
        fmt: png, jpg or webp.
        channels: see `show`.
    """
    _display_html(_image_html(array, width, domain, fmt, channels))


def images(
    arrays: Sequence[Picture] | Picture,
    labels: Sequence[Any] | None = None,
    domain: Domain = None,
    width: int | None = None,
    *,
    fmt: str = "png",
    channels: Channels | None = None,
) -> None:
    """Show several pictures in a row in the notebook.

    Args:
        arrays: a batch, or a list of pictures or batches, see `show`.
        labels: a caption for each; None numbers them, [] leaves them out.
        domain: see `show`.
        width: of each on the page, in pixels; None takes its own.
        fmt: png, jpg or webp.
        channels: see `show`.

    Raises:
        InputError: there is another number of labels than of pictures, or no picture.
    """
    if not (pictures := pictures_of(arrays)):
        raise InputError(f"A {type(arrays).__name__} without any picture cannot be shown in a row.")
    _display_row(pictures, labels, domain, width, fmt, channels)


def animate_sequence(
    sequence: Picture | Sequence[Picture],
    domain: Domain = (0, 1),
    fmt: str = "png",
    *,
    channels: Channels | None = None,
) -> None:
    """Show pictures one after the other in the notebook, a second forth and a second back, forever.

    Args:
        sequence: (T, H, W, C), a tensor (T, C, H, W), or a list of pictures of one size;
            `lucent.misc.io.pictures.through_depth` makes one of volumes.
        domain: see `show`; None is for the smallest and the largest value of all.
        fmt: png (exact), webp (smaller) or gif.
        channels: see `show`.

    Raises:
        InputError: there is no picture, their shapes differ, or the format holds only one.
    """
    frames = frames_of(sequence, domain, channels)
    data = animated([*frames, *frames[-2:0:-1]], fmt, fps=len(frames))
    _display_html(f'<img src="{data_url(data, fmt)}">')


def textured_mesh(
    mesh: Mapping[str, np.ndarray], texture: Picture, background: str = "0xffffff"
) -> None:
    """Show a mesh with a texture in the notebook: drag to turn, scroll to come closer.

    A box to tick unfolds it into the plane of its texture, another one shades it. The page holds
    all it needs and works without a network.

    Args:
        mesh: "position" (V, 3), "uv" (V, 2) with (0, 0) at the lower left of the texture, which
            repeats beyond (1, 1), and "face", three vertices for each triangle, (F, 3) or (3 F,).
        texture: an array (H, W, 3) or (H, W, 4), or a tensor (3, H, W), in [0, 1] or bytes.
        background: colour in hexadecimal, as in "0xffffff" or "#ffffff".

    Raises:
        InputError: an array is missing or has another shape, a face names a vertex that does not
            exist, or the background is no colour.
    """
    show_page(mesh_page(mesh, texture, background))


def show_page(page: str, width: int = 800, height: int = 600) -> None:
    """Show a page of HTML in the notebook, in a frame of its own.

    Nothing in it, such as its styles, can disturb the rest of the notebook.

    Args:
        page: the whole page, with all the pictures and scripts that it needs.
        width: of the frame, in pixels.
        height: of the frame, in pixels.
    """
    size = f'width="{width}" height="{height}"'
    # IPython warns about a text that begins with <iframe: another kind of frame needs a server.
    _display_html(
        f'<div><iframe srcdoc="{escape(page)}" {size} style="border:none"></iframe></div>'
    )


def _display_row(
    pictures: Sequence[np.ndarray],
    labels: Sequence[Any] | None,
    domain: Domain,
    width: int | None,
    fmt: str,
    channels: Channels | None,
) -> None:
    captions = range(len(pictures)) if labels is None else labels
    if len(captions) not in (0, len(pictures)):
        raise InputError(f"There are {len(pictures)} pictures but {len(captions)} labels.")
    lines = [f"{escape(str(caption))}<br/>" for caption in captions] or [""] * len(pictures)
    pages = (_image_html(picture, width, domain, fmt, channels) for picture in pictures)
    cells = (
        f'<div style="margin-right:10px">{line}{html}</div>'
        for line, html in zip(lines, pages, strict=True)
    )
    _display_html(f'<div style="display:flex;flex-flow:row wrap">{"".join(cells)}</div>')


def _display_html(html_str: str) -> None:
    import IPython.display

    page = IPython.display.HTML(html_str)  # type: ignore[no-untyped-call]
    IPython.display.display(page)  # type: ignore[no-untyped-call]


def _image_html(
    array: Picture,
    width: int | None = None,
    domain: Domain = None,
    fmt: str = "png",
    channels: Channels | None = None,
) -> str:
    size = "" if width is None else f' width="{width}"'
    url = _image_url(array, fmt, domain=domain, channels=channels)
    return f'<img src="{url}" style="image-rendering: pixelated;"{size}>'


def _image_url(
    array: Picture,
    fmt: str = "png",
    mode: str = "data",
    quality: int = 90,
    domain: Domain = None,
    *,
    channels: Channels | None = None,
) -> str:
    if mode != "data":
        raise InputError(f"mode={mode!r}: pictures are put into the page, which is mode='data'.")
    picture = _normalize_array(coloured(channels_last(array), domain, channels), domain)
    if picture.ndim > 3:
        picture = tiled([picture])
    return data_url(_serialize_normalized_array(picture, fmt, quality), fmt)
