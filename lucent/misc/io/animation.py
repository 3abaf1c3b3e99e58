"""Pictures one after the other: GIF and MP4 files."""

from __future__ import annotations

import io
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from PIL import Image

from lucent.errors import InputError
from lucent.misc.io.pictures import (
    Channels,
    Domain,
    Picture,
    channels_last,
    coloured,
    pictures_of,
    tiled,
    to_pil,
)
from lucent.misc.io.serialize_array import format_name, in_bytes
from lucent.util import optional

# Hundredths of a second are a GIF's unit, and browsers slow down what is shown for less than two.
_GIF_FPS = 50
# They are counted with 16 bits, which are enough for eleven minutes.
_SLOWEST = 1 / 600
# "Visually lossless or nearly so", https://trac.ffmpeg.org/wiki/Encode/H.264#crf.
_CRF = "18"


def frames_of(
    sequence: Picture | Sequence[Picture], domain: Domain, channels: Channels | None = None
) -> list[Image.Image]:
    """Return the pictures of a sequence.

    Args:
        sequence: (T, H, W, C), a tensor (T, C, H, W), or a list of pictures of one shape; in a list
            a batch is laid out in a row. A single picture is a sequence of one.
        domain: the values that become black and white, None for the smallest and the largest of
            all; bytes are taken as they are unless it is another interval than (0, 1).
        channels: see `coloured`.

    Raises:
        InputError: there is no picture, or their shapes differ.
    """
    items = sequence if isinstance(sequence, Sequence) else pictures_of(sequence)
    arrays = [channels_last(item) for item in items]
    shapes = {array.shape for array in arrays}
    if len(shapes) != 1:
        raise InputError(
            "An animation takes at least one picture, all of one shape; got "
            f"{sorted(shapes) or 'none'}."
        )
    frames = np.stack(arrays)
    if frames.ndim > 3:
        # Together, because the brightest of all sets the scale.
        frames = coloured(frames, domain, channels)
    pictures = in_bytes(frames, domain)
    return [to_pil(tiled(picture) if picture.ndim > 3 else picture) for picture in pictures]


def animated(frames: Sequence[Image.Image], fmt: str, *, fps: float) -> bytes:
    """Return the file of an animation that repeats forever.

    Args:
        frames: of one size and mode.
        fmt: gif, png or webp.
        fps: pictures a second.

    Raises:
        InputError: the format holds one picture only, or has no such speed.
    """
    name = format_name(fmt)
    if name == "JPEG":
        raise InputError(f"fmt={fmt!r} holds one picture only: take 'png', 'webp' or 'gif'.")
    _check_speed(fps, name)
    unit = 10 if name == "GIF" else 1  # milliseconds
    # Rounding the times, not the durations, keeps the length of the whole.
    times = np.rint(np.arange(len(frames) + 1) * 1000 / fps / unit) * unit
    durations = np.diff(times).astype(int).tolist()
    first, *rest = frames
    buffer = io.BytesIO()
    first.save(
        buffer, name, save_all=True, append_images=rest, duration=durations, loop=0, quality=95
    )
    return buffer.getvalue()


def _check_speed(fps: float, name: str) -> None:
    if not _SLOWEST <= fps < float("inf"):
        raise InputError(
            f"fps={fps}: the number of pictures a second is positive, at least one in ten minutes."
        )
    if name == "GIF" and fps > _GIF_FPS:
        raise InputError(
            f"fps={fps}: a GIF shows at most {_GIF_FPS} pictures a second; write an .mp4."
        )


def mp4(frames: Sequence[Image.Image], *, fps: float) -> bytes:
    """Return the file of an H.264 video.

    Args:
        frames: RGB, of one size.
        fps: pictures a second.

    Raises:
        InputError: there is no such speed.
        MissingExtra: PyAV is not installed.
    """
    av = optional("av", "video")
    _check_speed(fps, "MP4")
    arrays, buffer = [_even(frame) for frame in frames], io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        rate = Fraction(float(fps)).limit_denominator(1001)  # 30000/1001 is the speed of television
        stream = container.add_stream("libx264", rate=rate, options={"crf": _CRF})
        stream.height, stream.width = arrays[0].shape[:2]
        stream.pix_fmt = "yuv420p"  # the only one that every player knows
        for array in arrays:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(array, "rgb24")))
        container.mux(stream.encode(None))
    return buffer.getvalue()


def _even(picture: Image.Image) -> np.ndarray:
    """Return (H, W, 3) with even H and W: a video has one colour for every 2 x 2 pixels."""
    return np.pad(
        np.asarray(picture),
        [(0, picture.height % 2), (0, picture.width % 2), (0, 0)],
        mode="edge",
    )
