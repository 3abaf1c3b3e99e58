"""What may happen between the steps of a run: a callback is any function of the `Run`.

It is called once before the first step and after every step. One with a method `close` is closed
when the run ends, however it ends.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from lucent.errors import InputError, LucentError, WeightsError
from lucent.misc.io.pictures import Channels, as_numpy, save_picture, side_by_side
from lucent.misc.io.showing import show
from lucent.optvis.defaults import shown_channels
from lucent.optvis.loop import CHECK_EVERY, Run
from lucent.util import atomic_write
from lucent.weights import read_file


def tensor_to_img_array(tensor: Tensor) -> np.ndarray:
    """Return a batch of images as an array.

    Args:
        tensor: (B, C, *spatial) on any device.

    Returns:
        (B, *spatial, C) of the same dtype, float32 for bfloat16.
    """
    return np.moveaxis(as_numpy(tensor), 1, -1)


class Snapshots:
    """Keeps the image at some steps.

    Args:
        steps: 0 is the image before the first step.

    Attributes:
        images: float32 arrays (B, *spatial, C) in the order of the steps, which `run.history.steps`
            lists.
    """

    def __init__(self, steps: Iterable[int]) -> None:
        self.images: list[np.ndarray] = []
        self._steps = frozenset(steps)

    def __call__(self, run: Run) -> None:
        """Keep the image if its turn has come."""
        if run.step in self._steps:
            self.keep(run)

    def keep(self, run: Run) -> None:
        """Keep the image as it is now."""
        self.images.append(tensor_to_img_array(run.snapshot().float()))
        run.history.steps.append(run.step)


class Importance:
    """Adds up how much each pixel mattered to the objective over the run.

    The sum of |d loss / d image| over steps and channels; as an alpha channel it hides what the
    objective does not care about.

    >>> from lucent.modelzoo import synthnet
    >>> from lucent.optvis.render import render_vis
    >>> importance = Importance()
    >>> images = render_vis(synthnet(), "mixed4a:7", thresholds=(2,), seed=0,
    ...                     callbacks=[importance], show_image=False, progress=False)
    >>> np.concatenate([images[-1], importance.alpha()], axis=-1).shape
    (1, 96, 96, 4)

    Attributes:
        total: the sum over the steps that were done with the callback, (B, *spatial); None before
            the first. A checkpoint does not keep it.

    Source: Fel et al. 2023, Unlocking Feature Visualization for Deeper Networks with MAgnitude
    Constrained Optimization (https://arxiv.org/abs/2306.06805).
    """

    def __init__(self) -> None:
        self.total: Tensor | None = None

    def __call__(self, run: Run) -> None:
        if run.step == 0 and self.total is not None:
            raise InputError(
                "This Importance has seen another run, whose image is not this one: make a new one "
                "for each. Of a list of objectives, only one batch can have it."
            )
        run.keep_gradient = True
        if run.gradient is not None:
            amount = run.gradient.abs().sum(1)
            self.total = amount if self.total is None else self.total + amount

    def alpha(self, percentile: float = 80.0) -> np.ndarray:
        """Return the sum as an alpha channel.

        Args:
            percentile: 0 to 100; pixels above this percentile of their image are opaque.

        Returns:
            (B, *spatial, 1), float32 in [0, 1].

        Raises:
            InputError: no step was done yet, or the percentile is out of range.
        """
        if self.total is None:
            raise InputError("There is no importance yet: give the callback to a run first.")
        if not 0 <= percentile <= 100:
            raise InputError(f"percentile={percentile} has to be between 0 and 100.")
        total = self.total.float().cpu().numpy()
        rows = total.reshape(len(total), -1)
        top = np.percentile(rows, percentile, axis=1, keepdims=True)
        # Where most pixels do not matter at all, every pixel that does is above the percentile.
        visible = (rows > 0).astype(np.float32)
        alpha = np.divide(rows, top, out=visible, where=top > 0).clip(0, 1)
        return alpha.reshape(total.shape)[..., None]


class Progress:
    """Shows a progress bar with the latest loss.

    Args:
        total: number of steps; None takes the run's.
    """

    def __init__(self, total: int | None = None) -> None:
        self._total = total
        self._bar: Any = None

    def __call__(self, run: Run) -> None:
        """Move the bar."""
        if self._bar is None:
            total = run.settings.steps if self._total is None else self._total
            self._bar = tqdm(total=total, initial=run.step, unit="step")
        self._bar.update(run.step - self._bar.n)
        # The loss is fetched only when the run has just waited for the device anyway.
        if run.step and run.step % CHECK_EVERY == 0:
            self._bar.set_postfix(loss=f"{run.history.loss[-1]:.3f}", refresh=False)

    def close(self) -> None:
        """Leave the bar as it is; another run gets another one."""
        if self._bar is not None:
            self._bar.close()
        self._bar = None


class Report:
    """Writes the loss to standard output, at the first step and at some others.

    Args:
        steps: after which steps.
    """

    def __init__(self, steps: Iterable[int]) -> None:
        self._steps = frozenset(steps)

    def __call__(self, run: Run) -> None:
        """Write the loss if its turn has come."""
        if run.step == 1:
            sys.stdout.write(f"Initial loss: {run.history.loss[0]:.3f}\n")
        if run.step and run.step in self._steps:
            sys.stdout.write(f"Loss at step {run.step}: {run.history.loss[-1]:.3f}\n")


class Show:
    """Shows the image in the notebook at some steps.

    Args:
        steps: 0 is the image before the first step.
        channels: see `lucent.misc.io.show`; None is "hue" for a network that takes four.
    """

    def __init__(self, steps: Iterable[int], *, channels: Channels | None = None) -> None:
        self._steps, self._channels = frozenset(steps), channels

    def __call__(self, run: Run) -> None:
        """Show the image if its turn has come."""
        if run.step in self._steps:
            channels = self._channels or shown_channels(run.settings.spec)
            show(tensor_to_img_array(run.snapshot()), channels=channels)


class Save:
    """Writes the image to a file every so many steps, its batch in a row.

    Args:
        path: of the picture; `{step}` in it becomes the step, as in "out/{step:05d}.png".
        every: number of steps between two files, at least 1.
        channels: see `lucent.optvis.render.export`; None is "hue" for a network that takes four.

    Raises:
        InputError: `every` is smaller than 1, or the path has another field.
    """

    def __init__(
        self, path: str | os.PathLike[str], every: int = 1, *, channels: Channels | None = None
    ) -> None:
        self._path, self._every = os.fspath(path), _checked_every(every)
        self._channels = channels
        try:
            self._path.format(step=0)
        except (LookupError, ValueError) as error:
            raise InputError(
                f"The path {self._path!r} has a field other than {{step}}: write it as in "
                "'out/{step:05d}.png'."
            ) from error

    def __call__(self, run: Run) -> None:
        """Write the image if its turn has come."""
        if run.step % self._every == 0:
            channels = self._channels or shown_channels(run.settings.spec)
            picture = side_by_side(tensor_to_img_array(run.snapshot()), channels=channels)
            save_picture(picture, self._path.format(step=run.step))


class Checkpoint:
    """Writes the state of the run to a file every so many steps, and can go on from there.

    Args:
        path: of the file, which is replaced when the next state is complete.
        every: number of steps between two states, at least 1.
        resume: begin where the file ends, if there is one.

    Raises:
        InputError: `every` is smaller than 1.
        WeightsError: the file to resume from cannot be read, or is of another run.
    """

    def __init__(
        self, path: str | os.PathLike[str], every: int = 100, *, resume: bool = False
    ) -> None:
        self._path, self._every, self._resume = Path(path), _checked_every(every), resume

    def __call__(self, run: Run) -> None:
        """Write the state if its turn has come, or read it before the first step."""
        if run.step == 0:
            if self._resume and self._path.exists():
                self._load_into(run)
        elif run.step % self._every == 0:
            run.check()
            with atomic_write(self._path) as temporary, temporary.open("wb") as file:
                torch.save(run.state_dict(), file)

    def _load_into(self, run: Run) -> None:
        try:
            run.load_state_dict(read_file(self._path))
        except (LucentError, ValueError) as error:  # ValueError: another kind of optimizer
            raise WeightsError(
                f"This run cannot go on from the checkpoint {self._path}: {error} Delete the file "
                "to begin anew."
            ) from error


class StopWhenFlat:
    """Ends a run whose loss no longer falls.

    Compares the mean loss of the latest steps with that of as many steps before them.

    Args:
        window: number of steps to take the mean over, at least 2.
        tolerance: the run ends when the mean has fallen by less than this share of its size.

    Raises:
        InputError: `window` is smaller than 2.
    """

    def __init__(self, window: int = 64, tolerance: float = 1e-3) -> None:
        if window < 2:
            raise InputError(
                f"window={window}: a mean over random transforms takes at least 2 steps."
            )
        self._window, self._tolerance = window, tolerance

    def __call__(self, run: Run) -> None:
        """Stop the run if its loss is flat; looked for once in so many steps."""
        if run.step < 2 * self._window or run.step % CHECK_EVERY:
            return
        losses = np.asarray(run.history.loss[-2 * self._window :])
        before, now = losses[: self._window].mean(), losses[self._window :].mean()
        if before - now <= self._tolerance * abs(before):
            run.stop()


def _checked_every(every: int) -> int:
    if every < 1:
        raise InputError(f"every={every}: the number of steps in between is at least 1.")
    return every
