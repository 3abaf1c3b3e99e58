"""Where objective, parametrization, transforms and model meet: `render_vis`."""

from __future__ import annotations

import functools
import logging
import numbers
import os
import sys
import tempfile
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from lucent.errors import InputError, LayerError, LucentError
from lucent.layers import INPUT, LayerNames, pick, unwrap
from lucent.misc.io.pictures import save_picture, tiled, to_pil
from lucent.misc.io.showing import show
from lucent.modelzoo.spec import ModelSpec, spec_of
from lucent.optvis import param, transform
from lucent.optvis._spectrum import COLOR_CORRELATION_SVD_SQRT
from lucent.optvis.callbacks import Progress, Report, Show, Snapshots, tensor_to_img_array
from lucent.optvis.history import History
from lucent.optvis.loop import Callback, OptimizerFactory, Run, RunSettings, adam
from lucent.optvis.objectives import Objective, as_objective
from lucent.optvis.param import Image, as_image
from lucent.optvis.transform.base import Fused, SizeFn, Transform
from lucent.util import forked_rng

logger = logging.getLogger(__name__)

#: Side of the default image of a network whose spec names none, as in Lucid.
DEFAULT_IMAGE_SIZE = 128


class Pictures(list[np.ndarray]):
    """The list that `render_vis` returns, with what the run measured.

    Attributes:
        history: losses and term values; `history.steps` are the steps of the pictures.
    """

    def __init__(self, images: Iterable[np.ndarray], history: History) -> None:
        super().__init__(images)
        self.history = history


def render_vis(  # noqa: PLR0913 - torch-lucent's arguments
    model: nn.Module,
    objective_f: Objective | Callable[[Any], Tensor] | str,
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
    fixed_image_size: int | Sequence[int] | None = None,
    *,
    seed: int | None = None,
    callbacks: Sequence[Callback] = (),
    relu_override: bool = True,
    draws: int = 1,
) -> Pictures:
    """Find the image that a part of a network looks for, by gradient ascent.

    >>> from lucent.modelzoo import synthnet
    >>> images = render_vis(synthnet(), "mixed4a:7", thresholds=(1, 2), seed=0,
    ...                     show_image=False, progress=False)
    >>> len(images), images[0].dtype, images.history.steps
    (2, dtype('float32'), [1, 2])

    The model comes back as it was, and Ctrl-C returns what there is, the image of that moment
    included.

    Args:
        model: any network that takes (B, C, H, W).
        objective_f: what to look for: "layer:channel", an objective, or a function from `T` to a
            loss.
        param_f: returns the image to optimise, or a pair (params, image_f); None makes one image of
            the size, colours and spectrum of the model's spec.
        optimizer: makes the optimizer of a list of tensors; None is Adam with learning rate 0.05.
        transforms: functions from images to images, applied in turn in every step; None is
            `transform.standard_transforms`, [] none. What they give is brought to the size that the
            network sees, whatever size it has.
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
            the size of the model's spec for smaller images, their own for larger ones.
        seed: makes everything random repeat, and leaves the global generators as they were; None
            draws from them, so that `set_seed` before the call repeats, too.
        callbacks: functions of the `Run`, called before the first step and after every one.
        relu_override: redirect the gradient of ReLUs for the first 17 steps, so that dead units
            start. A model with the attribute `redirected_ReLU = False` is left alone.
        draws: independent draws of the transforms per step; the network sees each image so often.

    Returns:
        One array per threshold reached, in the order of the steps: float32, (B, H, W, C), in [0, 1]
        for `param.image`. The list has the attribute `history`.

    Raises:
        LucentError: an argument cannot be used, and the text says what to give instead, or the loss
            diverged. Its attribute `images` has what was rendered before.

    Source: Olah et al. 2017, Feature Visualization
    (https://distill.pub/2017/feature-visualization).
    """
    steps = _checked_thresholds(thresholds)
    spec = _checked_spec(model, needed=preprocess or fixed_image_size is None)
    settings = RunSettings(
        steps=max(steps),
        seed=seed,
        relu_override=relu_override and getattr(unwrap(model), "redirected_ReLU", True),
        preprocess=preprocess,
        draws=draws,
        spec=spec,
    )
    snapshots = Snapshots(steps)
    with forked_rng(seed):
        image = default_image(spec) if param_f is None else as_image(param_f())
        with Run(
            model,
            as_objective(objective_f),
            image,
            transforms=Fused(_as_list(transforms), _network_size(spec, fixed_image_size)),
            optimizer=optimizer or adam,
            settings=settings,
        ) as run:
            _iterate(
                run, snapshots, [*callbacks, *_displays(steps, progress, verbose, show_inline)]
            )
    pictures = Pictures(snapshots.images, run.history)
    try:
        if save_image:
            export(pictures[-1], image_name)
        if show_inline:
            show(pictures[-1])
        elif show_image:
            view(pictures[-1])
    except LucentError as error:
        error.images = pictures
        raise
    return pictures


