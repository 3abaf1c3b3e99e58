"""What collecting and sweeping take on paper: operations counted, a share of the peak measured.

Operations are those of matrix products and convolutions, forward and backward, as
`torch.utils.flop_counter` counts them while the library works: a multiply-add is two. Warps,
Fourier transforms and elementwise functions are not among them, but are in the seconds.
"""

from __future__ import annotations

import functools
import io
import itertools
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from PIL import Image
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from lucent.collect import CollectSettings, as_source
from lucent.collect._pictures import Preparer
from lucent.collect.plans import CollectPlan, plan_collection
from lucent.collect.shards import ShardWorker
from lucent.collect.sources import Item
from lucent.modelzoo.registry import load
from lucent.modelzoo.spec import spec_of
from lucent.modelzoo.synthnet import SynthScenes
from lucent.recipes.icons import render_icons
from lucent.sweep import SweepSettings, plan_sweep

#: Networks by name, each with the layer whose steps are timed: about half of the way through.
NETWORKS = {
    "inceptionv1": "mixed4c",
    "resnet50": "layer3.0",
    "vit_b_16": "encoder.layers.encoder_layer_5",
}
#: Dense, without sparsity, in FLOP/s: 67 TFLOP/s FP32 and 989 TFLOP/s BF16 on the tensor cores.
#: NVIDIA H100 Tensor Core GPU datasheet, H100 SXM (https://www.nvidia.com/en-us/data-center/h100).
H100 = {"FP32": 67e12, "BF16": 989e12}
#: Pictures in the batch whose steps are timed.
_ROWS = 4
#: Training images of ImageNet-1k: Russakovsky et al. 2015 (https://arxiv.org/abs/1409.0575).
IMAGENET = 1_281_167


@dataclass(frozen=True)
class Cost:
    """What a network takes.

    Attributes:
        units: channels of each of its main layers.
        step: operations of a step of one picture of a unit, by layer.
        image: operations of collecting an image, without and with attributions.
        bytes: that an image leaves behind, without and with attributions.
        step_share: of the machine's peak that a sweep reaches.
        image_share: of the machine's peak that collecting reaches, without attributions.
    """

    units: dict[str, int]
    step: dict[str, int]
    image: tuple[int, int]
    bytes: tuple[int, int]
    step_share: float
    image_share: float

    @property
    def n_units(self) -> int:
        """Channels of all main layers."""
        return sum(self.units.values())

    def sweep(self, steps: int) -> int:
        """Return the operations of a picture of every unit."""
        return steps * sum(self.units[layer] * self.step[layer] for layer in self.units)


def peak() -> float:
    """Return what a thread reaches in products of large matrices, in FLOP/s."""
    side, repeats = 2048, 5
    a, b = torch.randn(2, side, side)
    seconds = [_seconds(lambda: a @ b) for _ in range(repeats)]
    return float(2 * side**3 / min(seconds))


def cost_of(name: str, layer: str) -> Cost:
    """Count the operations of a network, and time some of them.

    Args:
        name: of the network, which gets random weights.
        layer: whose steps are timed.
    """
    model = load(name, pretrained=False)
    shapes = plan_sweep(model, units=[0], settings=SweepSettings(batch_size=1)).shapes
    step = {one: _flops_of_a_step(model, one) for one in shapes}
    sides = spec_of(model).input_size or (224, 224)
    images = torch.rand(16, 3, *sides, generator=torch.Generator().manual_seed(0))
    few, many = (CollectSettings(attributions=False, batch=n, shard=n) for n in (1, 4))
    settings = {"plain": few, "attributed": replace(few, attributions=True), "timed": many}
    plans = {
        key: plan_collection(model, as_source(images), layers=[*shapes], settings=own)
        for key, own in settings.items()
    }
    plain, attributed = (
        _flops_of_an_image(model, images, plans[key]) for key in ("plain", "attributed")
    )
    highest = peak()
    return Cost(
        units={one: shape[0] for one, shape in shapes.items()},
        step=step,
        image=(plain, attributed),
        bytes=(_bytes(plans["plain"]), _bytes(plans["attributed"])),
        step_share=step[layer] / _seconds_of_a_step(model, layer) / highest,
        image_share=plain / _seconds_of_an_image(model, images, plans["timed"]) / highest,
    )


def _flops_of_a_step(model: nn.Module, layer: str) -> int:
    counts: list[int] = []
    with FlopCounterMode(display=False) as counter:
        # A callback is called before the first step and after each one; the first one also finds
        # out which axis is which.
        note = [lambda _: counts.append(int(counter.get_total_flops()))]
        render_icons(model, [f"{layer}:0"], steps=2, batch_size=1, callbacks=note)
    return counts[2] - counts[1]


