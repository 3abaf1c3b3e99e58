"""What a run measured, step by step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lucent.errors import DivergenceError, InputError


class History:
    """What a run measured, step by step.

    Values stay on the device until they are read, so that no step waits for them.

    Args:
        captions: one for each term of the objective.

    Attributes:
        steps: the steps at which a snapshot was kept, in order.
    """

    def __init__(self, captions: Sequence[str]) -> None:
        self.steps: list[int] = []
        self._captions = list(captions)
        self._settled: list[list[float]] = []
        self._pending: list[Tensor] = []
        self._checked = 0

    @property
    def loss(self) -> list[float]:
        """The loss of each step, of the image before the step's update."""
        return [row[0] for row in self._rows()]

    @property
    def terms(self) -> dict[str, list[float]]:
        """The value of each term of the objective at each step, before its weight."""
        columns = list(zip(*self._rows(), strict=True))[1:]
        return {
            caption: list(columns[n]) if columns else [] for n, caption in enumerate(self._captions)
        }

    def __len__(self) -> int:
        return len(self._settled) + len(self._pending)

    @staticmethod
    def row(loss: Tensor, values: Tensor) -> Tensor:
        """Return what is kept of a step, (1 + n_terms,).

        Args:
            loss: 0-d.
            values: of each term, (n_terms,).
        """
        return torch.cat([loss.view(1), values]).detach()

    def add(self, row: Tensor) -> None:
        """Add a step, as `row` returned it."""
        self._pending.append(row)

    def check(self) -> None:
        """Fetch what is on the device.

        Raises:
            DivergenceError: a loss is NaN or infinite.
        """
        rows, first = self._rows(), self._checked
        for step in range(first, len(rows)):
            if not all(map(math.isfinite, rows[step])):
                raise self._divergence(step)
        self._checked = len(rows)

    def _divergence(self, step: int) -> DivergenceError:
        loss, *values = self._settled[step]
        terms = [c for c, v in zip(self._captions, values, strict=True) if not math.isfinite(v)]
        where = f"in the term {terms[0]!r}" if terms else "by the weights of its terms"
        return DivergenceError(
            f"The loss became {loss} at step {step}, {where}. Take a smaller learning rate, for "
            "example optimizer=lambda params: torch.optim.Adam(params, lr=0.01), or look for a "
            "division by zero or the root of zero in the objective."
        )

    def state_dict(self) -> dict[str, Any]:
        """Return the measured values as plain lists; pictures, and so their steps, are not kept."""
        return {"captions": list(self._captions), "rows": [list(row) for row in self._rows()]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over values saved by `state_dict`.

        Raises:
            InputError: they belong to another objective.
        """
        if state["captions"] != self._captions:
            raise InputError(
                f"The state is of the objective {state['captions']}, this one is {self._captions}: "
                "make the run with the objective of the one saved."
            )
        self._settled, self._pending = [list(row) for row in state["rows"]], []
        self._checked = 0

    def _rows(self) -> list[list[float]]:
        if self._pending:
            self._settled += torch.stack(self._pending).double().tolist()
            self._pending = []
        return self._settled
