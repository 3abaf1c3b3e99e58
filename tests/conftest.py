"""What every test shares: the option for slow tests, no network, real weights and photographs."""

from __future__ import annotations

import ipaddress
import os
import socket
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

DATA_VARIABLE = "LUCENT_TEST_DATA"


def pytest_addoption(parser):
    parser.addoption("--run-slow", action="store_true", help="run the tests marked slow, too")


def pytest_collection_modifyitems(config, items):
    if config.getoption("--run-slow"):
        return
    skip = pytest.mark.skip(reason="slow: run it with --run-slow")
    for item in items:
        if "slow" in item.keywords:
            item.add_marker(skip)


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Refuse connections to anything but this machine."""

    def checked(method):
        def connect(self, address):
            # The address of a Unix socket is a path.
            if isinstance(address, tuple) and not _is_local(address[0]):
                raise OSError(f"a test tried to reach {address}: tests do without a network")
            return method(self, address)

        return connect

    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, checked(getattr(socket.socket, name)))


def _is_local(host):
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@pytest.fixture(scope="session")
def test_data():
    """The folder with models/ and images/ that the variable LUCENT_TEST_DATA names."""
    folder = os.environ.get(DATA_VARIABLE)
    if not folder:
        pytest.skip(f"{DATA_VARIABLE} names no folder with models/ and images/")
    return Path(folder)


def _needed(path):
    # Only an unset variable skips: a wrong one would make the tests with real data vanish silently.
    if not path.is_file():
        pytest.fail(f"{DATA_VARIABLE} is set, but {path} is missing")
    return path


@pytest.fixture(scope="session")
def squeezenet(test_data):
    """SqueezeNet v1.0 as trained on ImageNet, in eval mode. Shared: leave it as it was."""
    from torchvision.models import squeezenet1_0

    path = _needed(test_data / "models" / "squeezenet1_0_imagenet.pth")
    weights = torch.load(path, map_location="cpu", weights_only=True)
    model = squeezenet1_0()
    model.load_state_dict({name: tensor.float() for name, tensor in weights.items()})
    return model.eval()


@pytest.fixture(scope="session")
def photo(test_data):
    """A golden retriever and a tabby cat, (1, 3, H, W) in [0, 1]."""
    with Image.open(_needed(test_data / "images" / "dog_cat.jpg")) as picture:
        pixels = np.asarray(picture.convert("RGB"), dtype=np.float32) / 255
    return torch.from_numpy(pixels).permute(2, 0, 1)[None]
