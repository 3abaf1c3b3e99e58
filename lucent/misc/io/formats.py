"""What reading and writing files have in common: endings and the options of each."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from pathlib import PurePath
from typing import Any

from lucent.errors import InputError, suggestion

PICTURES = (".png", ".jpg", ".jpeg", ".webp")
STACKS = (".tif", ".tiff")
TEXTS = (".txt", ".md")
PICKLES = (".pickle", ".pkl")
#: What Pillow's writers of these pictures take; they ignore all else.
_OF_PILLOW = (
    "alpha_quality", "bits", "comment", "compress_level", "compress_type", "dictionary", "dpi",
    "exact", "exif", "icc_profile", "keep_rgb", "lossless", "method", "optimize", "pnginfo",
    "progressive", "qtables", "quality", "restart_marker_blocks", "restart_marker_rows", "smooth",
    "streamtype", "subsampling", "transparency", "xmp",
)  # fmt: skip


def ending_of(name: str) -> tuple[str, bool]:
    """Return the ending of a file name in lower case, and whether it is compressed by LZMA.

    >>> ending_of("acts.NPY.xz"), ending_of("cat.png"), ending_of("README")
    (('.npy', True), ('.png', False), ('', False))
    """
    path = PurePath(name)
    packed = path.suffix.lower() == ".xz"
    return (path.with_suffix("") if packed else path).suffix.lower(), packed


def check_options(function: Callable[..., Any], options: Mapping[str, Any], ending: str) -> None:
    """Raise an InputError where a reader or writer does not take the options given."""
    parameters = inspect.signature(function).parameters.values()
    known = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        known += _OF_PILLOW
    for name in options:
        if name not in known:
            raise InputError(
                f"{name}={options[name]!r} is no option of {ending or 'such'} files; they take "
                f"{', '.join(known) or 'none'}. {suggestion(name, known)}".rstrip()
            )


def unknown_ending(ending: str, known: Iterable[str]) -> str:
    """Return what to say of an ending that is not among the known ones."""
    endings = sorted(known)
    closest = suggestion(ending, endings)
    return f"The ending {ending!r} is none of {', '.join(endings)}. {closest}".rstrip()


def refuse_pickle(ending: str) -> InputError:
    """Return the error about Python objects in a file."""
    return InputError(
        f"A {ending} file with Python objects may run any code when it is read. If you trust "
        "everybody who may have written it, pass allow_unsafe_formats=True; else keep numbers in "
        ".npy, .npz or .json."
    )