def _seconds_of_a_step(model: nn.Module, layer: str) -> float:
    """Return the seconds of the processor that a step takes for one picture of several."""
    clock: list[float] = []
    render_icons(
        model,
        [f"{layer}:{unit}" for unit in range(_ROWS)],
        steps=5,
        batch_size=_ROWS,
        relu_override=False,  # lasts for the first steps only
        callbacks=[lambda _: clock.append(time.process_time())],
    )
    return statistics.median(b - a for a, b in itertools.pairwise(clock)) / _ROWS


def _flops_of_an_image(model: nn.Module, images: torch.Tensor, plan: CollectPlan) -> int:
    with ShardWorker(model, as_source(images), plan) as worker:
        worker.shard(0)  # the first one also finds out which axis is which
        with FlopCounterMode(display=False) as counter:
            worker.shard(1)
        return int(counter.get_total_flops())


def _seconds_of_an_image(model: nn.Module, images: torch.Tensor, plan: CollectPlan) -> float:
    with ShardWorker(model, as_source(images), plan) as worker:
        worker.shard(0)
        samples = [_seconds(functools.partial(worker.shard, n)) for n in (1, 2, 3)]
    return statistics.median(samples) / plan.settings.shard


def decoding() -> float:
    """Return the seconds of a processor that a photograph of ImageNet's size takes as a JPEG file.

    A generated scene is enlarged to 500 x 375 pixels, which is a frequent size there, saved with
    quality 90, decoded, and brought to 224 x 224.
    """
    scene, _ = SynthScenes(1)[0]
    pixels = (scene.movedim(0, -1) * 255).byte().numpy()
    file = io.BytesIO()
    Image.fromarray(pixels).resize((500, 375), Image.Resampling.BICUBIC).save(
        file, "JPEG", quality=90
    )
    prepare = Preparer(load("resnet50", pretrained=False), (224, 224))
    item = Item(0, "scene", file.getvalue())
    return statistics.median(_seconds(lambda: prepare(item)) for _ in range(20))


def _bytes(plan: CollectPlan) -> int:
    """Return what an image adds to a collection: vectors and attributions in half precision."""
    numbers = sum(shape[0] for shape in plan.shapes) + len(plan.attributed) * plan.n_classes
    return 2 * plan.settings.vectors * numbers


def _seconds(work: Callable[[], object]) -> float:
    """Return seconds of the processor: other work on the machine is not among them."""
    start = time.process_time()
    work()
    return time.process_time() - start


def hours(flops: float, share: float, *, gpus: int, precision: str) -> float:
    """Return what so many H100 take, if they reach the same share of their peak as this machine.

    Args:
        flops: operations of the whole.
        share: of the peak, 0 to 1.
        gpus: how many share the work.
        precision: "FP32" or "BF16".
    """
    return flops / (share * H100[precision] * gpus) / 3600


def measured_rows(costs: dict[str, Cost]) -> Sequence[Sequence[str]]:
    """Return what was counted and measured, a line for each network."""
    return [
        [
            name,
            f"{cost.n_units:,} in {len(cost.units)} layers",
            f"{min(cost.step.values()) / 1e9:.2f} to {max(cost.step.values()) / 1e9:.1f}",
            f"{cost.sweep(SweepSettings().steps) / 1e15:.2f}",
            f"{cost.image[0] / 1e9:.1f} / {cost.image[1] / 1e9:.1f}",
            f"{cost.bytes[0] / 1e3:.1f} / {cost.bytes[1] / 1e3:.1f}",
            f"{cost.step_share:.2f} / {cost.image_share:.2f}",
        ]
        for name, cost in costs.items()
    ]


def predicted_rows(costs: dict[str, Cost]) -> Sequence[Sequence[str]]:
    """Return what follows for H100, a line for each network and job."""
    lines = []
    for name, cost in costs.items():
        jobs = {
            "sweep": (cost.sweep(SweepSettings().steps), cost.step_share),
            "ImageNet": (IMAGENET * cost.image[0], cost.image_share),
            "ImageNet, attributions": (IMAGENET * cost.image[1], cost.image_share),
        }
        for job, (flops, share) in jobs.items():
            ways = [(1, "FP32"), (8, "FP32"), (100, "FP32"), (1, "BF16")]
            times = [
                _time(hours(flops, share, gpus=gpus, precision=precision))
                for gpus, precision in ways
            ]
            lines.append([name, job, f"{flops / 1e15:,.1f}", *times])
    return lines


def _time(hours: float) -> str:
    # What takes less is decided by starting workers, which is not counted.
    if hours * 60 < 1:
        return "< 1 min"
    return f"{hours:.1f} h" if hours >= 1 else f"{hours * 60:.1f} min"
