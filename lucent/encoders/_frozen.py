"""An encoder as a run uses it, and its application at every position of a layer."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lucent.encoders._fitted import module_of_fitted
from lucent.errors import InputError
from lucent.overrides._relu import relu_call
from lucent.overrides._swap import FunctionOverride, needs_gradient


class FrozenEncoder:
    """An encoder as a run uses it: a frozen copy in eval mode; the caller's own stays as it is.

    The copy shares the memory of parameters that are on the device already. It computes in the
    wider one of its own floating-point type and that of the activations.

    Args:
        encoder: as of `objectives.latent`.
        device: of the activations.

    Raises:
        InputError: it is no encoder, or cannot be copied.
    """

    def __init__(self, encoder: Any, device: torch.device) -> None:
        # A compiled module would not tell what came before its ReLU.
        encoder = getattr(encoder, "_orig_mod", encoder)
        self.name = encoder_name(encoder)
        if not isinstance(encoder, nn.Module):
            # In the type of most networks; the activations of others make it wider.
            fitted = module_of_fitted(encoder)
            encoder = encoder if fitted is None else fitted.float()
        self._module = _frozen_copy(encoder, device) if isinstance(encoder, nn.Module) else None
        self._encode = _encode_of(encoder if self._module is None else self._module)

    def __call__(self, vectors: Tensor) -> tuple[Tensor | None, Tensor]:
        """Return what came before the last nonlinearity, where that is known, and the latents.

        Args:
            vectors: (M, C).

        Returns:
            Two tensors (M, K).

        Raises:
            InputError: the encoder fails on such vectors, or returns something else.
        """
        if self._module is not None:
            vectors = _in_wider_type(self._module, vectors)
        try:
            with _ReLUs() as relus:
                output = self._encode(vectors)
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, ValueError, AssertionError) as error:
            raise InputError(self._failure(vectors, error)) from error
        before, codes = self._parts(output, len(vectors))
        if needs_gradient(vectors) and not codes.requires_grad:
            raise InputError(
                f"The latents of {self.name} do not depend on the activations for autograd: it "
                "computes outside of PyTorch, or under no_grad, or detaches. Encode in PyTorch."
            )
        return (relus.before(codes) if before is None else before), codes

    def _failure(self, vectors: Tensor, error: Exception) -> str:
        width, given = _width(self._module), vectors.shape[1]
        if width not in (None, given):
            return (
                f"The encoder {self.name} takes vectors of {width} numbers, but the layer has "
                f"{given} channels: name the layer that it was trained on."
            )
        return (
            f"The encoder {self.name} fails on vectors of shape {tuple(vectors.shape)}, one of "
            f"{given} channels for each position: {str(error) or type(error).__name__}. Name the "
            "layer that it was trained on."
        )

    def _parts(self, output: Any, n_vectors: int) -> tuple[Tensor | None, Tensor]:
        """Return (before, codes); of several results, codes come last, as in overcomplete, saev."""
        if is_dataclass(output):
            output = tuple(getattr(output, field.name) for field in fields(output))
        parts = output if isinstance(output, tuple) else (output,)
        tensors = [part for part in parts if isinstance(part, Tensor)]
        if not tensors or tensors[-1].dim() != 2 or len(tensors[-1]) != n_vectors:
            shapes = ", ".join(
                f"shape {tuple(p.shape)}" if isinstance(p, Tensor) else f"a {type(p).__name__}"
                for p in parts
            )
            raise InputError(
                f"The encoder {self.name} returned {shapes or 'nothing'} for {n_vectors} vectors; "
                f"expected latents ({n_vectors}, K). Pick them by a function, such as "
                "encoder=lambda x: sae(x)[1]."
            )
        *others, codes = tensors
        alike = others and others[-1].shape == codes.shape and others[-1] is not codes
        return (others[-1] if alike else None), codes


def encoded(encoder: Any, acts: Tensor) -> Tensor:
    """Return the latents of every position as channels, (B, K, *spatial).

    A latent that is 0 in all of an image passes its gradient to what came before its last
    nonlinearity, where that is known: otherwise most latents of a sparse autoencoder, silent on the
    start image, could never begin.

    Args:
        encoder: a `FrozenEncoder`, or what one can be made of.
        acts: (B, C) or (B, C, *spatial).
    """
    frozen = encoder if isinstance(encoder, FrozenEncoder) else FrozenEncoder(encoder, acts.device)
    vectors = acts.flatten(2).transpose(1, 2) if acts.dim() > 2 else acts[:, None]
    before, codes = frozen(vectors.flatten(0, 1))
    codes = codes.unflatten(0, vectors.shape[:2])
    if before is not None and needs_gradient(before):
        codes = _Awakened.apply(before.unflatten(0, vectors.shape[:2]), codes)
    return codes.transpose(1, 2).reshape(len(acts), -1, *acts.shape[2:])


class _Awakened(torch.autograd.Function):
    """Latents (B, P, K) whose gradient finds a way out of silence.

    The rule of the redirected ReLU (`overrides.RedirectedReLU`) for each latent of each image: its
    plain gradient, unless that is zero everywhere. Then what came before gets it, where descent
    would raise it.
    """

    @staticmethod
    def forward(ctx: Any, before: Tensor, codes: Tensor) -> Tensor:
        ctx.save_for_backward(codes != 0)
        return codes.view_as(codes)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        (grad,), (active,) = grads, ctx.saved_tensors
        silent = ~(active & (grad != 0)).any(1, keepdim=True)
        return torch.where(silent, grad.clamp_max(0), 0), grad


class _ReLUs(FunctionOverride):
    """Notes what went into each ReLU inside its block, and what came out."""

    def __init__(self) -> None:
        super().__init__()
        self._calls: list[tuple[Tensor, Tensor]] = []

    def replacement(
        self, func: Callable[..., Any], args: tuple[Any, ...], options: dict[str, Any]
    ) -> Callable[[], Any] | None:
        """Return what calls the ReLU and notes it."""
        found = relu_call(func, args, options)
        if found is None:
            return None
        given, _, in_place = found

        def noted() -> Any:
            before = given.clone() if in_place else given
            output = func(*args, **options)
            self._calls.append((before, output))
            return output

        return noted

    def before(self, output: Tensor) -> Tensor | None:
        """Return what the ReLU got that gave this output, None if none did."""
        return next((given for given, result in self._calls if result is output), None)


def encoder_name(encoder: Any) -> str:
    """Return how descriptions and errors call an encoder."""
    if isinstance(encoder, FrozenEncoder):
        return encoder.name
    own = getattr(encoder, "__qualname__", None)  # of a function or a class
    return str(own or type(encoder).__name__)


def _frozen_copy(encoder: nn.Module, device: torch.device) -> nn.Module:
    # What is in this dictionary is not copied but taken, so big dictionaries stay one.
    taken: dict[int, Any] = {
        id(parameter): nn.Parameter(parameter.detach().to(device), requires_grad=False)
        for parameter in encoder.parameters()
    }
    # Modules keep tensors outside of their registers, too; deepcopy refuses what was computed.
    kept = (value for module in encoder.modules() for value in vars(module).values())
    taken |= {id(v): v.detach().to(device, copy=True) for v in kept if isinstance(v, Tensor)}
    try:
        made = copy.deepcopy(encoder, taken)
    except (RuntimeError, TypeError) as error:
        raise InputError(
            f"The encoder {encoder_name(encoder)} cannot be copied for the run: {error}. Give its "
            "method alone, as in encoder=sae.encode."
        ) from error
    return made.to(device).eval()


def _encode_of(encoder: Any) -> Callable[[Tensor], Any]:
    encode = getattr(encoder, "encode", encoder)
    if not callable(encode) or isinstance(encoder, type | str):
        raise InputError(
            f"{encoder!r} is no encoder: give a module or a function from vectors (M, C) to "
            "latents (M, K), an object with such an `encode`, a fitted ChannelReducer, a linear "
            "probe of scikit-learn, or directions (K, C)."
        )
    return encode  # type: ignore[no-any-return]


def _in_wider_type(module: nn.Module, vectors: Tensor) -> Tensor:
    """Bring a module and vectors to one floating-point type, which loses digits of neither."""
    tensors = itertools.chain(module.parameters(), module.buffers())
    kinds = [tensor.dtype for tensor in tensors if tensor.is_floating_point()]
    if not kinds:
        return vectors
    wider = torch.promote_types(kinds[0], vectors.dtype)
    if wider != kinds[0]:
        module.to(wider)
    return vectors.to(wider)


def _width(module: nn.Module | None) -> int | None:
    """Return how many numbers the vectors have that a module takes, None where it does not say."""
    for part in () if module is None else module.modules():
        if isinstance(part, nn.Linear):
            return part.in_features
        if isinstance(weight := getattr(part, "W_enc", None), Tensor):  # saev, sae_lens
            return int(weight.shape[0])
    return None
