"""Ray: the way to a cluster, and where on it there is room."""

from __future__ import annotations

import copy
import logging
import math
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from lucent.errors import InputError
from lucent.layers import unwrap
from lucent.util import device_of, optional

#: The address that starts a cluster on this machine.
LOCAL = "local"


@contextmanager
def connected(address: str) -> Iterator[Any]:
    """Give the module `ray`, connected to a cluster; a connection that there is already is kept.

    Args:
        address: "local" starts a cluster on this machine, which ends with the block; "auto" is the
            one that this machine belongs to, others are such as "10.0.0.1:6379".

    Raises:
        InputError: there is no such cluster.
        MissingExtra: Ray is not installed.
    """
    ray = optional("ray", "ray")
    if ray.is_initialized():
        yield ray
        return
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    try:
        if address == LOCAL:
            ray.init(include_dashboard=False, **quiet)
        else:
            ray.init(address=address, **quiet)
    except (ConnectionError, ValueError) as error:
        raise InputError(
            f"There is no Ray cluster at {address!r} ({error}). Start one with 'ray start --head', "
            "join it from other machines with 'ray start --address=HOST:6379', or write 'local' "
            "for one on this machine."
        ) from error
    try:
        yield ray
    finally:
        ray.shutdown()


def shared(ray: Any, model: nn.Module) -> Any:
    """Return a reference to a network that workers can take from the cluster.

    Args:
        ray: from `connected`.
        model: the network, on any device; it is sent as one on the CPU.

    Raises:
        InputError: it cannot be sent.
    """
    network = unwrap(model)
    if device_of(network).type != "cpu":
        network = copy.deepcopy(network).cpu()
    return sent(ray, network, f"This {type(network).__name__}")


def sent(ray: Any, thing: Any, name: str) -> Any:
    """Return a reference to something that workers can take from the cluster.

    Args:
        ray: from `connected`.
        thing: what pickle can take.
        name: what the error calls it.

    Raises:
        InputError: it cannot be sent.
    """
    try:
        return ray.put(thing)
    except (TypeError, AttributeError, pickle.PicklingError) as error:
        raise InputError(
            f"{name} cannot be sent to workers, because it cannot be pickled ({error}). Define its "
            "class in a module, without open files and functions inside of functions."
        ) from error


@dataclass(frozen=True)
class Places:
    """Where workers can be.

    Attributes:
        count: how many there is room for.
        gpu: each has a GPU of its own.
        threads: with which each computes on the CPU.
    """

    count: int
    gpu: bool
    threads: int

    @property
    def options(self) -> dict[str, Any]:
        """What a worker asks the cluster for."""
        return {"num_gpus": 1, "num_cpus": 1} if self.gpu else {"num_cpus": self.threads}


def places(ray: Any) -> Places:
    """Return where workers can be: one on each GPU, or on as many CPUs as this process has threads.

    Args:
        ray: from `connected`.

    Raises:
        InputError: no machine has as many CPUs.
    """
    threads = torch.get_num_threads()
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if gpus := sum(math.floor(node.get("GPU", 0)) for node in nodes):
        return Places(gpus, True, threads)
    count = sum(math.floor(node.get("CPU", 0)) // threads for node in nodes)
    if not count:
        raise InputError(
            f"This process computes with {threads} threads, and no machine of the Ray cluster has "
            "as many CPUs: take fewer with torch.set_num_threads(1), or by setting the variable "
            "OMP_NUM_THREADS."
        )
    return Places(count, False, threads)


def placed(network: nn.Module, where: Places) -> nn.Module:
    """Return a network in a worker, where it is to compute, and compute as the driver would.

    Args:
        network: as `shared` sent it.
        where: from `places`.
    """
    torch.set_num_threads(where.threads)
    return network.to("cuda") if where.gpu else network
