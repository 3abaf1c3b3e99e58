"""Where objective, parametrization, transforms and model meet: `render_vis`."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from lucent.errors import InputError, LayerError, LucentError
from lucent.layers import INPUT, LayerNames, pick, unwrap
from lucent.misc.io.formats import STACKS
from lucent.misc.io.pictures import (
    Channels,
    coloured,
    save_picture,
    side_by_side,
    through_depth,
    to_pil,
)
from lucent.misc.io.saving import save
from lucent.misc.io.showing import show
from lucent.optvis.batch import Rendered, rendered
from lucent.optvis.callbacks import Progress, Report, Show, Snapshots, tensor_to_img_array
from lucent.optvis.defaults import DEFAULT_IMAGE_SIZE as DEFAULT_IMAGE_SIZE
from lucent.optvis.defaults import Setup, setup
from lucent.optvis.defaults import default_image as default_image
from lucent.optvis.history import History
from lucent.optvis.loop import Callback, OptimizerFactory, Run
from lucent.optvis.objectives import Objective
from lucent.optvis.presets import Preset
from lucent.optvis.settings import Precision
from lucent.optvis.transform.base import Transform
from lucent.util import forked_rng

logger = logging.getLogger(__name__)


class Pictures(list[np.ndarray]):
    """The list that `render_vis` returns, with what the run measured.

    Attributes:
        history: losses and term values; `history.steps` are the steps of the pictures.
        interrupted: Ctrl-C ended the run.
    """

    def __init__(
        self, images: Iterable[np.ndarray], history: History, *, interrupted: bool = False
    ) -> None:
        super().__init__(images)
        self.history, self.interrupted = history, interrupted


def render_vis(  # noqa: PLR0913 - torch-lucent's arguments
    model: nn.Module,
    objective_f: Objective | Callable[[Any], Tensor] | str | list[Any] | tuple[Any, ...],
    param_f: Callable[[], Any] | None = None,
    optimizer: OptimizerFactory | None = None,
    transforms: Iterable[Transform] | None = None,
    thresholds: Iterable[int] = (512,),
    verbose: bool = False,
    preprocess: bool = True,
    progress: bool = True,
    show_image: bool = True,
    save_image: bool = False,
    image_name: str | None = None,
    show_inline: bool = False,
    fixed_image_size: int | Sequence[int] | str | None = None,
    *,
    seed: int | Sequence[int] | None = None,
    callbacks: Sequence[Callback] = (),
    relu_override: bool = True,
    draws: int | None = None,
    preset: Preset | str | None = None,
    layout: str | Mapping[str, str] | None = None,
    precision: Precision | None = None,
    capture: bool | None = None,
) -> Pictures:
    """Find the image that a part of a network looks for, by gradient ascent.

    >>> from lucent.modelzoo import synthnet
    >>> images = render_vis(synthnet(), "mixed4a:7", thresholds=(1, 2), seed=0,
    ...                     show_image=False, progress=False)
    >>> len(images), images[0].dtype, images.history.steps
    (2, dtype('float32'), [1, 2])

    The model comes back as it was, and Ctrl-C returns what there is, the image of that moment
    included; it ends a list of objectives without a result.

    Args:
        model: any network that takes (B, C, H, W), or volumes (B, C, D, H, W).
        objective_f: what to look for: "layer:channel", an objective, or a function from `T` to a
            loss; or a list of them, for a picture of each, of which as many as pay are made at a
            time. `render_many` gives these one by one.
        param_f: returns the image to optimise, or a pair (params, image_f); None makes one image of
            the size, channels and spectrum of the model's spec.
        optimizer: makes the optimizer of a list of tensors; None is Adam with learning rate 0.05.
        transforms: functions from images to images, applied in turn in every step; None is
            `transform.standard_transforms`, of volumes `standard_volume_transforms`, [] none.
            Pictures are then brought to the size that the network sees.
        thresholds: steps after which to keep the image; 0 keeps the start image.
        verbose: write the loss at the thresholds to standard output.
        preprocess: normalise the image as the model's spec says.
        progress: show a progress bar.
        show_image: show the last image: in the notebook, else in a window, else in a file whose
            name is logged.
        save_image: write the last image to `image_name`.
        image_name: file to write; None is "image.jpg".
        show_inline: show the last image in the notebook, with `verbose` those of the thresholds
            too.
        fixed_image_size: size that the network sees: (height, width), or the shorter side; None is
            the size of the model's spec for smaller images, their own for larger ones. "native" is
            the image's own size, as in Lucid: faster, features larger in the picture, but some
            networks or layers fail on small images.
        seed: makes everything random repeat, and leaves the global generators as they were; None
            draws from them, so that `set_seed` before the call repeats, too. A list of objectives
            may have a list of seeds; with one seed all of them start from the same image.
        callbacks: functions of the `Run`, called before the first step and after every one.
        relu_override: redirect the gradient of ReLUs for the first 17 steps, so that dead units
            start. A model with the attribute `redirected_ReLU = False` is left alone.
        draws: independent draws of the transforms per step; the network sees each image so often.
            None is what the preset says, 1 but for transformers.
        preset: "plain", "vit", or a `Preset`: where `param_f`, `optimizer`, `transforms` and
            `draws` come from as far as they are None. None is "vit" for a vision transformer of
            which the first three are not given, and the log says so; else "plain".
        layout: which axis of a layer is which, where that cannot be found out and an error asks for
            it: a letter for each, N batch, C channels, D H W space, L tokens, such as "NHWC"; for
            all of these layers, or a dict from a layer to its letters.
        precision: "fp32", "tf32" or "bf16", of the network's arithmetic; see `RunSettings`.
        capture: replay the step as a CUDA graph; see `RunSettings`.

    Returns:
        One array per threshold reached, in the order of the steps: float32, (B, *spatial, C), in
        [0, 1] for `param.image`; B is the number of objectives for a list of them. The list has the
        attribute `history`.

    Raises:
        LucentError: an argument cannot be used, and the text says what to give instead, or the loss
            diverged. Its attribute `images` has what was rendered before.

    Source: Olah et al. 2017, Feature Visualization
    (https://distill.pub/2017/feature-visualization).
    """
    together = isinstance(objective_f, list | tuple)
    given = setup(
        model,
        param_f,
        optimizer,
        transforms,
        thresholds,
        fixed_image_size,
        seed=None if together else seed,
        relu_override=relu_override,
        preprocess=preprocess,
        draws=draws,
        preset=preset,
        layout=layout,
        precision=precision,
        capture=capture,
    )
    watching = [*callbacks, *_displays(given, verbose, show_inline)]
    if isinstance(objective_f, list | tuple):
        pictures = _rendered_together(given, objective_f, seed, watching, progress)
    else:
        pictures = _rendered_alone(given, given.objective(objective_f), watching, progress)
    try:
        if save_image:
            export(pictures[-1], image_name, channels=given.channels)
        if show_inline:
            show(pictures[-1], channels=given.channels)
        elif show_image:
            view(pictures[-1], channels=given.channels)
    except LucentError as error:
        error.images = pictures
        raise
    return pictures


def _rendered_alone(
    given: Setup, objective: Objective, callbacks: Sequence[Callback], progress: bool
) -> Pictures:
    seed = given.settings.seed
    if isinstance(seed, Sequence):
        raise InputError(f"seed={seed!r} is for a list of objectives: one objective has one seed.")
    snapshots = Snapshots(given.thresholds)
    bar = [Progress()] if progress else []
    with (
        forked_rng(seed),
        Run(
            given.model,
            objective,
            given.image(),
            transforms=given.transforms,
            optimizer=given.optimizer,
            settings=given.settings,
        ) as run,
    ):
        interrupted = _iterate(run, snapshots, [*callbacks, *bar])
    return Pictures(snapshots.images, run.history, interrupted=interrupted)


def _rendered_together(
    given: Setup,
    objectives: Sequence[Any],
    seed: int | Sequence[int] | None,
    callbacks: Sequence[Callback],
    progress: bool,
) -> Pictures:
    """Return the pictures of several objectives as rows, in the order of the objectives."""
    if not objectives:
        raise InputError("render_vis got an empty list of objectives: give at least one.")
    results = rendered(given, objectives, seed=seed, callbacks=callbacks, progress=progress)
    ordered = sorted(results, key=lambda result: result.index)
    if errors := [result.error for result in ordered if result.error is not None]:
        errors[0].images = _in_rows([result for result in ordered if result.error is None])
        raise errors[0]
    looked_for = Objective.sum(given.objective(result.objective) for result in ordered)
    return Pictures(_in_rows(ordered), _joint_history(ordered, looked_for.captions()))


def _in_rows(results: Sequence[Rendered]) -> list[np.ndarray]:
    """Return one array per threshold; an objective that was stopped early keeps its last image."""
    n_images = max((len(result.images) for result in results), default=0)
    return [np.stack([result.images[: n + 1][-1] for result in results]) for n in range(n_images)]


def _joint_history(results: Sequence[Rendered], captions: Sequence[str]) -> History:
    """Return the sum of the losses, and the values of the terms of all."""
    tables = [result.history.state_dict()["rows"] for result in results]
    rows = [
        [sum(row[0] for row in step), *(value for row in step for value in row[1:])]
        for step in zip(*tables, strict=False)  # as many as all of them did
    ]
    history = History(captions)
    history.load_state_dict({"captions": captions, "rows": rows})
    history.steps = max((result.history.steps for result in results), key=len)
    return history


def _iterate(run: Run, snapshots: Snapshots, others: Sequence[Callback]) -> bool:
    """Do the steps; keep the last image also where Ctrl-C, True, or a callback ends them early."""
    interrupted = False
    try:
        try:
            run.iterate([*others, snapshots])
        except KeyboardInterrupt:
            interrupted = True
            logger.warning(
                "Interrupted at step %d; the picture of this moment is the last one.", run.step
            )
        if run.history.steps[-1:] != [run.step]:
            snapshots.keep(run)
    except LucentError as error:
        error.images = snapshots.images
        raise
    return interrupted


def _displays(given: Setup, verbose: bool, show_inline: bool) -> list[Callback]:
    if not verbose:
        return []
    report, shown = Report(given.thresholds), Show(given.thresholds)
    return [report, shown] if show_inline else [report]


def view(tensor: Tensor | np.ndarray, *, channels: Channels | None = None) -> None:
    """Show a batch of images side by side.

    In a notebook they are shown there, else in a window; without a screen they go to a file whose
    name is logged.

    Args:
        tensor: (B, C, H, W) or (B, C, D, H, W), or an array (B, *spatial, C), in [0, 1]; see
            `export`.
        channels: see `export`.
    """
    picture = side_by_side(_as_array(tensor), channels=channels)
    if _in_notebook():
        show(picture)
    elif (
        sys.platform.startswith("linux") and not {"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys()
    ):
        handle, name = tempfile.mkstemp(prefix="lucent-", suffix=".png")
        os.close(handle)
        save_picture(picture, name)
        logger.warning("There is no screen to show the picture on; it is in %s", name)
    else:
        to_pil(picture).show()


def export(
    tensor: Tensor | np.ndarray,
    image_name: str | os.PathLike[str] | None = None,
    *,
    columns: int | None = None,
    channels: Channels | None = None,
) -> None:
    """Write a batch of images to a file.

    Pictures are written side by side. One channel is grey, three are RGB, four RGBA; others become
    colours, grey where all channels are 0.5. Volumes are written as sheets of slices, to .gif and
    .mp4 slice after slice. The endings .npy, .npz, .tif and .tiff take all numbers as they are.

    Args:
        tensor: (B, C, H, W) or (B, C, D, H, W), or an array (B, *spatial, C), in [0, 1].
        image_name: its ending chooses the format; None is "image.jpg", as in torch-lucent.
        columns: pictures in a row; None puts all in one.
        channels: "hue" makes colours of any number of channels, "tiles" a grey picture of each.

    Raises:
        InputError: the format cannot hold the images.
    """
    array, path = _as_array(tensor), Path("image.jpg" if image_name is None else image_name)
    ending = path.suffix.lower()
    if ending in (*STACKS, ".npy", ".npz"):
        save(array, path)
    elif ending in (".gif", ".mp4") and array.ndim == 5:
        save(coloured(through_depth(array), channels=channels, image=True), path)
    else:
        save_picture(side_by_side(array, columns, channels=channels), path)


def _as_array(tensor: Tensor | np.ndarray) -> np.ndarray:
    return tensor_to_img_array(tensor) if isinstance(tensor, Tensor) else tensor


def _in_notebook() -> bool:
    # Only a running kernel has imported IPython's kernel application already.
    return "ipykernel.zmqshell" in sys.modules


class ModuleHook:
    """Keeps the output of a module's last forward pass, until it is closed.

    Args:
        module: the module to hook.

    Attributes:
        module: the module, None before its first pass.
        features: its output, None before its first pass; a tensor is copied.
    """

    def __init__(self, module: nn.Module) -> None:
        self.hook = module.register_forward_hook(self.hook_fn)
        self.module: nn.Module | None = None
        self.features: Any = None

    def hook_fn(self, module: nn.Module, input: Any, output: Any) -> None:
        """Keep the output."""
        # What follows may overwrite the output in place.
        self.features = output.clone() if isinstance(output, Tensor) else output
        self.module = module

    def close(self) -> None:
        """Remove the hook."""
        self.hook.remove()


def hook_model(model: nn.Module, image_f: Callable[[], Tensor], return_hooks: bool = False) -> Any:
    """Hook every layer of a model and return a function from layer names to activations.

    A layer that is called several times gives its last call. This is for scripts that run the model
    themselves; `lucent.hooks.Activations` hooks only what is needed and cleans up after itself.

    Args:
        model: the network.
        image_f: returns the image before transforms, which the name "input" gives.
        return_hooks: return a pair of the function and the dictionary of hooks by layer name, so
            that they can be closed.

    Raises:
        LayerError: raised by the function for an unknown layer, or one that has not run.
    """
    model = unwrap(model)
    names = LayerNames(model)
    hooks = OrderedDict((name, ModuleHook(module)) for name, module in names.modules.items())

    def hook(layer: str) -> Any:
        if layer == INPUT:
            return image_f()
        address = names.resolve(layer)
        if address.call is not None:
            raise LayerError(
                f"hook_model keeps the last call of a layer only, not {layer!r}: "
                "lucent.hooks.Activations gives every one."
            )
        features = hooks[address.module].features
        if features is None:
            raise LayerError(f"The layer {layer!r} has not run yet: call the model first.")
        return pick(features, address.picks, layer) if address.picks else features

    return (hook, hooks) if return_hooks else hook
