"""Showing pictures in a notebook."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np
import torch

from lucent.errors import InputError
from lucent.misc.io.pictures import png


def show(
    thing: Any,
    domain: tuple[float, float] | None = (0, 1),
    *,
    labels: Sequence[str] | None = None,
    width: int | None = None,
) -> None:
    """Show a picture, several in a row, or anything else as it prints, in the notebook.

    Args:
        thing: (H, W), (H, W, C) or (B, H, W, C), or a list of the former two.
        domain: the values that become black and white, None for the smallest and the largest of
            each picture; bytes are taken as they are.
        labels: a caption for each of several pictures; None numbers them.
        width: width of each on the page, in pixels; None takes its own.

    Raises:
        InputError: it is no picture, or there is another number of labels.
    """
    from IPython.display import HTML, display

    if not isinstance(thing, np.ndarray | torch.Tensor | list | tuple):
        display(thing)  # type: ignore[no-untyped-call]
        return
    display(HTML(as_html(thing, domain, labels=labels, width=width)))  # type: ignore[no-untyped-call]


def as_html(
    thing: Any,
    domain: tuple[float, float] | None = (0, 1),
    *,
    labels: Sequence[str] | None = None,
    width: int | None = None,
) -> str:
    """Return the HTML that `show` shows."""
    if isinstance(thing, np.ndarray | torch.Tensor) and thing.ndim in (2, 3):
        return _tag(_array(thing, domain), width)
    pictures = [_array(picture, domain) for picture in thing]
    captions = [str(c) for c in (range(len(pictures)) if labels is None else labels)]
    if len(captions) != len(pictures):
        raise InputError(f"There are {len(pictures)} pictures but {len(captions)} labels.")
    cells = (
        f'<div style="margin-right:10px">{escape(caption)}<br/>{_tag(picture, width)}</div>'
        for caption, picture in zip(captions, pictures, strict=True)
    )
    return f'<div style="display:flex;flex-flow:row wrap">{"".join(cells)}</div>'


def _array(picture: Any, domain: tuple[float, float] | None) -> np.ndarray:
    array = np.asarray(picture.detach().cpu() if isinstance(picture, torch.Tensor) else picture)
    if array.dtype == np.uint8:
        return array
    low, high = (array.min(), array.max()) if domain is None else domain
    return (array - low) / (high - low or 1)


def _tag(picture: np.ndarray, width: int | None) -> str:
    data = base64.b64encode(png(picture)).decode("ascii")
    size = "" if width is None else f' width="{width}"'
    return f'<img src="data:image/png;base64,{data}" style="image-rendering:pixelated"{size}>'
