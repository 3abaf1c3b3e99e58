"""Reading a finished sweep."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lucent.errors import InputError, StorageError, suggestion
from lucent.folders import finished
from lucent.sweep.plan import SweepPlan
from lucent.sweep.settings import Kind, SweepSettings

if TYPE_CHECKING:
    from typing_extensions import Self

#: What folders of sweeps are called, and the key of their manifest.
KIND, RECORDS = "sweep", "records"


@dataclass(frozen=True)
class Record:
    """What a sweep has of a unit.

    Attributes:
        layer: its layer.
        unit: its channel.
        kind: what is shown of it.
        seed: of its picture, or of the first one of several.
        target: what was rendered, "layer:unit": the unit, of "negative" before its rectifier.
        files: PNG files, as paths within the folder of the sweep; none if it failed.
        scores: activation of the target on each picture as its file holds it, without transforms:
            in the mean over all positions, of "neuron" at the one in the middle.
        error: why there is no picture, None if there is.
    """

    layer: str
    unit: int
    kind: Kind
    seed: int
    target: str
    files: tuple[str, ...]
    scores: tuple[float, ...]
    error: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return it as what JSON knows."""
        # JSON has no NaN and no infinity.
        scores = [score if math.isfinite(score) else None for score in self.scores]
        return {**vars(self), "files": [*self.files], "scores": scores}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """Return what `to_json` gave."""
        scores = (math.nan if score is None else score for score in content["scores"])
        return cls(**{**content, "files": (*content["files"],), "scores": (*scores,)})


class Sweep:
    """The pictures of a finished sweep, and what was measured on them. Made by `Sweep.open`.

    Attributes:
        path: its folder.
        plan: what was rendered.
    """

    def __init__(self, path: Path, plan: SweepPlan, records: tuple[Record, ...]) -> None:
        self.path, self.plan = path, plan
        self._records = {(r.layer, r.unit, str(r.kind)): r for r in records}

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Self:
        """Return the sweep in a folder.

        Raises:
            InputError: there is none, or it is not finished.
            StorageError: what is there is damaged.
        """
        folder = Path(os.path.expanduser(path))
        plan, manifest = finished(folder, KIND)
        try:
            records = tuple(map(Record.from_json, manifest[RECORDS]))
        except (KeyError, TypeError) as error:
            raise StorageError(
                f"The manifest of {str(folder)!r} is damaged ({error!r}): delete manifest.json and "
                "run the sweep again, which makes it anew from what is there."
            ) from error
        return cls(folder, SweepPlan.from_json(plan), records)

    @property
    def model(self) -> str:
        """Name of the network."""
        return self.plan.model

    @property
    def weights(self) -> str:
        """What `lucent.weights.digest` gives of the network."""
        return self.plan.weights

    @property
    def settings(self) -> SweepSettings:
        """How the pictures were made."""
        return self.plan.settings

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers, in order."""
        return self.plan.layers

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """What is shown of the units."""
        return self.plan.kinds

    def shape(self, layer: str) -> tuple[int, ...]:
        """Return what a layer gives of one picture: (C, *spatial).

        Raises:
            InputError: the sweep does not have the layer.
        """
        return self.plan.shapes[self._layer(layer)]

    def units(self, layer: str) -> list[int]:
        """Return the channels of a layer that were swept, ascending.

        Raises:
            InputError: the sweep does not have the layer.
        """
        return self.plan.units(self._layer(layer))

    def has(self, layer: str, unit: int, kind: str = "channel") -> bool:
        """Tell whether there is a picture of a unit."""
        found = self._records.get((layer, unit, kind))
        return found is not None and bool(found.files)

    def record(self, layer: str, unit: int, kind: str = "channel") -> Record:
        """Return what there is of a unit.

        Args:
            layer: its name.
            unit: its channel.
            kind: what is shown of it.

        Raises:
            InputError: the sweep does not have it.
        """
        found = self._records.get((self._layer(layer), unit, kind))
        if found is None:
            raise InputError(
                f"The sweep in {str(self.path)!r} has no {kind!r} of {layer}:{unit}; it has the "
                f"kinds {list(self.kinds)} of {len(self.units(layer))} units of this layer."
            )
        return found

    def files(self, layer: str, unit: int, kind: str = "channel") -> list[Path]:
        """Return the pictures of a unit, several of "diversity", none if it failed.

        Raises:
            InputError: the sweep does not have it.
        """
        return [self.path / file for file in self.record(layer, unit, kind).files]

    def score(self, layer: str, unit: int, kind: str = "channel") -> float:
        """Return the activation on the picture, the mean over several; NaN if it failed.

        Of "negative" it is that before the rectifier, see `Record`.

        Raises:
            InputError: the sweep does not have it.
        """
        scores = self.record(layer, unit, kind).scores
        return sum(scores) / len(scores) if scores else math.nan

    def records(self) -> Iterator[Record]:
        """Yield what there is of every unit, in the order in which it was rendered."""
        yield from self._records.values()

    def _layer(self, layer: str) -> str:
        if layer not in self.plan.shapes:
            raise InputError(
                f"The sweep in {str(self.path)!r} has no layer {layer!r}; it has "
                f"{list(self.layers)}. {suggestion(layer, self.layers)}".strip()
            )
        return layer