def _checked_spec(model: nn.Module, *, needed: bool) -> ModelSpec:
    if not isinstance(model, nn.Module):
        raise InputError(
            f"The model has to be a torch.nn.Module, not {model!r}. A network by its name: "
            "lucent.modelzoo.load(name)."
        )
    known = getattr(unwrap(model), "spec", None)
    if needed or isinstance(known, ModelSpec):
        return spec_of(model)
    return ModelSpec(type(model).__name__)


def _iterate(run: Run, snapshots: Snapshots, others: Sequence[Callback]) -> None:
    """Do the steps; keep the last image also where Ctrl-C or a callback ends them early."""
    try:
        try:
            run.iterate([*others, snapshots])
        except KeyboardInterrupt:
            logger.warning(
                "Interrupted at step %d; the picture of this moment is the last one.", run.step
            )
        if run.history.steps[-1:] != [run.step]:
            snapshots.keep(run)
    except LucentError as error:
        error.images = snapshots.images
        raise


def _displays(
    steps: Sequence[int], progress: bool, verbose: bool, show_inline: bool
) -> list[Callback]:
    chosen: list[Callback] = []
    if verbose:
        chosen.append(Report(steps))
        if show_inline:
            chosen.append(Show(steps))
    if progress:
        chosen.append(Progress())
    return chosen


def _checked_thresholds(thresholds: Iterable[int]) -> list[int]:
    steps = list(thresholds) if isinstance(thresholds, Iterable) else [thresholds]
    if not steps or not all(isinstance(n, numbers.Integral) and n >= 0 for n in steps):
        raise InputError(
            f"thresholds={thresholds!r} has to be whole numbers of steps, for example (128, 512)."
        )
    return [int(n) for n in steps]


def _as_list(transforms: Iterable[Transform] | Transform | None) -> list[Transform]:
    if transforms is None:
        return list(transform.standard_transforms)
    if callable(transforms) and not isinstance(transforms, nn.Sequential):
        return [transforms]
    return list(transforms)


def default_image(spec: ModelSpec, size: int | None = None, *, batch: int = 1) -> Image:
    """Return the image that suits a network: its colours, its spectrum and its size.

    Args:
        spec: facts about the network.
        size: side in pixels; None is that of the spec, 128 if it has none.
        batch: number of images.
    """
    return param.image(
        size or spec.image_size or DEFAULT_IMAGE_SIZE,
        batch=batch,
        color_matrix=spec.color_matrix or COLOR_CORRELATION_SVD_SQRT,
        decay_power=1.0 if spec.decay_power is None else spec.decay_power,
    )


def _network_size(spec: ModelSpec, fixed: int | Sequence[int] | None) -> SizeFn:
    """Return the function from an image's size to the one that the network sees."""
    if fixed is None:
        return functools.partial(_size_by_spec, spec)
    sides = [int(n) for n in np.atleast_1d(fixed)]
    if np.ndim(fixed) > 1 or len(sides) > 2 or min(sides, default=0) < 1:
        raise InputError(
            f"fixed_image_size={fixed!r} has to be (height, width) or the shorter side, in pixels."
        )
    if len(sides) == 2:
        return lambda own: (sides[0], sides[1])
    return lambda own: _zoomed(own, sides[0] / min(own))


def _size_by_spec(spec: ModelSpec, own: tuple[int, int]) -> tuple[int, int]:
    if spec.input_size is None or spec.fixed_size:
        return spec.input_size or own
    # Larger images keep their size; the network was trained on smaller ones, but takes them.
    return _zoomed(own, max(1.0, *(n / m for n, m in zip(spec.input_size, own, strict=True))))


def _zoomed(size: tuple[int, int], zoom: float) -> tuple[int, int]:
    return round(size[0] * zoom), round(size[1] * zoom)


def view(tensor: Tensor | np.ndarray) -> None:
    """Show a batch of images side by side.

    In a notebook they are shown there, else in a window; without a screen they go to a file whose
    name is logged.

    Args:
        tensor: (B, C, H, W), or an array (B, H, W, C), in [0, 1].
    """
    picture = _side_by_side(tensor)
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


def export(tensor: Tensor | np.ndarray, image_name: str | os.PathLike[str] | None = None) -> None:
    """Write a batch of images side by side to a file.

    Args:
        tensor: (B, C, H, W), or an array (B, H, W, C), in [0, 1].
        image_name: its ending chooses the format; None is "image.jpg", as in torch-lucent.

    Raises:
        InputError: the images have other than 1, 3 or 4 channels, or the format cannot hold them.
    """
    save_picture(_side_by_side(tensor), Path("image.jpg" if image_name is None else image_name))


def _side_by_side(tensor: Tensor | np.ndarray) -> np.ndarray:
    return tiled(tensor_to_img_array(tensor) if isinstance(tensor, Tensor) else tensor)


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
