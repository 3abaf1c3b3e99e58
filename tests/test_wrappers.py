"""Networks as people have them: wrapped, compiled, in half precision, quantised, traced."""

from __future__ import annotations

import copy
import logging
import warnings
from dataclasses import dataclass, replace

import pytest
import tiny
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from lucent.errors import InputError, LayerError
from lucent.modelzoo.spec import ModelSpec
from lucent.optvis import param
from lucent.optvis.render import render_vis

SIZE = 16


def network():
    """Convolution, norm, ReLU, convolution: the same weights every time."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 6, 3)
        ).eval()
    model.spec = tiny.PLAIN
    return model


def rendered(model, wanted="3:2", *, steps=5, **options):
    return render_vis(
        model,
        wanted,
        lambda: param.image(SIZE),
        transforms=[],
        preset="plain",
        thresholds=(steps,),
        seed=0,
        progress=False,
        show_image=False,
        **options,
    )


def losses(pictures):
    return torch.tensor([float(loss) for loss in pictures.history.loss])


@pytest.fixture(scope="module")
def expected():
    return rendered(network())


# Wrappers


def data_parallel(model):
    return nn.DataParallel(model)


def compiled(model):
    return torch.compile(model, backend="eager")


def compiled_and_called(model):
    model = torch.compile(model, backend="eager")
    model(torch.zeros(1, 3, SIZE, SIZE))
    return model


def both(model):
    return nn.DataParallel(compiled(model))


@pytest.mark.parametrize("wrapped", [data_parallel, compiled, compiled_and_called, both])
def test_a_wrapped_model_gives_the_same_picture(wrapped, expected, caplog):
    with caplog.at_level(logging.INFO, "lucent.hooks"):
        pictures = rendered(wrapped(network()))
    assert (pictures[0] == expected[0]).all()
    kind = "DataParallel" if wrapped in (data_parallel, both) else "OptimizedModule"
    said = [text for text in caplog.messages if "inside a" in text]
    assert len(said) == 1
    assert said[0].endswith(f"inside a {kind}.")


def test_a_spec_on_the_wrapper_counts():
    wrapper = nn.DataParallel(network())
    del wrapper.module.spec
    wrapper.spec = replace(tiny.PLAIN, mean=(0.25,) * 3)
    inside = network()
    inside.spec = wrapper.spec
    assert (rendered(wrapper)[0] == rendered(inside)[0]).all()


# Number formats and memory


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_network_in_half_precision_renders_what_it_renders_in_single(dtype, expected):
    model = network().to(dtype)
    pictures = rendered(model)
    assert pictures[0].dtype == expected[0].dtype
    # One rounding of the inputs, and one in each of four layers.
    tolerance = 5 * torch.finfo(dtype).eps
    torch.testing.assert_close(losses(pictures), losses(expected), rtol=0, atol=tolerance)
    assert losses(pictures)[-1] < losses(pictures)[0]
    assert {p.dtype for p in model.parameters()} == {dtype}


def test_a_network_with_channels_last_in_memory_renders_the_same(expected):
    model = network().to(memory_format=torch.channels_last)
    pictures = rendered(model)
    torch.testing.assert_close(losses(pictures), losses(expected), rtol=1e-5, atol=0)
    assert model[0].weight.is_contiguous(memory_format=torch.channels_last)


# Quantisation


@pytest.fixture(scope="module")
def fake_quantised():
    """A network prepared for quantisation-aware training that has seen images."""
    quantisation = pytest.importorskip("torch.ao.quantization")
    with warnings.catch_warnings(), torch.random.fork_rng():
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        model = nn.Sequential(
            quantisation.QuantStub(),
            nn.Conv2d(3, 8, 3),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Conv2d(8, 6, 3),
            quantisation.DeQuantStub(),
        )
        model.qconfig = quantisation.get_default_qat_qconfig("x86")
        model = quantisation.fuse_modules_qat(model.train(), [["1", "2", "3"]])
        model = quantisation.prepare_qat(model)
        model(torch.rand(4, 3, SIZE, SIZE))
    model.spec = tiny.PLAIN
    return model


def test_a_fake_quantised_network_is_rendered_and_keeps_its_ranges(fake_quantised):
    before = {name: tensor.clone() for name, tensor in fake_quantised.state_dict().items()}
    # The picture has to leave the grey that all small changes are rounded to.
    found = losses(rendered(fake_quantised, "4:2", steps=30))
    assert found[-1] < found[0]
    after = fake_quantised.state_dict()
    assert [name for name in before if not torch.equal(before[name], after[name])] == []
    assert fake_quantised.training


def test_the_ranges_of_a_fake_quantised_network_stand_still_in_a_run(fake_quantised):
    still = copy.deepcopy(fake_quantised).apply(torch.ao.quantization.disable_observer)
    pictures = [rendered(model, "4:2") for model in (fake_quantised, still)]
    assert torch.equal(*map(losses, pictures))


def test_a_fake_quantised_network_that_has_seen_nothing_finds_its_ranges(fake_quantised):
    fresh = copy.deepcopy(fake_quantised)
    for module in fresh.modules():
        if hasattr(module, "reset_min_max_vals"):
            module.reset_min_max_vals()
        if hasattr(module, "scale"):
            module.scale.fill_(1.0)
    found = losses(rendered(fresh, "4:2", steps=30))
    assert found[-1] < found[0]


def test_a_network_converted_to_integers_is_refused(fake_quantised):
    from torch.ao.quantization import convert

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = convert(copy.deepcopy(fake_quantised).eval())
    with pytest.raises(
        InputError,
        match=r"'0' \(Quantize\) computes with integers.*the floating-point model.*convert\(\)",
    ):
        rendered(model, "4:2")


def test_a_dynamically_quantised_network_is_refused():
    quantisation = pytest.importorskip("torch.ao.quantization")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = quantisation.quantize_dynamic(nn.Sequential(nn.Flatten(), nn.Linear(12, 2)))
    with pytest.raises(InputError, match=r"'1' \(Linear\) computes with integers"):
        rendered(model, "1:0")


# Sizes


class FixedSize(nn.Module):
    """Takes images of one size only, as networks with a table of positions do."""

    spec = ModelSpec("fixed", (20, 24), fixed_size=True)

    def __init__(self):
        super().__init__()
        self.conv = tiny.conv([[1, 0, 0]])
        self.sizes = set()

    def forward(self, x):
        self.sizes.add(tuple(x.shape[2:]))
        return self.conv(x) + torch.zeros(1, 1, 20, 24)


@pytest.mark.parametrize("transforms", [[], None])
@pytest.mark.parametrize("side", [12, 16, 40])
def test_a_network_of_one_size_gets_exactly_that(side, transforms):
    model = FixedSize()
    render_vis(
        model,
        "conv:0",
        lambda: param.image(side),
        transforms=transforms,
        thresholds=(2,),
        progress=False,
        show_image=False,
    )
    assert model.sizes == {(20, 24)}


# Graphs and checkpoints


def nested():
    model = nn.Sequential(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), nn.Conv2d(4, 5, 3))
    model.spec = tiny.PLAIN
    return model.eval()


def test_a_traced_model_is_rendered_like_the_one_it_was_made_from():
    model = nested()
    traced = torch.fx.symbolic_trace(model)
    traced.spec = model.spec
    assert (rendered(traced, "1:2")[0] == rendered(model, "1:2")[0]).all()


def test_a_container_that_a_graph_goes_past_is_an_error():
    traced = torch.fx.symbolic_trace(nested())
    traced.spec = tiny.PLAIN
    with pytest.raises(LayerError, match="'0' is never called.*whose parts the model calls one by"):
        rendered(traced, "0:1")


def test_an_exported_program_is_refused():
    exported = torch.export.export(network(), (torch.zeros(1, 3, SIZE, SIZE),)).module()
    with pytest.raises(InputError, match="exported program.*Pass the Python module"):
        rendered(exported, "3:1")


class Reentrant(tiny.Checkpointed):
    """The same in the way that knows no gradient of inputs."""

    def forward(self, x):
        return self.last(checkpoint(self.body, self.stem(x), use_reentrant=True))


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
@pytest.mark.parametrize("layer", ["body.0", "body"])
def test_a_layer_inside_a_reentrant_checkpoint_is_an_error(layer):
    with pytest.raises(InputError, match=r"inside torch\.utils\.checkpoint .*use_reentrant=False"):
        rendered(Reentrant(), f"{layer}:0")


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
def test_a_layer_behind_a_reentrant_checkpoint_is_an_error():
    with pytest.raises(InputError, match="uses torch.utils.checkpoint with use_reentrant=True"):
        rendered(Reentrant(), "last:0")


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
def test_a_layer_before_a_reentrant_checkpoint_is_rendered():
    found = losses(rendered(Reentrant(), "stem:0"))
    assert found[-1] < found[0]


# Outputs of several tensors


@dataclass
class Parts:
    logits: torch.Tensor
    hidden: torch.Tensor


class Features(nn.Module):
    """Gives the features of its two layers in a list, a dict or a dataclass, as backbones do."""

    spec = tiny.PLAIN

    def __init__(self, pack):
        super().__init__()
        self.first, self.second = tiny.conv([[1, 0, 0], [0, 1, 0]]), tiny.conv([[1, -2], [0, 1]])
        self.pack = pack

    def forward(self, x):
        first = self.first(x)
        return self.pack(first, self.second(first))


@pytest.mark.parametrize(
    ("pack", "part"),
    [
        (lambda a, b: [a, b], "1"),
        (lambda a, b: {"a": a, "b": b}, "b"),
        (lambda a, b: Parts(logits=b, hidden=a), "logits"),
    ],
    ids=["list", "dict", "dataclass"],
)
def test_a_part_of_the_output_is_rendered_like_the_layer_that_made_it(pack, part):
    model = Features(pack)
    assert (rendered(model, f"labels[{part}]:0")[0] == rendered(model, "second:0")[0]).all()


def test_an_output_of_parts_names_them_when_none_is_picked():
    with pytest.raises(LayerError, match=r"labels\[a\]: a tensor of shape.*\n.*labels\[b\]"):
        rendered(Features(lambda a, b: {"a": a, "b": b}), "labels:0")


def test_the_features_of_a_timm_network_are_rendered_by_their_numbers():
    timm = pytest.importorskip("timm")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = timm.create_model("resnet10t", pretrained=False, features_only=True).eval()
    model.spec = tiny.PLAIN
    # Features 0 to 4 are the stem and the four stages.
    assert (rendered(model, "labels[2]:3")[0] == rendered(model, "layer2:3")[0]).all()


def test_sums_of_a_network_that_is_to_become_one_of_integers_are_floating():
    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.sum = nn.Conv2d(3, 3, 3, padding=1), nn.quantized.FloatFunctional()

        def forward(self, x):
            return self.sum.add(self.conv(x), x)

    images = render_vis(
        Residual(), "labels:1", lambda: param.image(SIZE), thresholds=(0, 2), preprocess=False,
        show_image=False, progress=False, fixed_image_size="native",
    )  # fmt: skip
    assert (images[0] != images[1]).any()
