"""A page that shows a textured mesh with three.js, which is a part of the package.

The folder three/ holds files of the npm package three 0.180.0 (MIT) as they were published.
"""

from __future__ import annotations

import base64
import gzip
import re
from collections.abc import Mapping
from importlib.resources import files
from string import Template

import numpy as np

from lucent.errors import InputError
from lucent.misc.io.pictures import Picture
from lucent.misc.io.serialize_array import array_to_jsbuffer, data_url, serialize_array


def mesh_page(mesh: Mapping[str, np.ndarray], texture: Picture, background: str) -> str:
    """Return the HTML page of a mesh; see `lucent.misc.io.showing.textured_mesh`."""
    position, uv, face = checked_mesh(mesh)
    here = files("lucent.misc.io")
    page = Template(here.joinpath("mesh_viewer.html").read_text(encoding="utf-8"))
    scripts = here.joinpath("three")
    return page.substitute(
        position=array_to_jsbuffer(_centred(position).astype(np.float32).ravel()),
        uv=array_to_jsbuffer(uv.astype(np.float32).ravel()),
        face=array_to_jsbuffer(face.astype(np.uint32)),
        texture=data_url(serialize_array(texture, fmt="webp", quality=95), "webp"),
        background=_colour(background),
        core=_packed(scripts.joinpath("three.core.min.js").read_bytes()),
        three=_packed(scripts.joinpath("three.module.min.js").read_bytes()),
        controls=_packed(scripts.joinpath("OrbitControls.js").read_bytes()),
    )


def checked_mesh(
    mesh: Mapping[str, np.ndarray],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return position (V, 3), uv (V, 2) and face (3 F,) of a mesh that has them.

    Raises:
        InputError: one is missing, has another shape, or a face names a vertex that is not there.
    """
    missing = [name for name in ("position", "uv", "face") if name not in mesh]
    if missing:
        raise InputError(
            f"The mesh has no {', '.join(missing)}: expected a dict with the arrays 'position' "
            f"(V, 3), 'uv' (V, 2) and 'face' (F, 3); it has {', '.join(mesh) or 'none'}."
        )
    position, uv, face = (np.asarray(mesh[name]) for name in ("position", "uv", "face"))
    count = len(position)
    shapes = position.shape, uv.shape
    if position.size == 0 or shapes != ((count, 3), (count, 2)) or face.size % 3:
        raise InputError(
            f"The shapes of the mesh are position {position.shape}, uv {uv.shape}, face "
            f"{face.shape}: expected (V, 3), (V, 2) and (F, 3) or (3 F,)."
        )
    if face.dtype.kind not in "iu" or face.size == 0 or face.min() < 0 or face.max() >= count:
        raise InputError(
            f"The faces of the mesh name vertices by integers from 0 to {count - 1}; got "
            f"{face.dtype} from {face.min(initial=0)} to {face.max(initial=0)}."
        )
    return position, uv, face.ravel()


def _centred(position: np.ndarray) -> np.ndarray:
    """Return the vertices within the unit ball, where the camera looks."""
    moved = position - (position.min(0) + position.max(0)) / 2
    return moved / (np.linalg.norm(moved, axis=1).max() or 1)


def _colour(background: str) -> str:
    if (found := re.fullmatch("(?:0x|#)([0-9a-fA-F]{6})", background)) is None:
        raise InputError(
            f"background={background!r} is no colour: six hexadecimal digits are, as in '0xffffff'."
        )
    return f"#{found[1]}"


def _packed(script: bytes) -> str:
    """Return a script as text that is a third as long; the same every time, for tidy notebooks."""
    return base64.b64encode(gzip.compress(script, mtime=0)).decode("ascii")
