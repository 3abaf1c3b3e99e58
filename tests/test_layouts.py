"""Which axis of an activation is which: found out by following the numbers of an image."""

from __future__ import annotations

import logging
import math

import pytest
import torch
from torch import Tensor, nn

from lucent.errors import InputError, LayerError
from lucent.hooks import Activations
from lucent.layouts import Layout, Tokens, Tracker, layout_from, layout_of
from lucent.modelzoo import ModelSpec
from lucent.optvis import param
from lucent.optvis.objectives import channel, direction, neuron
from lucent.optvis.render import render_vis
from lucent.util import frozen_eval

N_UNITS, PATCH, SIDE = 6, 4, 16
GRID = SIDE // PATCH
BATCH = 3


def patterns():
    """What the units look for: orthonormal patches (N_UNITS, 3, PATCH, PATCH)."""
    waves = [
        math.cos(math.pi * (row + 0.5) * v / PATCH) * math.cos(math.pi * (col + 0.5) * u / PATCH)
        for u, v in ((1, 0), (0, 1), (1, 1), (2, 0), (0, 2), (2, 1))
        for row in range(PATCH)
        for col in range(PATCH)
    ]
    found = torch.tensor(waves, dtype=torch.float64).view(N_UNITS, 1, PATCH, PATCH)
    found = found.expand(-1, 3, -1, -1)
    return found / found.flatten(1).norm(dim=1)[:, None, None, None]


class Layer(nn.Module):
    """Arranges (B, C, H, W) in a layout, and the layout is all it knows."""

    def __init__(self, arrange):
        super().__init__()
        self.arrange = arrange
        self.cls_token = nn.Parameter(torch.zeros(1, 1, N_UNITS, dtype=torch.float64))
        self.reg_token = nn.Parameter(torch.zeros(1, 2, N_UNITS, dtype=torch.float64))

    def forward(self, x):
        return self.arrange(self, x)


def tokens(layer, x):
    return x.flatten(2).transpose(1, 2)


def behind_a_class_token(layer, x):
    return torch.cat([layer.cls_token.expand(len(x), -1, -1), tokens(layer, x)], dim=1)


def behind_registers(layer, x):
    added = [t.expand(len(x), -1, -1) for t in (layer.cls_token, layer.reg_token)]
    return torch.cat([*added, tokens(layer, x)], dim=1)


def before_registers(layer, x):
    return torch.cat([tokens(layer, x), layer.reg_token.expand(len(x), -1, -1)], dim=1)


