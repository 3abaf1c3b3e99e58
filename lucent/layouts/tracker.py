"""Coordinates that travel with the numbers of an image through a network.

A tensor (B, N, C) does not say that its middle axis is a grid of patches behind a class token. What
the network did to it does. So a pass of the network is watched, and *coordinates* travel with its
tensors: whatever only moves numbers - reshape, permute, cat, windows, a slice - is done to the
coordinates of the numbers as well, a convolution or a linear layer gives new channels, and a sum of
two tensors has the coordinates of the larger one.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator, Mapping
from itertools import zip_longest
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakTensorKeyDictionary

from lucent.layouts.coordinates import (
    CHANNEL,
    FIRST_TOKEN,
    NOWHERE,
    Coordinates,
    count,
    counted,
    counts_channels,
    fitting,
    in_grid,
    of_image,
    varies,
    with_most_places,
)

# Functions that move numbers and compute nothing.
_MOVES = frozenset({
    "T", "adjoint", "broadcast_to", "chunk", "diagonal", "dsplit", "dstack", "expand", "expand_as",
    "flatten", "flip", "fliplr", "flipud", "getitem", "hsplit", "hstack", "index_select", "mH",
    "mT", "moveaxis", "movedim", "narrow", "permute", "ravel", "repeat", "repeat_interleave",
    "reshape", "reshape_as", "roll", "rot90", "select", "split", "split_with_sizes", "squeeze",
    "stack", "swapaxes", "swapdims", "t", "take_along_dim", "tensor_split", "tile", "transpose",
    "unbind", "unflatten", "unfold", "unsafe_chunk", "unsafe_split", "unsqueeze", "view", "view_as",
    "vsplit", "vstack",
})  # fmt: skip
_JOINS = {"cat", "concat", "concatenate"}
# Functions of images (B, C, *spatial) that make a grid of their own.
_GRIDS = (
    "conv", "max_pool", "avg_pool", "adaptive_", "lp_pool", "fractional_max_pool", "interpolate",
    "upsample", "grid_sample", "pixel_",
)  # fmt: skip
_REDUCTIONS = {"mean", "sum", "amax", "amin", "max", "min", "logsumexp", "norm", "var", "std"}
_PRODUCTS = {"matmul", "rmatmul", "bmm"}
_WRITES = {"setitem", "copy"}
# What comes out has the shape of what went in, and other numbers in each place.
_SCRAMBLES = {"sort", "argsort", "msort", "topk", "gather", "scatter", "masked_scatter", "cdist"}


class _LostError(ValueError):
    """Nobody knows where the numbers of a tensor come from."""


class Tracker(TorchFunctionMode):
    """Carries coordinates through a pass of a network.

    >>> layer, image = nn.Conv2d(3, 8, 2, stride=2), torch.zeros(2, 3, 8, 8)
    >>> with Tracker(layer, image) as tracker:
    ...     tokens = layer(image).flatten(2).transpose(1, 2)
    >>> tokens.shape, tracker.of(tokens).positions[0, :, 0].tolist()
    (torch.Size([2, 16, 8]), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15])

    Args:
        model: the network, whose parameters may be tokens that it adds.
        image: what it is given, (B, C, *spatial).

    Attributes:
        tokens: names of what was added to the positions, in the order of their numbers.
    """

    def __init__(self, model: nn.Module, image: Tensor) -> None:
        super().__init__()
        named = [*model.named_parameters(), *model.named_buffers()]
        self._names = {id(t): "" for part in model.modules() for t in _tensors(vars(part))}
        self._names |= {id(tensor): name for name, tensor in named}
        self.tokens: list[str] = []
        # None for what comes from the image, but nobody knows from where.
        self._known = WeakTensorKeyDictionary()
        # What was made of the network's own numbers alone, and by which name.
        self._own = WeakTensorKeyDictionary()
        self._n_images = len(image)
        self._note(image, of_image(image))

    def of(self, tensor: Tensor) -> Coordinates | None:
        """Return the coordinates of a tensor of the pass, None if they were lost on the way."""
        found: Coordinates | None = self._known.get(tensor)
        return found

    def _note(self, tensor: Tensor, coordinates: Coordinates | None) -> None:
        self._known[tensor] = coordinates

    def same(self, output: Any, inputs: Any) -> None:
        """Give outputs without coordinates those of the first input, if it has the same shape.

        Not where channels and positions are as many, so that the shape does not tell them apart.
        """
        first = next(_tensors(inputs), None)
        known = None if first is None else self.of(first)
        lost = [tensor for tensor in _tensors(output) if self.of(tensor) is None]
        if lost and known is not None and not known.added and known.is_told_by_shape:
            for tensor in lost:
                if (found := fitting(tensor, [known])) is not None:
                    self._note(tensor, found)

    def _is_own(self, tensor: Tensor) -> bool:
        """Whether no number of the image went into a tensor, as far as the tracker saw it made."""
        if tensor in self._known:
            coordinates = self.of(tensor)
            return coordinates is not None and coordinates.added
        return id(tensor) in self._names or tensor in self._own

    def _name(self, tensor: Tensor) -> str:
        """Return the name of the parameter that a tensor of the network's own comes from."""
        coordinates = self.of(tensor)
        if coordinates is None:
            return str(self._own.get(tensor, self._names.get(id(tensor), "")))
        return self.tokens[int(coordinates.positions.amin()) - FIRST_TOKEN]

    def _given(self, tensor: Tensor) -> Coordinates:
        """Return the coordinates of a tensor that is moved or joined with others."""
        if (coordinates := self.of(tensor)) is not None:
            return coordinates
        if not self._is_own(tensor):
            raise _LostError
        return self._token(tensor)

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        options = dict(kwargs or {})
        output = func(*args, **options)
        name = function_name(func)
        # Of what `new_zeros` is asked of, only the kind of numbers is used.
        inputs = [] if name.startswith("new_") else [*_tensors([args, options])]
        own = all(map(self._is_own, inputs))
        if name in _WRITES and not own:
            self._written(args[0])
        if made := [*_tensors(output)]:
            try:
                found = _flat(self._rule(name)(func, args, options, output))
            # A use of the function that its rule does not know: the coordinates are lost.
            except (RuntimeError, TypeError, ValueError, IndexError):
                found = []
            for tensor, coordinates in zip_longest(made, found[: len(made)]):
                if coordinates is not None and coordinates.shape == tensor.shape:
                    self._note(tensor, coordinates)
                elif not own:
                    self._note(tensor, None)
                elif id(tensor) not in self._names:
                    self._own[tensor] = next(filter(None, map(self._name, inputs)), "")
        return output

    def _written(self, tensor: Tensor) -> None:
        """Note that numbers of the image are now in a tensor of the network's own, or a part."""
        whole = tensor if tensor._base is None else tensor._base
        if self._is_own(whole):
            self._note(whole, None)

    def _rule(self, name: str) -> Callable[..., Any]:
        if name in _MOVES:
            return self._moved
        if name == "pad":
            return self._padded
        if name.startswith(_GRIDS):
            rank = re.search(r"(\d)d", name)
            axes = None if rank is None else int(rank[1]) + 2
            return functools.partial(self._spatial, keeps=not name.startswith("conv"), axes=axes)
        if name in _SCRAMBLES or name.startswith("new_"):
            return lambda *_: None
        rules = {
            "linear": self._linear,
            "scaled_dot_product_attention": self._attended,
            "multi_head_attention_forward": self._attention,
            "einsum": self._einsum,
        }
        if name in _PRODUCTS:
            return self._product
        if name in _JOINS:
            return self._joined
        return rules.get(name, self._reduced if name in _REDUCTIONS else self._elementwise)

    # ---- the rules: (func, args, options, output) to the coordinates of the output ----

    def _moved(self, func: Callable[..., Any], args: Any, options: Any, output: Any) -> Any:
        sources: list[Coordinates] = []

        def codes(value: Any) -> Any:
            if isinstance(value, Tensor) and value.is_floating_point():
                coordinates = self._given(value)
                sources.append(coordinates)
                return coordinates.codes
            if isinstance(value, list | tuple):
                return type(value)(map(codes, value))
            return value

        moved = func(*map(codes, args), **{name: codes(value) for name, value in options.items()})
        if all(source.added for source in sources):
            # As numbers of the network's own, they are counted anew where they join the image's.
            return [sources[0].moved(c) for c in _tensors(moved)] if sources else None
        main = with_most_places(source for source in sources if not source.added)
        return [main.moved(c) for c in _tensors(moved)]

    def _joined(self, func: Callable[..., Any], args: Any, options: Any, output: Any) -> Any:
        """Put tokens of the network's own beside those of each image: they belong to it now."""
        parts, axis = args[0], options.get("dim", args[1] if len(args) > 1 else 0)
        known = [c for part in parts if (c := self.of(part)) and not c.added]
        if not known:
            return self._moved(func, args, options, output)
        own = with_most_places(known)
        given = [self._given(part) for part in parts]
        if axis in (1, 1 - output.dim()) and all(c.parts and c.grid == own.grid for c in given):
            channels = count(output.shape[1], output.device)
            return in_grid(own.images.flatten(1)[:, 0], channels, own.grid)
        if counts_channels(own.moved(torch.cat([c.codes for c in known], axis)), axis):
            size = sum(c.shape[axis] for c in given)
            return own.moved(counted(own.codes.narrow(axis, 0, 1), axis, size))
        # The same of an image and of a channel as the part beside them.
        beside = (own.codes - own.positions * CHANNEL).narrow(axis, 0, 1)
        codes = [c.codes + beside.expand(c.shape) if c.added else c.codes for c in given]
        return own.moved(torch.cat(codes, axis))

    def _token(self, tensor: Tensor) -> Coordinates:
        """Return the coordinates of numbers that do not come from the image."""
        number = FIRST_TOKEN + len(self.tokens)
        self.tokens.append(self._name(tensor))
        made = Coordinates(
            torch.full(tensor.shape, number * CHANNEL, device=tensor.device), (), added=True
        )
        self._note(tensor, made)
        return made

    def _padded(self, func: Any, args: Any, options: Any, output: Tensor) -> Coordinates | None:
        given = self.of(args[0])
        if given is None:
            return None
        if output.dim() > 3 and not varies(given.channels, -1):
            return self._spatial(func, args, options, output, keeps=True)
        pads = options.get("pad", args[1] if len(args) > 1 else ())
        if any(pads[:2]) and counts_channels(given, -1):
            padded = nn.functional.pad(given.codes, (0, 0, *pads[2:]), value=NOWHERE)
            return given.moved(counted(padded[..., :1], -1, output.shape[-1]))
        return given.moved(nn.functional.pad(given.codes, pads, value=NOWHERE))

    def _spatial(
        self,
        func: Any,
        args: Any,
        options: Any,
        output: Any,
        *,
        keeps: bool,
        axes: int | None = None,
    ) -> Coordinates | None:
        source = args[0] if args else options.get("input")
        given, output = self.of(source), next(_tensors(output))
        if output.dim() != source.dim() or output.dim() < (axes or 3):
            return None
        if given is None:
            # What a convolution gives has its axes by definition, as far as its rows are images.
            known = not keeps and len(output) == self._n_images and not self._is_own(source)
            rows, channels = (count(n, output.device) for n in output.shape[:2])
            return in_grid(rows, channels, output.shape[2:]) if known else None
        origin: tuple[Any, ...] = (slice(None), slice(None), *[0] * (output.dim() - 2))
        images, channels = given.images[origin], given.channels[origin]
        fresh = count(output.shape[1], output.device)
        kept = channels[0] if keeps and output.shape[1] == source.shape[1] else fresh
        if len(images) != len(output):
            return None
        if output.shape[2:] == source.shape[2:]:  # tokens among the positions stay what they are
            if given.parts is not None:
                return in_grid(images[:, 0], kept, given.grid)
            shape = [-1, *[1] * (output.dim() - 2)]
            return given.moved(given.codes[:, :1] // CHANNEL * CHANNEL + kept.view(shape))
        return in_grid(images[:, 0], kept, output.shape[2:])

    def _linear(self, func: Any, args: Any, options: Any, output: Tensor) -> Coordinates | None:
        given = self.of(args[0] if args else options["input"])
        if given is None:
            return None
        codes = given.codes[..., :1] // CHANNEL * CHANNEL
        return given.moved(codes + count(output.shape[-1], output.device))

    def _product(self, func: Any, args: Any, options: Any, output: Tensor) -> Coordinates | None:
        first, second = self.of(args[0]), self.of(args[1])
        if first is None:
            return None
        if self._is_own(args[1]):
            return self._linear(func, args, options, output)
        if second is None or first.added:
            return None
        # Attention maps are products of queries and keys, which have their channels last; what is
        # attended to has positions there.
        if varies(first.channels, -1):
            codes = first.codes[..., :1].expand(output.shape)
            keys = second.positions.flatten(0, -2)[0]
            return Coordinates(codes, first.grid, keys=keys)
        return self._mixed(first, second, output)

    def _attended(self, func: Any, args: Any, options: Any, output: Tensor) -> Coordinates | None:
        given = [*args, *(options[name] for name in ("query", "key", "value") if name in options)]
        query, value = self.of(given[0]), self.of(given[2])
        if query is None or value is None or query.added:
            return None
        return self._mixed(query, value, output)

    def _attention(self, func: Any, args: Any, options: Any, output: Any) -> Coordinates | None:
        """Return what PyTorch's own attention gives beside its maps, at the queries' positions."""
        query = self.of(args[0])
        if query is None or query.added:
            return None
        return self._linear(func, args, options, output[0])

    def _mixed(self, query: Coordinates, value: Coordinates, output: Tensor) -> Coordinates:
        """Return coordinates of values that were mixed along positions: the queries' positions."""
        places = query.codes[..., :1] // CHANNEL * CHANNEL
        return query.moved((places + value.channels[..., :1, :]).expand(output.shape))

    def _reduced(self, func: Any, args: Any, options: Any, output: Any) -> Any:
        given = self.of(args[0])
        axes = options.get("dim", args[1] if len(args) > 1 else None)
        if isinstance(axes, Tensor):  # the larger of two
            return self._elementwise(func, args, options, output)
        if given is None or axes is None:
            return None
        axes = sorted(
            {axis % args[0].dim() for axis in ([axes] if isinstance(axes, int) else axes)}
        )
        codes = given.codes
        for axis in reversed(axes):
            # What is summed over has no coordinate of its own any more.
            codes = codes.narrow(axis, codes.shape[axis] - 1, 1)
        shape = next(_tensors(output)).shape
        return given.moved(codes.reshape(shape))

    def _einsum(self, func: Any, args: Any, options: Any, output: Tensor) -> Coordinates | None:
        equation, *operands = args
        operands = operands[0] if isinstance(operands[0], list | tuple) else operands
        inputs, _, result = str(equation).replace(" ", "").partition("->")
        letters = inputs.split(",")
        tracked = [
            (own, self._given(t))
            for own, t in zip(letters, operands, strict=True)
            if not self._is_own(t)
        ]
        if len(tracked) != 1 or not result:
            return None
        own, given = tracked[0]
        dots = "ABCDEFGH"[: given.codes.dim() - len(own.replace("...", ""))]
        own, result = own.replace("...", dots), result.replace("...", dots)
        kept = [letter for letter in own if letter in result]
        gone = [axis for axis, letter in enumerate(own) if letter not in result]
        codes = given.codes
        for axis in reversed(gone):
            codes = codes.select(axis, 0)
        fresh = [letter for letter in result if letter not in own]
        for _ in fresh:
            codes = codes[..., None]
        order = [[*kept, *fresh].index(letter) for letter in result]
        codes = codes.permute(order).expand(output.shape)
        if len(fresh) == 1:
            axis = result.index(fresh[0])
            codes = counted(codes.narrow(axis, 0, 1), axis, output.shape[axis])
        return given.moved(codes)

    def _elementwise(self, func: Any, args: Any, options: Any, output: Any) -> Any:
        known = [c for t in _tensors([args, options]) if (c := self.of(t)) and not c.added]
        return [fitting(tensor, known) for tensor in _tensors(output)]


def function_name(func: Callable[..., Any]) -> str:
    """Return the name of a torch function as the graph of `torch.fx` has it, without underscores.

    >>> function_name(torch.Tensor.relu_), function_name(torch.Tensor.mT.__get__)
    ('relu', 'mT')
    """
    name = getattr(func, "__name__", "")
    if name == "__get__":
        name = getattr(getattr(func, "__self__", None), "__name__", "")
    return name.strip("_")


def _tensors(values: Any) -> Iterator[Tensor]:
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, Mapping):
        for value in values.values():
            yield from _tensors(value)
    elif isinstance(values, list | tuple):
        for value in values:
            yield from _tensors(value)


def _flat(found: Any) -> list[Coordinates | None]:
    return found if isinstance(found, list) else [found]
