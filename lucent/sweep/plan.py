"""What a sweep has to do, as a value: which pictures, with which seeds, in which batches."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from lucent.errors import StorageError
from lucent.folders import slug
from lucent.sweep.settings import KINDS, Kind, SweepSettings

if TYPE_CHECKING:
    from typing_extensions import Self

#: The numbers of JSON that every reader gets exactly, those of a browser too, have 53 bits.
_SEED_BITS = 53
#: Of a batch, what there is one of for each unit.
_LISTS = ("units", "seeds", "targets")


@dataclass(frozen=True)
class Job:
    """One unit to show.

    Attributes:
        layer: its layer.
        unit: its channel, 0 to C - 1.
        kind: what is shown of it.
        seed: of its picture, or of the first one of several.
        target: what is rendered, "layer:unit": the unit, of "negative" before its rectifier, since
            there is nothing less than zero behind it.
    """

    layer: str
    unit: int
    kind: Kind
    seed: int
    target: str


@dataclass(frozen=True)
class Batch:
    """Units of one layer and kind that are rendered together.

    Attributes:
        number: counted from 0 within the layer and kind.
        layer: of all its units.
        kind: of all its pictures.
        units: channels.
        seeds: one for each unit.
        targets: one for each unit, see `Job`.
    """

    number: int
    layer: str
    kind: Kind
    units: tuple[int, ...]
    seeds: tuple[int, ...]
    targets: tuple[str, ...]

    @property
    def name(self) -> str:
        """A name that no other batch of the plan has, for a folder."""
        return f"{slug(self.layer)}-{self.kind}-{self.number:05d}"

    @property
    def jobs(self) -> tuple[Job, ...]:
        """The units one by one."""
        each = zip(self.units, self.seeds, self.targets, strict=True)
        return tuple(Job(self.layer, unit, self.kind, seed, target) for unit, seed, target in each)


@dataclass(frozen=True)
class SweepPlan:
    """All pictures of a sweep. It is a value: equal plans give equal pictures.

    Attributes:
        model: name of the network.
        weights: what `lucent.weights.digest` gives of it.
        settings: how the pictures are made, the size and the preset included.
        shapes: by layer, what it gives of one picture: (C, *spatial).
        batches: in the order in which they are rendered.
    """

    model: str
    weights: str
    settings: SweepSettings
    shapes: Mapping[str, tuple[int, ...]]
    batches: tuple[Batch, ...]

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers, in order."""
        return tuple(self.shapes)

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """What is shown of the units."""
        planned = {batch.kind for batch in self.batches}
        return tuple(kind for kind in KINDS if kind in planned)

    @property
    def pictures(self) -> int:
        """How many pictures there will be."""
        return sum(len(batch.units) * self.pictures_of(batch.kind) for batch in self.batches)

    def pictures_of(self, kind: Kind) -> int:
        """Return how many pictures of a unit there are of a kind."""
        return self.settings.diversity if kind == "diversity" else 1

    def units(self, layer: str) -> list[int]:
        """Return the channels of a layer that are swept, ascending."""
        return sorted({unit for b in self.batches if b.layer == layer for unit in b.units})

    def without(self, done: Collection[str]) -> SweepPlan:
        """Return the plan of what is left to do.

        Args:
            done: names of batches.
        """
        left = tuple(batch for batch in self.batches if batch.name not in done)
        return replace(self, batches=left)

    def asks_for_the_same(self, other: SweepPlan) -> bool:
        """Tell whether another plan is the same but for how "auto" divided it into batches."""
        same = replace(self, batches=()) == replace(other, batches=())
        automatic = self.settings.batch_size == "auto"
        return self == other or (automatic and same and set(self._jobs()) == set(other._jobs()))

    def _jobs(self) -> Iterator[Job]:
        return (job for batch in self.batches for job in batch.jobs)

    def summary(self) -> str:
        """Return what there is to do, a line for each layer."""
        size, steps = self.settings.size, self.settings.steps
        lines = [
            f"{self.model}: {self.pictures} pictures of {size} x {size} pixels in "
            f"{len(self.batches)} batches, {steps} steps each"
        ]
        for layer in self.layers:
            own = [batch for batch in self.batches if batch.layer == layer]
            kinds = ", ".join(kind for kind in KINDS if any(batch.kind == kind for batch in own))
            largest = max((len(batch.units) for batch in own), default=0)
            lines.append(
                f"  {layer}: {len(self.units(layer))} of {self.shapes[layer][0]} units; "
                f"{kinds or 'nothing left'}; {largest} at a time"
            )
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """Return the plan as what JSON knows: `json.dumps` writes it."""
        return {
            "model": self.model,
            "weights": self.weights,
            "settings": asdict(self.settings),
            # A list, because the keys of an object have no order.
            "layers": [{"name": name, "shape": [*shape]} for name, shape in self.shapes.items()],
            "batches": [
                {**vars(batch), **{name: [*getattr(batch, name)] for name in _LISTS}}
                for batch in self.batches
            ],
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """Return the plan that `to_json` gave.

        Raises:
            StorageError: it is not complete, or from another release.
        """
        try:
            return cls(
                model=str(content["model"]),
                weights=str(content["weights"]),
                settings=SweepSettings(**content["settings"]),
                shapes={layer["name"]: tuple(layer["shape"]) for layer in content["layers"]},
                batches=tuple(
                    Batch(**{**batch, **{name: (*batch[name],) for name in _LISTS}})
                    for batch in content["batches"]
                ),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise StorageError(
                f"This is no plan of a sweep ({error!r}): make it with plan_sweep(model)."
            ) from error


def seed_of(seed: int, layer: str, unit: int, kind: str) -> int:
    """Return the seed of a unit, in which no other unit plays a part.

    >>> seed_of(0, "mixed4a", 7, "channel")
    996889623759147

    Args:
        seed: of the sweep.
        layer: its layer.
        unit: its channel.
        kind: what is shown of it.

    Returns:
        0 to 2**53 - 1.
    """
    text = "\0".join((str(seed), layer, str(unit), kind))
    return int(hashlib.sha256(text.encode()).hexdigest(), 16) % 2**_SEED_BITS