def windows(layer, x):
    """As in Swin: (B * windows, tokens, C)."""
    b, c, h, w = x.shape
    x = x.permute(0, 2, 3, 1).reshape(b, h // 2, 2, w // 2, 2, c)
    return x.permute(0, 1, 3, 2, 4, 5).reshape(-1, 4, c)


def shifted_windows(layer, x):
    return windows(layer, x.roll((-1, -1), (2, 3)))


ARRANGED = {
    "NCHW": lambda layer, x: x,
    "NHWC": lambda layer, x: x.permute(0, 2, 3, 1),
    "NLC": tokens,
    "NCL": lambda layer, x: x.flatten(2),
    "class token": behind_a_class_token,
    "class token and registers": behind_registers,
    "registers last": before_registers,
    "tokens first": lambda layer, x: behind_a_class_token(layer, x).transpose(0, 1),
    "heads": lambda layer, x: tokens(layer, x).unflatten(2, (2, 3)).transpose(1, 2),
    "windows": windows,
    "shifted windows": shifted_windows,
    "shuffled channels": lambda layer, x: x,
}


class Net(nn.Module):
    """Unit k alone responds to pattern k, whatever the layout of `layer`."""

    def __init__(self, name):
        super().__init__()
        self.embed = nn.Conv2d(3, N_UNITS, PATCH, stride=PATCH, bias=False, dtype=torch.float64)
        self.embed.weight.data = patterns()
        self.layer = Layer(ARRANGED[name])
        self.act = nn.Identity()
        self.spec = ModelSpec("net", (SIDE, SIDE))

    def forward(self, x):
        return self.act(self.layer(self.embed(x)))


def gradient(model, objective):
    """What raises the score of an objective, (B, 3, SIDE, SIDE)."""
    image = torch.zeros(BATCH, 3, SIDE, SIDE, dtype=torch.float64, requires_grad=True)
    with frozen_eval(model), Activations(model, objective.layers) as T:
        T.run(image)
        return torch.autograd.grad(-objective(T), image)[0]


@pytest.mark.parametrize("unit", [0, 4])
@pytest.mark.parametrize("name", ARRANGED)
@pytest.mark.parametrize("layer", ["layer", "act"])
def test_a_channel_is_the_pattern_of_its_unit_and_of_no_other(name, unit, layer):
    found = gradient(Net(name), channel(layer, unit))
    truth = patterns()[unit].repeat(1, GRID, GRID) / (GRID**2 * BATCH)
    torch.testing.assert_close(found, truth.expand_as(found), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ARRANGED)
def test_a_neuron_is_the_pattern_at_its_place(name):
    found = gradient(Net(name), neuron("act", 2, x=3, y=1, batch=1))
    truth = torch.zeros(BATCH, 3, SIDE, SIDE, dtype=torch.float64)
    if name == "NCL" or (name == "shifted windows"):
        assert found[1].norm() == pytest.approx(1)
        assert not found[[0, 2]].any()
    if name == "shifted windows":  # the window shows a picture that was moved by a patch
        truth[1, :, 8:12, 0:4] = patterns()[2]
        torch.testing.assert_close(found.norm(), truth.norm())
        return
    truth[1, :, 4:8, 12:16] = patterns()[2]
    torch.testing.assert_close(found, truth, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["NHWC", "class token", "tokens first", "windows"])
def test_a_rendering_finds_the_pattern_of_its_unit(name):
    image = render_vis(
        Net(name), "act:3", lambda: param.image(SIDE, fft=False, decorrelate=False),
        thresholds=(40,), transforms=[], seed=0, show_image=False, progress=False, preprocess=False,
    )[0]  # fmt: skip
    patches = torch.from_numpy(image[0]).double().permute(2, 0, 1) - 0.5
    patches = patches.unfold(1, PATCH, PATCH).unfold(2, PATCH, PATCH).mean((1, 2))
    responses = (patches * patterns()).sum((1, 2, 3))
    others = responses[torch.arange(N_UNITS) != 3].abs().max()
    assert responses[3] > 50 * others


class Attention(nn.Module):
    """Two heads over the tokens behind a class token; the maps are what `maps` gives."""

    def __init__(self):
        super().__init__()
        self.layer, self.maps = Layer(behind_a_class_token), nn.Identity()
        self.qkv = nn.Linear(N_UNITS, 3 * N_UNITS, dtype=torch.float64)
        self.num_heads = 2

    def forward(self, x):
        x = self.layer(x)
        q, k, v = self.qkv(x).unflatten(2, (3, 2, -1)).permute(2, 0, 3, 1, 4)
        maps = self.maps((q @ k.transpose(-2, -1)).softmax(-1))
        return (maps @ v).transpose(1, 2).reshape(x.shape)


def test_an_attention_map_has_heads_as_channels_and_tokens_that_look():
    model, image = Attention(), torch.randn(BATCH, N_UNITS, GRID, GRID, dtype=torch.float64)
    with frozen_eval(model), torch.no_grad(), Activations(model, ["maps"]) as T:
        T.run(image)
        maps = T("maps")
        assert maps.shape == (BATCH, 2, GRID**2 + 1, GRID**2 + 1)
        assert torch.equal(T.channels_first("maps"), maps)
        assert torch.equal(T("maps@cls"), maps[:, :, 0, 1:].unflatten(2, (GRID, GRID)))
        assert torch.equal(T("maps@3"), maps[:, :, 3, 1:].unflatten(2, (GRID, GRID)))


def test_queries_keys_values_and_heads_are_parts_of_a_joint_projection():
    model, image = Attention(), torch.randn(BATCH, N_UNITS, GRID, GRID, dtype=torch.float64)
    layers = ["qkv", "qkv[q]", "qkv[k]", "qkv[v]", "qkv[v][head1]"]
    with frozen_eval(model), torch.no_grad(), Activations(model, layers) as T:
        T.run(image)
        whole, *parts = (T(layer) for layer in layers)
        assert torch.equal(torch.cat(parts[:3], -1), whole)
        assert torch.equal(parts[3], parts[2][..., 3:])
        assert T.channels_first("qkv[v][head1]").shape == (BATCH, 3, GRID, GRID)
    with Activations(model, ["qkv[q][head2]"]) as T, pytest.raises(LayerError, match="0 to 1"):
        T.run(image)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("batch_first", [True, False])
def test_queries_keys_and_values_of_pytorchs_attention(bias, batch_first):
    attention = nn.MultiheadAttention(8, 2, bias=bias, batch_first=batch_first, dtype=torch.float64)
    given = torch.randn(5, 4, 8, dtype=torch.float64)

    class Wrapped(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = attention

        def forward(self, x):
            return self.attention(x, x, x)[0]

    layers = [f"attention[{name}]" for name in "qkv"]
    with frozen_eval(attention), torch.no_grad(), Activations(Wrapped(), layers) as T:
        T.run(given)
        made = torch.cat([T(layer) for layer in layers], -1)
    expected = nn.functional.linear(given, attention.in_proj_weight, attention.in_proj_bias)
    torch.testing.assert_close(made, expected)


def captured(name, token):
    model, image = Net(name), torch.randn(BATCH, 3, SIDE, SIDE, dtype=torch.float64)
    with frozen_eval(model), torch.no_grad(), Activations(model, [f"act@{token}"]) as T:
        T.run(image)
        return T(f"act@{token}"), model(image)


def test_tokens_have_names_and_numbers():
    one, raw = captured("class token and registers", "cls")
    assert torch.equal(one, raw[:, 0])
    one, raw = captured("class token and registers", "reg1")
    assert torch.equal(one, raw[:, 2])
    one, raw = captured("tokens first", "7")
    assert torch.equal(one, raw[7])
    patches, raw = captured("registers last", "patches")
    assert torch.equal(patches, raw[:, :-2].transpose(1, 2).unflatten(2, (GRID, GRID)))


@pytest.mark.parametrize(
    ("name", "token", "says"),
    [
        ("class token", "reg0", "it has '@cls', '@patches' and the numbers '@0' to '@16'"),
        ("NLC", "cls", "it has '@patches' and the numbers '@0' to '@15'"),
        ("NCHW", "cls", "has no tokens, so there is no '@cls': leave it out"),
    ],
)
def test_a_token_that_there_is_not_is_named_with_those_that_there_are(name, token, says):
    with pytest.raises(LayerError, match=says):
        captured(name, token)


def test_what_a_plain_function_gets_is_what_the_layer_gives():
    model = Net("class token")
    image = torch.randn(1, 3, SIDE, SIDE, dtype=torch.float64)
    with frozen_eval(model), torch.no_grad(), Activations(model, ["act"]) as T:
        T.run(image)
        assert torch.equal(T("act"), model(image))


class Lost(nn.Module):
    """Sorts its numbers, after which nobody can tell where they came from."""

    def __init__(self):
        super().__init__()
        self.sorted = Layer(
            lambda layer, x: torch.sort(x.flatten(1), 1).values.unflatten(1, (4, -1))
        )

    def forward(self, x):
        return self.sorted(x)


def test_a_layout_that_is_lost_is_asked_for():
    model, image = Lost(), torch.rand(2, 3, 4, 4)
    with Activations(model, ["sorted"]) as T:
        T.run(image)
        with pytest.raises(LayerError, match=r"shape \(2, 4, 12\).*layout=\{'sorted': 'NLC'\}"):
            T.channels_first("sorted")


@pytest.mark.parametrize("layout", ["NLC", {"sorted": "NLC"}])
def test_a_layout_that_is_given_is_taken(layout):
    model, image = Lost(), torch.rand(2, 3, 4, 4)
    with Activations(model, ["sorted"], layout=layout) as T:
        T.run(image)
        assert torch.equal(
            T.channels_first("sorted"), T("sorted").transpose(1, 2).unflatten(2, (2, 2))
        )


def test_a_layout_that_is_given_for_a_layer_goes_before_what_is_found_out():
    model, image = Net("NHWC"), torch.rand(2, 3, SIDE, SIDE, dtype=torch.float64)
    with Activations(model, ["act"], layout={"act": "NCHW"}) as T:
        T.run(image)
        assert torch.equal(T.channels_first("act"), T("act"))
    with Activations(model, ["act"], layout="NCHW") as T:
        T.run(image)
        assert torch.equal(T.channels_first("act"), T("act").permute(0, 3, 1, 2))


@pytest.mark.parametrize("letters", ["NHW", "NHHC", "LHWC", "NCHWD"])
def test_letters_that_do_not_fit_are_refused(letters):
    with pytest.raises(InputError, match=r"a letter for each axis.*'NHWC'"):
        layout_from(letters, (2, 3, 4, 5))


@pytest.mark.parametrize(
    ("letters", "shape", "order"),
    [
        ("NCDHW", (2, 3, 4, 5, 6), (0, 1, 2, 3, 4)),
        ("ndhwc", (2, 3, 4, 5, 6), (0, 4, 1, 2, 3)),
        ("NC", (2, 3), (0, 1)),
        ("NXC", (2, 3, 4), (0, 2, 1)),
    ],
)
def test_letters_spell_an_order(letters, shape, order):
    acts = torch.rand(shape)
    assert torch.equal(layout_from(letters, shape).channels_first(acts), acts.permute(order))


def test_letters_of_tokens_find_the_square_and_what_is_before_it():
    assert layout_from("LNC", (17, 2, 5)).tokens == Tokens(("cls", *[""] * 16), (4, 4))
    assert layout_from("NLC", (2, 18, 5)).tokens.names[:3] == ("token0", "token1", "")


def test_an_activation_of_another_size_than_planned_is_refused():
    layout = Layout(0, (2,), (1,), Tokens(("",) * 16, (4, 4)))
    with pytest.raises(LayerError, match="size of the image must stay the same"):
        layout.channels_first(torch.rand(2, 25, 8), "blocks.1")


def followed(run, image=None):
    """The layout of what a function makes of an image."""
    image = torch.rand(2, 4, 6, 8) if image is None else image
    model = nn.Identity()
    model.weight = WEIGHT
    with Tracker(model, image) as tracker:
        made = run(image)
    coordinates = tracker.of(made)
    return None if coordinates is None else layout_of(coordinates, tracker.tokens)


WEIGHT = torch.rand(5, 4)
AS_IMAGE = Layout(0, (1,), (2, 3))


@pytest.mark.parametrize(
    ("run", "layout"),
    [
        (lambda x: torch.einsum("bchw,oc->bohw", x, WEIGHT), AS_IMAGE),
        (lambda x: torch.einsum("bchw,oc->bhwo", x, WEIGHT), Layout(0, (3,), (1, 2))),
        (lambda x: x.permute(0, 2, 3, 1) @ WEIGHT.T, Layout(0, (3,), (1, 2))),
        (lambda x: x.mean((2, 3), keepdim=True), AS_IMAGE),
        (lambda x: torch.cat([x, x], 1), AS_IMAGE),
        (lambda x: x * x.mean((2, 3))[:, :, None, None].sigmoid(), AS_IMAGE),
        (lambda x: nn.functional.interpolate(x, scale_factor=2), AS_IMAGE),
        (lambda x: nn.functional.pad(x, (1, 1, 1, 1), mode="reflect"), AS_IMAGE),
        (lambda x: nn.functional.pad(x.permute(0, 2, 3, 1), (0, 0, 0, 2, 0, 2))[:, :6, :8].relu(),
         Layout(0, (3,), (1, 2))),
        (lambda x: x.view(2, 2, 2, 6, 8).transpose(1, 2).reshape(2, 4, 6, 8), AS_IMAGE),
        (lambda x: x[:, :, ::2, 1:3], AS_IMAGE),
        (lambda x: nn.functional.layer_norm(x.movedim(1, -1), (4,)), Layout(0, (3,), (1, 2))),
        (lambda x: x.flatten(2).mean(2), Layout(0, (1,), ())),
        (lambda x: x[:, :1], AS_IMAGE),
    ],
)  # fmt: skip
def test_operations_are_followed(run, layout):
    assert followed(run) == layout


def placed(x, *others):
    """Patches of 2 x 2 pixels as channels."""
    b, c, h, w = x.shape
    return x.view(b, c, h // 2, 2, w // 2, 2).permute(0, 3, 5, 1, 2, 4).flatten(1, 3)


TOKENS = Layout(0, (2,), (1,), Tokens(("",) * 48, (6, 8)))


@pytest.mark.parametrize(
    ("run", "layout"),
    [
        (placed, AS_IMAGE),
        (lambda x: placed(x).permute(0, 2, 3, 1), Layout(0, (3,), (1, 2))),
        (lambda x: nn.functional.pixel_unshuffle(x, 2), AS_IMAGE),
        (lambda x: nn.functional.pixel_shuffle(x, 2), AS_IMAGE),
        (lambda x: x.view(2, 1, 2, 2, 6, 8).permute(0, 1, 4, 2, 5, 3).reshape(2, 1, 12, 16),
         AS_IMAGE),
        (lambda x: torch.max(x, -x).movedim(1, -1), Layout(0, (3,), (1, 2))),
        (lambda x: torch.max(*x.chunk(2, 1)), AS_IMAGE),
        (lambda x: torch.cat([x.new_zeros(2, 2, 6, 8), x], 1), AS_IMAGE),
        (lambda x: torch.cat([torch.ones(2, 2, 6, 8), x], 1), AS_IMAGE),
        (lambda x: nn.functional.pad(x.movedim(1, -1), (1, 1)), Layout(0, (3,), (1, 2))),
        (lambda x: torch.einsum("...c,oc->...o", x.movedim(1, -1), WEIGHT),
         Layout(0, (3,), (1, 2))),
        (lambda x: x.flatten(2).mean(2, keepdim=True) * tokens(None, x).transpose(1, 2),
         Layout(0, (1,), (2,), Tokens(("",) * 48, (6, 8)))),
        (lambda x: (x.flatten(2) @ torch.ones(48, 48)).mT * tokens(None, x), TOKENS),
        (lambda x: nn.functional.conv1d(x.flatten(2), WEIGHT[..., None]).mT, TOKENS),
        (lambda x: nn.functional.pad(tokens(None, x)[:, 1:].unflatten(2, (2, 2)).transpose(1, 2),
                                     (0, 0, 1, 0)).transpose(1, 2).flatten(2)[:, 1:],
         Layout(0, (2,), (1,), Tokens(("",) * 47))),
    ],
)  # fmt: skip
def test_channels_are_those_that_the_layer_has(run, layout):
    assert followed(run) == layout


@pytest.mark.parametrize(
    "run",
    [
        lambda x: torch.cat([x.sort(1).values, x], 1),
        lambda x: torch.cat([x, torch.fft.irfft2(torch.fft.rfft2(x), s=x.shape[2:])], 1),
        lambda x: torch.stack([x, x.sort(1).values], 1),
        lambda x: torch.cat([x.sort(1).values.flatten(2), x.flatten(2)], 2),
        lambda x: tokens(None, x).topk(48, 1).values,
        lambda x: torch.einsum("bij,bcj->bic", tokens(None, x).sort(1).values, x[:, :, 0, :4]),
        lambda x: x.movedim(1, -1) @ torch.fft.fft(x[0, :, :, 0]).abs()[:, :4],
    ],
)  # fmt: skip
def test_what_comes_from_the_image_on_an_unknown_way_is_no_token_and_no_weight(run):
    assert followed(run) is None


def test_numbers_written_into_a_tensor_of_zeros_are_lost():
    def written(x):
        made = torch.zeros(2, 8, 6, 8)
        made[:, :4] = x.sort(1).values
        return torch.cat([made, x], 1)

    assert followed(written) is None


@pytest.mark.parametrize("height", [6, 8])
def test_a_convolution_finds_the_axes_again_that_were_lost(height):
    """As in torchvision's detection networks, which write images into a padded batch."""

    image = torch.rand(2, 4, 6, 8)
    with Tracker(nn.Identity(), image) as tracker:
        batch = image[0].new_full((2, 4, height, 8), 0.0)
        for row, own in zip(batch, image, strict=True):
            row[:, :6, :8].copy_(own)
        made = nn.functional.conv2d(batch, torch.ones(5, 4, 1, 1)).movedim(1, -1)
    assert tracker.of(batch) is None
    assert layout_of(tracker.of(made), tracker.tokens) == Layout(0, (3,), (1, 2))


def test_learned_queries_are_not_the_patches_because_they_are_as_many():
    class Pool(nn.Module):
        def __init__(self):
            super().__init__()
            self.query = nn.Parameter(torch.rand(1, 16, N_UNITS))
            self.attention = nn.MultiheadAttention(N_UNITS, 2, batch_first=True)

        def forward(self, x):
            x = tokens(self, x)
            return self.attention(self.query.expand(len(x), -1, -1), x, x)[0]

    image = torch.rand(2, N_UNITS, GRID, GRID)
    model = nn.Sequential(Pool())
    with Activations(model, ["0"]) as T, torch.no_grad():
        T.run(image)
        with pytest.raises(LayerError, match="cannot be told"):
            T.channels_first("0")


def test_attention_of_pytorch_stays_at_the_places_of_its_queries():
    attention = nn.MultiheadAttention(4, 2, batch_first=True)
    image = torch.rand(2, 4, 2, 2)
    with Tracker(attention, image) as tracker:
        given = tokens(None, image)
        made, maps = attention(given, given, given)
    assert layout_of(tracker.of(made), tracker.tokens).tokens.grid == (2, 2)
    # As many positions as channels: they do not make a map of heads an activation.
    assert tracker.of(maps) is None


@pytest.mark.filterwarnings("ignore:.*torch.jit.trace.*:FutureWarning")
def test_a_module_is_not_read_by_its_shape_where_positions_are_as_many_as_channels():
    turned = torch.jit.trace(lambda x: x.transpose(1, 2).clone(), torch.rand(2, 3, 4))

    class Turn(nn.Module):
        def forward(self, x):
            return turned(x)

    model = nn.Sequential(nn.Flatten(2), Turn())
    with Activations(model, ["1"]) as T, torch.no_grad():
        T.run(torch.rand(2, 16, GRID, GRID))
        with pytest.raises(LayerError, match="cannot be told"):
            T.channels_first("1")


@pytest.mark.parametrize("name", ["class token", "class token and registers", "tokens first"])
def test_a_grid_of_one_patch_is_a_grid(name):
    model, image = Net(name), torch.rand(2, 3, PATCH, PATCH, dtype=torch.float64)
    model.spec = ModelSpec("net", (PATCH, PATCH))
    with frozen_eval(model), torch.no_grad(), Activations(model, ["act", "act@cls"]) as T:
        T.run(image)
        torch.testing.assert_close(T.channels_first("act"), model.embed(image))
        assert not T("act@cls").any()


def test_a_token_keeps_its_name_when_a_position_is_added_to_it():
    layer = Layer(lambda layer, x: x)
    layer.positions = nn.Parameter(torch.rand(1, 17, N_UNITS))
    image = torch.rand(2, N_UNITS, GRID, GRID)
    with Tracker(layer, image) as tracker:
        first = layer.cls_token + layer.positions[:, :1]
        made = torch.cat([first.expand(2, -1, -1), tokens(layer, image)], 1)
    assert layout_of(tracker.of(made), tracker.tokens).names == ("cls",)


@pytest.mark.parametrize("n_images", [1, 3])
def test_positions_of_all_images_in_one_list_are_put_together(n_images):
    """As a batch norm of tokens needs it, in LeViT for example."""
    model = nn.Sequential(Layer(lambda layer, x: tokens(layer, x).flatten(0, 1)))
    image = torch.rand(n_images, N_UNITS, GRID, GRID)
    with Activations(model, ["0"]) as T, torch.no_grad():
        T.run(image)
        assert T("0").dim() == 2
        assert torch.equal(T.channels_first("0"), image)


@pytest.mark.parametrize("name", ["NLC", "class token", "windows"])
def test_an_image_of_another_size_has_another_grid(name):
    model = Net(name)
    with frozen_eval(model), torch.no_grad(), Activations(model, ["act"]) as T:
        for height, width in ((2, 8), (4, 4), (4, 6), (2, 8)):
            image = torch.rand(2, 3, height * PATCH, width * PATCH, dtype=torch.float64)
            T.run(image)
            torch.testing.assert_close(T.channels_first("act"), model.embed(image))


def test_rows_of_unknown_images_are_refused_unless_there_is_one_image():
    model = nn.Sequential(Layer(lambda layer, x: tokens(layer, x).flatten(0, 1).sort(0).values))
    for n_images in (1, 2):
        with Activations(model, ["0"]) as T, torch.no_grad():
            T.run(torch.rand(n_images, N_UNITS, GRID, GRID))
            if n_images == 1:
                assert torch.equal(T.channels_first("0"), T("0"))
                continue
            with pytest.raises(LayerError, match="cannot be told"):
                T.channels_first("0")


def test_a_layer_without_channels_says_so():
    model = nn.Sequential(Layer(lambda layer, x: x.mean((1, 2, 3))))
    with Activations(model, ["0"]) as T, torch.no_grad():
        T.run(torch.rand(2, 3, 4, 4))
        with pytest.raises(InputError, match=r"shape \(2,\), which has no channels"):
            channel("0", 1)(T)


def test_a_volume_and_a_list_are_followed():
    assert followed(nn.Conv3d(2, 3, 1), torch.rand(2, 2, 3, 4, 5)) == Layout(0, (1,), (2, 3, 4))
    assert followed(nn.Conv1d(2, 3, 1), torch.rand(2, 2, 7)) == Layout(0, (1,), (2,))


def test_every_second_patch_is_a_grid_of_its_own():
    found = followed(lambda x: x[:, :, ::2, ::2].flatten(2).transpose(1, 2))
    assert found == Layout(0, (2,), (1,), Tokens(("",) * 12, (3, 4)))


def test_what_is_not_followed_is_lost():
    assert followed(lambda x: x.sort(1).values.flatten(1, 2)) is None
    assert followed(lambda x: torch.fft.rfft2(x).abs()) is None


def test_a_function_unknown_to_pytorch_is_followed_as_the_output_of_its_module():
    class Double(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return 2 * x

    class Doubled(nn.Module):
        def forward(self, x):
            return Double.apply(x)

    model = nn.Sequential(nn.Conv2d(3, 4, 2), Doubled())
    with frozen_eval(model), torch.no_grad(), Activations(model, ["1"]) as T:
        T.run(torch.rand(2, 3, 5, 5))
        assert torch.equal(T.channels_first("1"), T("1"))


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (0, 2, 3, 1)])
def test_a_model_for_one_image_at_a_time_is_followed_with_one(order, caplog):
    class OneImage(nn.Module):
        def __init__(self):
            super().__init__()
            self.act = nn.Identity()

        def forward(self, x):
            return self.act(x.view(1, 3, 4, 5).permute(order))

    image = torch.rand(1, 3, 4, 5)
    with caplog.at_level(logging.INFO), Activations(OneImage(), ["act"]) as T:
        T.run(image)
        assert torch.equal(T.channels_first("act"), image)
    assert "takes one image only" in caplog.text


def test_a_direction_is_one_of_channels_wherever_they_are():
    vector = torch.eye(N_UNITS, dtype=torch.float64)[1]
    image = torch.randn(BATCH, 3, SIDE, SIDE, dtype=torch.float64)
    losses = []
    for name in ("NCHW", "NHWC", "class token", "tokens first", "heads"):
        model, objective = Net(name), direction("act", vector)
        with frozen_eval(model), torch.no_grad(), Activations(model, objective.layers) as T:
            T.run(image)
            losses.append(objective(T))
    assert torch.stack(losses).std() < 1e-12


def test_functions_of_a_module_are_layers():
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 1)

        def forward(self, x):
            x = torch.relu(self.conv(torch.relu(x)))
            return {"features": nn.functional.relu(x + 1), "other": x}

    class Whole(nn.Module):
        def __init__(self):
            super().__init__()
            self.block = Block()

        def forward(self, x):
            return self.block(x - 1)["features"] * 2

    model, image = Whole(), torch.randn(2, 3, 4, 4)
    layers = ["block.relu", "block.relu_1", "block.relu_2", "block.features", "block[other]"]
    with frozen_eval(model), torch.no_grad(), Activations(model, layers) as T:
        T.run(image)
        first, second, third, features, other = (T(layer) for layer in layers)
        assert torch.equal(first, (image - 1).relu())
        assert torch.equal(second, model.block.conv(first).relu())
        assert torch.equal(third, (second + 1).relu())
        assert torch.equal(features, third)
        assert torch.equal(other, second)
        assert T.channels_first("block.relu_1").shape == (2, 4, 4, 4)
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_functions_of_modules_in_a_list_are_not_those_of_the_module_around_it():
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList([nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 5, 1)])

        def forward(self, x):
            for layer in self.layers:
                x = layer(x)
            return torch.relu(x) * 2

    model, image = nn.Sequential(Block()), torch.randn(2, 3, 4, 4)
    with frozen_eval(model), torch.no_grad(), Activations(model, ["0.relu"]) as T:
        T.run(image)
        assert torch.equal(T("0.relu") * 2, model(image))


