"""The generators: torch-lucent's names, weights from files, and pictures out of codes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lucent.errors import InputError, WeightsError
from lucent.optvis.param import gan
from lucent.optvis.param.gan import (
    GanImage,
    RGB_mean,
    View,
    gan_image,
    load_statedict_from_online,
    model_urls,
    upconvGAN,
)

CODES = {"fc6": (4096,), "fc7": (4096,), "fc8": (1000,), "pool5": (256, 6, 6)}
UPWARD = {
    "deconv5": (256, 256, 4, 4),
    "conv5_1": (256, 512, 3, 3),
    "deconv4": (512, 256, 4, 4),
    "conv4_1": (256, 256, 3, 3),
    "deconv3": (256, 128, 4, 4),
    "conv3_1": (128, 128, 3, 3),
    "deconv2": (128, 64, 4, 4),
    "deconv1": (64, 32, 4, 4),
    "deconv0": (32, 3, 4, 4),
}


def on_meta(name):
    """A generator without memory for its weights."""
    with torch.device("meta"):
        return upconvGAN(name, pretrained=False)


@pytest.fixture(scope="module")
def pool5():
    """The smallest generator, with random weights that make colours of all kinds."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        generator = upconvGAN("pool5", pretrained=False)
        for module in generator.G.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.kaiming_normal_(module.weight, a=0.3)
        generator.G.deconv0.weight.mul_(100)
    return generator


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """torch.hub's folder, beside that of torch-lucent."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    (tmp_path / "checkpoints").mkdir()
    return tmp_path


# Architecture


@pytest.mark.parametrize("name", CODES)
def test_weights_have_torch_lucents_names_and_shapes(name):
    expected = dict(UPWARD)
    if name == "pool5":
        first = {"Rconv6": (512, 256, 3, 3), "Rconv7": (512, 512, 3, 3), "Rconv8": (512, 512, 3, 3)}
        expected["deconv5"] = (512, 256, 4, 4)
    else:
        first = {"defc7": (4096, *CODES[name]), "defc6": (4096, 4096), "defc5": (4096, 4096)}
    state = on_meta(name).G.state_dict()
    weights = {key[: -len(".weight")]: tuple(w.shape) for key, w in state.items() if w.dim() > 1}
    assert list(weights.items()) == list({**first, **expected}.items())
    assert len(state) == 2 * len(weights)


@pytest.mark.parametrize("name", CODES)
def test_layers_in_between_have_torch_lucents_names(name):
    layers = dict(on_meta(name).G.named_children())
    rectified = [key for key in layers if "relu" in key]
    assert all(layers[key].negative_slope == 0.3 for key in rectified)
    before = [key for key in layers if key not in (*rectified, "reshape", "deconv0")]
    named = [
        key.replace("conv", "relu") if key.startswith("Rconv") else f"relu_{key}" for key in before
    ]
    assert rectified == named
    assert ("reshape" in layers) == (name != "pool5")


@pytest.mark.parametrize("name", CODES)
def test_codes_become_pictures_of_256_pixels(name):
    generator = on_meta(name)
    assert (generator.name, generator.codelen) == (name, CODES[name][0])
    code = torch.zeros(2, *CODES[name], device="meta")
    assert generator(code).shape == (2, 3, 256, 256)
    assert not any(p.requires_grad for p in generator.parameters())


def test_networks_blue_comes_last(pool5):
    code = torch.rand(1, 256, 6, 6)
    assert torch.equal(pool5(code), pool5.G(code)[:, [2, 1, 0]])


@pytest.mark.parametrize("scale", [1.0, 255.0])
def test_pictures_have_the_mean_added_and_are_clipped(pool5, scale):
    code = 3 * torch.rand(1, 256, 6, 6, generator=torch.Generator().manual_seed(0))
    mean = torch.tensor([123.0, 117.0, 104.0]).view(1, 3, 1, 1)
    expected = (pool5(code) + mean).clamp(0, 255) / 255 * scale
    assert expected.min() == 0
    assert expected.max() == scale
    torch.testing.assert_close(pool5.visualize(code, scale), expected)


def test_constants_are_torch_lucents():
    assert RGB_mean.shape == (1, 3, 1, 1)
    assert RGB_mean.flatten().tolist() == [123.0, 117.0, 104.0]
    assert set(model_urls) == set(CODES)
    assert all(url.startswith("https://onedrive.live.com/download?") for url in model_urls.values())


def test_view_takes_numbers_and_a_tuple():
    assert View(-1, 2)(torch.zeros(6)).shape == (3, 2)
    assert View((-1, 2))(torch.zeros(6)).shape == (3, 2)


# Weights


def save(generator, path, rename=lambda key: key):
    torch.save({rename(key): value for key, value in generator.G.state_dict().items()}, path)


def assert_same(generator, other):
    for key, value in generator.G.state_dict().items():
        assert torch.equal(other.G.state_dict()[key], value)


def test_weights_come_from_a_file_or_an_address(pool5, tmp_path, hub):
    save(pool5, tmp_path / "mine.pt")
    assert_same(pool5, upconvGAN("pool5", weights=tmp_path / "mine.pt"))
    assert_same(pool5, upconvGAN("pool5", weights=(tmp_path / "mine.pt").as_uri()))
    assert (hub / "hub" / "checkpoints" / "mine.pt").exists()


@pytest.mark.parametrize("folder", ["checkpoints", "hub/checkpoints"])
def test_weights_that_torch_lucent_downloaded_are_found(pool5, hub, folder):
    save(pool5, hub / folder / "upconvGAN_pool5.pt")
    assert_same(pool5, upconvGAN("pool5"))
    assert set(load_statedict_from_online("pool5")) == set(pool5.G.state_dict())


def test_names_with_another_level_are_understood(pool5, tmp_path):
    save(pool5, tmp_path / "old.pt", lambda key: key.replace(".", ".1.", 1))
    assert_same(pool5, upconvGAN("pool5", weights=tmp_path / "old.pt"))


def test_weights_of_a_gpu_needed_a_gpu(pool5, tmp_path, monkeypatch):
    places, load = [], torch.load

    def recorded(*args, **kwargs):
        places.append(kwargs["map_location"])
        return load(*args, **kwargs)

    save(pool5, tmp_path / "mine.pt")
    monkeypatch.setattr(torch, "load", recorded)
    upconvGAN("pool5", weights=tmp_path / "mine.pt")
    assert places == ["cpu"]


def test_home_folder_was_not_found_by_its_tilde(pool5, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    save(pool5, tmp_path / "mine.pt")
    assert_same(pool5, upconvGAN("pool5", weights="~/mine.pt"))


def test_no_network_is_an_error_that_names_the_address_and_the_remedy(hub, monkeypatch):
    monkeypatch.setitem(gan.model_urls, "fc8", "http://no.such.host.invalid/upconv")
    with pytest.raises(WeightsError) as caught:
        upconvGAN("fc8")
    text = str(caught.value)
    assert (
        "upconvGAN_fc8.pt could not be downloaded from http://no.such.host.invalid/upconv" in text
    )
    assert f"put it into {hub / 'hub' / 'checkpoints'}, or name your copy: weights=FILE" in text


def test_page_instead_of_the_file_is_an_error_that_names_both(hub, monkeypatch):
    (hub / "page.html").write_text("<html>sign in</html>")
    monkeypatch.setitem(gan.model_urls, "fc8", (hub / "page.html").as_uri())
    path = hub / "hub" / "checkpoints" / "upconvGAN_fc8.pt"
    with pytest.raises(WeightsError, match=r"could not be read as weights") as caught:
        load_statedict_from_online("fc8")
    assert f"delete {path}" in str(caught.value)
    assert f"{model_urls['fc8']}: upconvGAN('fc8', weights=FILE)" in str(caught.value)


def test_weights_of_another_generator_are_an_error(tmp_path):
    torch.save({"defc7.weight": torch.zeros(2, 2)}, tmp_path / "other.pt")
    with pytest.raises(WeightsError, match=r"other\.pt does not fit upconvGAN: G\.Rconv6\.weight"):
        upconvGAN("pool5", weights=tmp_path / "other.pt")


@pytest.mark.parametrize("make", [upconvGAN, load_statedict_from_online])
def test_unknown_name_failed_late(make):
    with pytest.raises(InputError, match=r"no generator 'fc9': .*fc6, fc7, fc8, pool5.*Did you"):
        make("fc9")


# Pictures


def test_image_is_what_the_generator_shows_of_its_code(pool5):
    image = gan_image(pool5, 2, sd=3.0)
    made = image()
    assert made.shape == (2, 3, 256, 256)
    torch.testing.assert_close(made, pool5.visualize(image.trainable()[0]), rtol=0, atol=1e-6)
    assert not torch.equal(made[0], made[1])


def test_only_the_codes_are_optimised(pool5):
    image = gan_image(pool5)
    params, image_f = image
    assert [tuple(tensor.shape) for tensor in params] == [(1, 256, 6, 6)]
    image_f().sum().backward()
    assert params[0].grad.any()
    assert all(p.grad is None for p in pool5.parameters())


def test_saturated_pictures_can_come_back(pool5):
    image = gan_image(pool5, sd=100.0)
    white = image() == 1
    assert white.any()
    (image() * white).sum().backward()
    assert image.trainable()[0].grad.any()


def test_picture_is_found_by_its_code(pool5):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        target, image = gan_image(pool5)().detach(), GanImage(pool5, sd=0.1)
    optimizer = torch.optim.Adam(image.trainable(), lr=0.1)
    losses = []
    for _ in range(12):
        optimizer.zero_grad()
        loss = (image() - target).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def test_codes_have_the_deviation_given_and_the_dtype_of_the_generator(pool5):
    codes = gan_image(pool5, 4, sd=2.0).trainable()[0]
    # The relative error of a standard deviation of n normal draws is 1 / sqrt(2 n).
    assert codes.std().item() == pytest.approx(2, rel=5 / (2 * codes.numel()) ** 0.5)
    with torch.device("meta"):
        half = upconvGAN("fc8", pretrained=False).half()
    (code,) = gan_image(half).trainable()
    assert (code.dtype, code.device.type, code.shape) == (torch.float16, "meta", (1, 1000))


def test_number_of_images_that_cannot_be(pool5):
    with pytest.raises(InputError, match="whole numbers of at least 1"):
        gan_image(pool5, 0)


def test_an_image_without_a_generator():
    with pytest.raises(InputError, match=r"such as param\.upconvGAN\('fc6'\), not None"):
        gan_image(None)
