"""From the image to the loss: what a step computes before it takes the gradient."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext

import torch
from torch import Tensor, nn

from lucent.errors import InputError
from lucent.generators import AnyGenerator
from lucent.hooks import Activations
from lucent.layers import unwrap
from lucent.modelzoo.spec import ModelSpec, spec_of
from lucent.optvis.objectives import Objective
from lucent.optvis.param import Image
from lucent.optvis.settings import RunSettings
from lucent.optvis.transform.base import Transform, at, call, compose
from lucent.overrides import (
    REDIRECTED_STEPS,
    FunctionalReLUs,
    folded_norms,
    frozen_forwards,
    redirected_relu,
)
from lucent.util import device_of, dtype_of

logger = logging.getLogger(__name__)

#: What torch says of a `.view` that the memory format of a tensor does not allow.
_NO_VIEW = "view size is not compatible"


class Forward:
    """Image, transforms, preprocessing, truncated forward pass, loss.

    Args:
        model: the network, unwrapped or not.
        objective: what to look for.
        image: what is optimised.
        transforms: what the image goes through before the network.
        settings: of the run.

    Attributes:
        acts: the activations of the last pass.
        redirects_functions: whether the model calls ReLU as a function, None as long as that is not
            known.
    """

    def __init__(
        self,
        model: nn.Module,
        objective: Objective,
        image: Image,
        transforms: Transform | None,
        settings: RunSettings,
    ) -> None:
        self._model, self._settings, self._image = unwrap(model), settings, image
        self._spec = settings.spec or (
            spec_of(model) if settings.preprocess else ModelSpec(name="")
        )
        self.transforms = compose([]) if transforms is None else transforms
        self.acts = Activations(
            model,
            objective.layers,
            aliases=self._spec.layer_aliases,
            layout=settings.layout,
        )
        self.acts.labels = self._spec.labels
        self.acts.draws = int(settings.draws)
        self.acts.hand_out = self._handed_out
        self.redirects_functions: bool | None = None
        self._objective = objective  # with its tensors on the model's device, once it is open
        self._channels_last = settings.channels_last

    def open(self, objective: Objective) -> AbstractContextManager[object]:
        """Hook the model, until the context ends, and put everything else on its device."""
        self.device, self._dtype = device_of(self._model), dtype_of(self._model)
        # An image in half precision would not learn: steps are smaller than its resolution.
        self._image.to(self.device, torch.float64 if self._dtype == torch.float64 else None)
        self._objective = objective.to(self.device)
        if self._channels_last is None:
            self._channels_last = any(isinstance(m, nn.Conv2d) for m in self._model.modules())
        # Autocast would make float32 of what a norm returns in bfloat16.
        exact = self._settings.precision != "bf16"
        # The layers of a plain function are not known yet, and one may be a convolution.
        self._may_fold = exact and bool(self.acts.layers)
        with ExitStack() as stack:
            if exact:
                stack.enter_context(frozen_forwards(self._model))
            stack.enter_context(self.acts)
            self._stack = stack.pop_all()
        return self._stack

    @property
    def redirecting(self) -> bool:
        """Whether this is one of the steps in which ReLUs are redirected."""
        return self._settings.relu_override and self.acts.step < REDIRECTED_STEPS

    def override(self) -> AbstractContextManager[None]:
        """Redirect the ReLU modules, where it is time to; it has to last for the backward pass."""
        if not self.redirecting:
            return nullcontext()
        return redirected_relu(self._model, functional=False)

    def __call__(self, generator: AnyGenerator) -> tuple[Tensor, Tensor, Tensor]:
        """Return the loss, 0-d, the value of each term, (n_terms,), and the image."""
        # What is left of the last step would tie the backward pass of this one to the stream of the
        # last one, which no graph may be recorded with.
        self.acts.clear()
        self._image.draw(generator)
        self.acts.sample = self._image.sample
        image = self._image()
        if not isinstance(image, Tensor) or image.dim() < 4:
            raise InputError(
                f"The parametrization gave {_shape_text(image)}; expected a tensor (B, C, H, W)."
            )
        network_input = self._network_input(image.to(self.device), generator)
        if self._may_fold:
            self._may_fold = False
            self._fold(network_input[:1].detach())
        state = self.acts.state
        while True:
            layers, self.acts.state = self.acts.layers, copy.deepcopy(state)
            with self._while_the_model_runs(network_input):
                self.acts.run(network_input, original=image)
            values = self._objective.values(self.acts)
            # A layer that a plain callable asked for in between came from another pass. All of a
            # step comes from one, so that a resumed run repeats it bit for bit.
            if self.acts.layers == layers:
                return self._objective.loss(values, self.acts.step), values, image

    def _fold(self, network_input: Tensor) -> None:
        def run() -> list[Tensor]:
            self.acts.run(network_input)
            return [self.acts(layer) for layer in sorted(self.acts.layers)]

        self._stack.enter_context(folded_norms(self._model, run))

    def gave_up_channels_last(self, error: RuntimeError) -> bool:
        """Go back to ordinary memory, if it was the other format that a `.view` failed on."""
        if not self._channels_last or _NO_VIEW not in str(error):
            return False
        logger.info("This model needs its activations in ordinary memory: channels_last=False.")
        self._channels_last = False
        return True

    def _network_input(self, image: Tensor, generator: AnyGenerator) -> Tensor:
        transform = at(self.transforms, self.acts.step)
        draws = [call(transform, image, generator) for _ in range(self.acts.draws)]
        image = draws[0] if len(draws) == 1 else _interleaved(draws)
        if self._settings.preprocess:
            image = self._spec.preprocess(image)
        image = image.to(self._dtype)
        if self._channels_last and image.dim() == 4:
            image = image.contiguous(memory_format=torch.channels_last)
        return image

    @contextmanager
    def _while_the_model_runs(self, network_input: Tensor) -> Iterator[None]:
        """Redirect functional ReLUs of a model that has any, and compute in the precision set."""
        with ExitStack() as stack:
            if self._settings.precision == "bf16":
                stack.enter_context(torch.autocast(self.device.type, torch.bfloat16))
            if self.redirecting and self._calls_relu(network_input):
                stack.enter_context(FunctionalReLUs())
            yield

    def _calls_relu(self, network_input: Tensor) -> bool:
        if self.redirects_functions is None:
            # The modules are redirected already and so do not count themselves.
            with FunctionalReLUs(redirect=False) as seen:
                self.acts.plan(network_input)
            self.redirects_functions = seen.calls > 0
        return self.redirects_functions

    def _handed_out(self, acts: Tensor) -> Tensor:
        """Return an activation as scores expect it, whatever the network computed in."""
        if self._settings.precision == "bf16" and acts.is_floating_point():
            acts = acts.to(self._dtype)
        return acts.contiguous() if self._channels_last else acts


def _interleaved(draws: list[Tensor]) -> Tensor:
    """Return the draws of each image one after the other, (B * n_draws, C, H, W)."""
    shapes = {tuple(draw.shape) for draw in draws}
    if len(shapes) > 1:
        raise InputError(
            f"The draws of the transforms differ in size, {sorted(shapes)}, and cannot share a "
            "batch: end the transforms with crop_or_pad_to, or use render_vis, where they end at "
            "the size that the network sees."
        )
    return torch.stack(draws, dim=1).flatten(0, 1)


def _shape_text(value: object) -> str:
    return str(tuple(value.shape)) if isinstance(value, Tensor) else f"a {type(value).__name__}"