@pytest.mark.parametrize("layer", ["block.gelu", "block.relu_7", "block.nothing", "block.9"])
def test_a_function_or_key_that_there_is_not_is_an_error(layer):
    model = nn.Sequential()
    model.block = nn.Conv2d(3, 4, 1)
    with (
        pytest.raises(LayerError, match=r"no layer 'block|no part \[nothing\]"),
        Activations(model, [layer]) as T,
    ):
        T.run(torch.rand(1, 3, 4, 4))


def test_coordinates_do_not_outlive_their_tensors():
    image = torch.rand(2, 3, 8, 8)
    with Tracker(nn.Identity(), image) as tracker:
        for _ in range(5):
            made = image * 2
        assert isinstance(made, Tensor)
        assert len(tracker._known) == 2


def test_coordinates_of_a_convolutional_network_take_no_memory():
    conv, image = nn.Conv2d(3, 4, 3, padding=1), torch.rand(2, 3, 8, 8)
    with torch.no_grad(), Tracker(conv, image) as tracker:
        made = [conv(image).relu()]
        made.append(torch.cat([made[0], nn.functional.max_pool2d(made[0], 3, 1, 1)], 1))
        made.append(made[1] + made[1].clone())
        made.append(nn.functional.interpolate(made[2], size=(5, 7)))
    for acts in made:
        coordinates = tracker.of(acts)
        assert sum(part.numel() for part in coordinates.parts) == 2 + sum(
            (acts.shape[1], acts.shape[2] * acts.shape[3])
        )
        assert coordinates.codes.shape == acts.shape
        assert layout_of(coordinates, tracker.tokens) == AS_IMAGE


def test_a_class_token_alone_has_the_images_and_channels_of_those_it_stood_beside():
    def run(x):
        tokens = torch.cat([torch.zeros(1, 1, 4).expand(2, -1, -1), x.flatten(2).mT], 1)
        return tokens[:, :1]

    found = followed(run)
    assert (found.batch, found.channels) == (0, (2,))
