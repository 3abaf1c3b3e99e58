"""What is collected: settings as a value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, get_args

from lucent.errors import InputError

if TYPE_CHECKING:
    from typing_extensions import Self

#: How numbers of vectors are kept.
Dtype = Literal["float16", "float32"]
_AT_LEAST = {
    "examples": 1, "spread": 1, "vectors": 1, "margin": 0, "shard": 1, "batch": 1, "seed": 0,
}  # fmt: skip


@dataclass(frozen=True)
class CollectSettings:
    """What `collect` keeps, and in which portions.

    All of them belong to the plan of a collection: a run that goes on has to have the same.

    >>> CollectSettings(shard=512).examples
    9

    Attributes:
        examples: images for each unit and each kind of example.
        spread: images, drawn from all, of which every unit's values are kept: the examples in the
            middle of the distribution are found among them.
        vectors: positions that are drawn in each image, independently of each other.
        margin: rows and columns at the edge of a layer where none is drawn, if there are others.
        attributions: what each drawn position does for the logits, where the network has any.
        shard: images that are worked through at a time, a multiple of the batch; what a killed run
            has to do again. Neither numbers nor order depend on it.
        batch: images in a pass.
        seed: of all that is drawn.
        limit: images, from the first on; None is all.
        size: (height, width), or both, that pictures are brought to, in pixels; None is that of the
            network's spec, and without one that of the first picture.
        dtype: of the vectors and attributions that are kept, what half precision cannot hold as the
            largest number that it can.
        layout: which axis of a layer is which, where that cannot be found out; see `Activations`.

    Raises:
        InputError: a number is too small or none, or the shard is no multiple of the batch.
    """

    examples: int = 9
    spread: int = 2048
    vectors: int = 1
    margin: int = 1
    attributions: bool = True
    shard: int = 256
    batch: int = 32
    seed: int = 0
    limit: int | None = None
    size: int | tuple[int, int] | None = None
    dtype: Dtype = "float16"
    layout: str | Mapping[str, str] | None = None

    def __post_init__(self) -> None:
        for name, least in _AT_LEAST.items():
            _check_whole(name, getattr(self, name), least)
        if self.limit is not None:
            _check_whole("limit", self.limit, 1)
        if self.seed >= 2**63:
            raise InputError(f"seed={self.seed} has to be below 2^63.")
        if self.shard % self.batch:
            raise InputError(
                f"shard={self.shard} is no multiple of batch={self.batch}: shards consist of whole "
                f"batches, for example shard={self.batch * max(1, self.shard // self.batch)}."
            )
        if self.dtype not in get_args(Dtype):
            raise InputError(f"dtype={self.dtype!r} is unknown: it is 'float16' or 'float32'.")
        if isinstance(self.size, list):  # as JSON has it
            object.__setattr__(self, "size", tuple(self.size))
        own = 1 if self.size is None else self.size
        sides = own if isinstance(own, tuple) else (own, own)
        if len(sides) != 2 or not all(type(n) is int and n >= 1 for n in sides):
            raise InputError(f"size={self.size!r} has to be (height, width), or one for both.")

    def to_json(self) -> dict[str, Any]:
        """Return the settings as what JSON knows."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """Return the settings that `to_json` wrote.

        Raises:
            InputError: a setting is unknown.
        """
        known = {field.name for field in fields(cls)}
        if unknown := sorted(content.keys() - known):
            raise InputError(f"There is no setting {unknown[0]!r}: known are {sorted(known)}.")
        return cls(**content)


def _check_whole(name: str, value: Any, least: int) -> None:
    if type(value) is not int or value < least:
        raise InputError(f"{name}={value!r} has to be a whole number, {least} or more.")
