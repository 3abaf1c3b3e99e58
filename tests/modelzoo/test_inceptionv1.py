"""InceptionV1 against a second, plain implementation, and its names, weights and import paths."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from lucent.errors import WeightsError
from lucent.hooks import Activations
from lucent.modelzoo import get_model_layers, inceptionv1, load, spec_of
from lucent.modelzoo.inceptionv1 import InceptionV1, helper_layers, model_urls
from lucent.modelzoo.inceptionv1.helper_layers import CatLayer, local_response_norm
from lucent.modelzoo.spec import read_labels

# in, 1x1, 3x3 bottleneck, 3x3, 5x5 bottleneck, 5x5, pool: table 1 of the paper, but for the 204.
BLOCKS = {
    "mixed3a": (192, 64, 96, 128, 16, 32, 32),
    "mixed3b": (256, 128, 128, 192, 32, 96, 64),
    "mixed4a": (480, 192, 96, 204, 16, 48, 64),
    "mixed4b": (508, 160, 112, 224, 24, 64, 64),
    "mixed4c": (512, 128, 128, 256, 24, 64, 64),
    "mixed4d": (512, 112, 144, 288, 32, 64, 64),
    "mixed4e": (528, 256, 160, 320, 32, 128, 128),
    "mixed5a": (832, 256, 160, 320, 48, 128, 128),
    "mixed5b": (832, 384, 192, 384, 48, 128, 128),
}
PARTS = ("1x1", "3x3_bottleneck", "5x5_bottleneck", "pool_reduce", "3x3", "5x5")


def weight_shapes():
    """The names and shapes in inception5h.pth."""
    convs = {"conv2d0": (64, 3, 7), "conv2d1": (64, 64, 1), "conv2d2": (192, 64, 3)}
    for block, (n_in, c1, c3r, c3, c5r, c5, cp) in BLOCKS.items():
        convs |= {f"{block}_1x1": (c1, n_in, 1), f"{block}_3x3_bottleneck": (c3r, n_in, 1)}
        convs |= {f"{block}_5x5_bottleneck": (c5r, n_in, 1), f"{block}_pool_reduce": (cp, n_in, 1)}
        convs |= {f"{block}_3x3": (c3, c3r, 3), f"{block}_5x5": (c5, c5r, 5)}
    shapes = {}
    for name, (n_out, n_in, k) in convs.items():
        shapes[f"{name}_pre_relu_conv.weight"] = (n_out, n_in, k, k)
        shapes[f"{name}_pre_relu_conv.bias"] = (n_out,)
    shapes["softmax2_pre_activation_matmul.weight"] = (1008, 1024)
    shapes["softmax2_pre_activation_matmul.bias"] = (1008,)
    return shapes


@pytest.fixture(scope="module")
def state():
    """Random weights that keep the activations alive down to the last layer."""
    generator = torch.Generator().manual_seed(0)
    weights = {}
    for name, shape in weight_shapes().items():
        fan_in = torch.Size(shape[1:]).numel()
        scale = (2 / fan_in) ** 0.5 if len(shape) > 1 else 0.1
        weights[name] = scale * torch.randn(shape, generator=generator)
    return weights


@pytest.fixture
def model(state):
    model = inceptionv1().eval()
    model.load_state_dict(state)
    return model


def captured(model, image, names=None):
    """The outputs of the named layers (of all that ran) and of the model, by plain hooks."""
    outputs = {}
    handles = [
        module.register_forward_hook(lambda _m, _i, out, name=name: outputs.update({name: out}))
        for name, module in model.named_children()
        if names is None or name in names
    ]
    outputs[""] = model(image)
    for handle in handles:
        handle.remove()
    return outputs


# --- The second implementation: one function per TensorFlow operation, one line per node. ---


def tf_pad(x, kernel, stride, value):
    pads = []
    for side in (x.shape[3], x.shape[2]):
        n_out = -(-side // stride)
        total = max((n_out - 1) * stride + kernel - side, 0)
        pads += [total // 2, total - total // 2]
    return F.pad(x, pads, value=value)


def tf_max_pool(x, stride):
    return F.max_pool2d(tf_pad(x, 3, stride, -torch.inf), 3, stride)


def tf_lrn(x):
    squares = F.pad(x**2, (0, 0, 0, 0, 5, 5))
    return x / (2.0 + 1e-4 * squares.unfold(1, 11, 1).sum(-1)) ** 0.5


def reference(weights, image):
    """Every tensor of the graph that has a name, as a dict."""
    acts = {}

    def conv(name, x, stride=1):
        kernel = weights[f"{name}_pre_relu_conv.weight"]
        x = F.conv2d(tf_pad(x, kernel.shape[2], stride, 0.0), kernel, stride=stride)
        x = x + weights[f"{name}_pre_relu_conv.bias"].view(1, -1, 1, 1)
        acts[f"{name}_pre_relu_conv"], acts[name] = x, x.clamp(min=0)
        return acts[name]

    x = acts["maxpool0"] = tf_max_pool(conv("conv2d0", image, stride=2), 2)
    x = tf_lrn(conv("conv2d2", conv("conv2d1", tf_lrn(x))))
    for block in BLOCKS:
        pool = {"mixed3a": "maxpool1", "mixed4a": "maxpool4", "mixed5a": "maxpool10"}.get(block)
        if pool:
            x = acts[pool] = tf_max_pool(x, 2)
        acts[f"{block}_pool"] = tf_max_pool(x, 1)
        conv(f"{block}_1x1", x)
        conv(f"{block}_3x3", conv(f"{block}_3x3_bottleneck", x))
        conv(f"{block}_5x5", conv(f"{block}_5x5_bottleneck", x))
        conv(f"{block}_pool_reduce", acts[f"{block}_pool"])
        order = [f"{block}_{part}" for part in ("1x1", "3x3", "5x5", "pool_reduce")]
        acts[f"{block}_pre_relu"] = torch.cat([acts[f"{n}_pre_relu_conv"] for n in order], 1)
        x = acts[block] = torch.cat([acts[n] for n in order], 1)
    name = "softmax2_pre_activation_matmul"
    acts[name] = x.mean((2, 3)) @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]
    acts["softmax2"] = acts[""] = acts[name].softmax(1)
    return acts


@pytest.mark.parametrize(
    "size", [(1, 224, 224), (1, 225, 225), (1, 299, 299), (2, 98, 131), (2, 1, 2)]
)
def test_every_layer_equals_a_plain_implementation_at_any_size(model, state, size):
    generator = torch.Generator().manual_seed(1)
    image = torch.rand(size[0], 3, *size[1:], dtype=torch.float64, generator=generator) * 255 - 117
    with torch.no_grad():
        outputs = captured(model.double(), image)
        expected = reference({name: value.double() for name, value in state.items()}, image)
    assert outputs.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(outputs[name], value, rtol=0, atol=1e-9, msg=name)
    assert outputs["mixed5b"].std() > 1e-3  # dead layers would be equal without a merit


def test_names_shapes_and_number_of_the_weights():
    model = inceptionv1()
    assert {name: tuple(p.shape) for name, p in model.state_dict().items()} == weight_shapes()
    assert (len(model.state_dict()), sum(p.numel() for p in model.parameters())) == (116, 7_066_380)


def test_children_have_torch_lucents_names_and_nothing_is_nested():
    convs = ["conv2d0", "conv2d1", "conv2d2", *(f"{b}_{p}" for b in BLOCKS for p in PARTS)]
    pools = ["maxpool0", "maxpool1", "maxpool4", "maxpool10", *(f"{b}_pool" for b in BLOCKS)]
    upstream = [f"{name}_pre_relu_conv" for name in convs]
    upstream += ["softmax2_pre_activation_matmul", *convs, *pools, *BLOCKS, "softmax2"]
    added = {f"{block}_pre_relu" for block in BLOCKS}
    layers = get_model_layers(inceptionv1())
    assert len(upstream) == 138
    assert [name for name in layers if name not in added] == upstream
    assert set(layers) - set(upstream) == added


def test_texts_of_the_layers_are_torch_lucents():
    texts = get_model_layers(inceptionv1(), getLayerRepr=True)
    assert texts["mixed4a"] == "CatLayer()"
    assert texts["mixed4a_1x1"] == "ReluLayer()"
    assert texts["maxpool0"] == "MaxPool2dLayer()"
    assert texts["softmax2"] == "SoftMaxLayer()"


def test_lucids_names_stand_for_existing_layers():
    model = inceptionv1()
    aliases = dict(spec_of(model).aliases)
    assert aliases["softmax2_pre_activation"] == "softmax2_pre_activation_matmul"
    assert aliases["mixed4b_pool_reduce_pre_relu"] == "mixed4b_pool_reduce_pre_relu_conv"
    children = dict(model.named_children())
    assert set(aliases.values()) <= set(children)
    assert not set(aliases) & set(children)


# --- The joined pre-activations, which exist for whoever looks. ---


@pytest.fixture
def image():
    return torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(2)) * 255 - 117


def test_looking_at_pre_activations_does_not_change_the_output(model, image):
    unwatched = captured(model, image, names=[])
    watched = captured(model, image, names=[f"{block}_pre_relu" for block in BLOCKS])
    assert len(watched) == 1 + len(BLOCKS)
    assert torch.equal(watched[""], unwatched[""])


def test_pre_activations_are_joined_only_when_they_are_looked_at(model, image, monkeypatch):
    joins = []
    plain = CatLayer.forward
    monkeypatch.setattr(CatLayer, "forward", lambda self, x: joins.append(self) or plain(self, x))
    captured(model, image, names=[])
    assert joins == [model.get_submodule(block) for block in BLOCKS]
    joins.clear()
    captured(model, image, names=["mixed4c_pre_relu"])
    assert len(joins) == len(BLOCKS) + 1


def test_logits_have_a_gradient_with_respect_to_pre_activations(model, image):
    logits = "softmax2_pre_activation_matmul"
    outputs = captured(model, image, names=["mixed5b_pre_relu", "mixed5b", logits])
    score = outputs[logits][0, 3]
    at_output, at_input = torch.autograd.grad(
        score, [outputs["mixed5b"], outputs["mixed5b_pre_relu"]]
    )
    assert at_output.abs().max() > 0
    assert torch.equal(at_input, at_output * (outputs["mixed5b_pre_relu"] > 0))


def test_a_value_put_in_place_of_pre_activations_goes_on(model, image):
    handle = model.mixed4a_pre_relu.register_forward_hook(lambda _m, _i, out: out + 1)
    outputs = captured(model, image, names=["mixed4a", "mixed4a_pre_relu"])
    handle.remove()
    assert torch.equal(outputs["mixed4a"], outputs["mixed4a_pre_relu"].relu())
    assert not torch.equal(outputs[""], model(image))


def test_objectives_reach_layers_by_lucids_names(model, image):
    layers = ["mixed4c_pre_relu", "mixed4c_5x5_pre_relu", "softmax2_pre_activation"]
    with Activations(model, layers, aliases=dict(spec_of(model).aliases)) as T:
        T.run(image)
        joined, branch, logits = map(T, layers)
    assert torch.equal(joined[:, 128 + 256 : 128 + 256 + 64], branch)
    assert torch.equal(logits.softmax(1), model(image))


# --- Details ---


def test_gradients_are_plain_whatever_redirected_relu_says(image):
    for redirected in (True, False):
        model = inceptionv1(redirected_ReLU=redirected)
        assert model.redirected_ReLU is redirected
        x = torch.tensor([[-1.0, 2.0]], requires_grad=True)
        model.mixed4a_1x1(x).backward(torch.tensor([[-1.0, 0.0]]))
        assert x.grad.tolist() == [[0.0, 0.0]]


def test_redirected_layer_lets_a_dead_unit_open():
    x = torch.tensor([[-1.0, -2.0]], requires_grad=True)
    y = helper_layers.RedirectedReluLayer()(x)
    y.backward(torch.tensor([[-1.0, 1.0]]))
    assert y.tolist() == [[0.0, 0.0]]
    assert x.grad.tolist() == [[-1.0, 0.0]]


LRN = {"alpha": 11e-4, "beta": 0.5, "k": 2.0}


@pytest.fixture
def energetic():
    """Activations whose energies are far from the constant under the root."""
    generator = torch.Generator().manual_seed(3)
    return 200 * torch.randn(2, 24, 5, 7, dtype=torch.float64, generator=generator)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("beta", [0.5, 0.75])
@pytest.mark.parametrize("size", [11, 5, 4, 60])
def test_local_response_norm_equals_torchs(energetic, size, beta, layout):
    x = energetic.contiguous(memory_format=layout).requires_grad_()
    ours = local_response_norm(x, size, alpha=0.02, beta=beta, k=2.0)
    theirs = F.local_response_norm(x, size, alpha=0.02, beta=beta, k=2.0)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=0)
    gradients = [torch.autograd.grad(y.cos().sum(), x)[0] for y in (ours, theirs)]
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-12)
    assert ours.is_contiguous(memory_format=layout)


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_local_response_norm_has_derivatives_of_all_kinds(energetic):
    x = energetic[:1, :6, :2, :2].requires_grad_()

    def normalised(x):
        return local_response_norm(x, 5, **LRN)

    assert torch.autograd.gradcheck(normalised, x, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(normalised, x)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_local_response_norm_of_a_half_is_rounded_once(energetic, dtype):
    x = 10 * energetic.to(dtype)  # the squares overflow float16
    expected = F.local_response_norm(x.double(), 11, **LRN)
    found = local_response_norm(x, 11, **LRN)
    assert found.dtype == dtype
    torch.testing.assert_close(found.double(), expected, rtol=torch.finfo(dtype).eps, atol=0)


def test_local_response_norm_keeps_its_precision_under_autocast(energetic):
    expected = F.local_response_norm(energetic, 11, **LRN)
    with torch.autocast("cpu", torch.bfloat16):
        found = local_response_norm(energetic.float(), 11, **LRN)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), expected, rtol=1e-6, atol=0)


def test_local_response_norm_has_a_shape_without_data():
    assert local_response_norm(torch.empty(2, 24, 5, 7, device="meta"), 11, **LRN).is_meta


class Operations(TorchDispatchMode):
    """Keeps the names of operations."""

    def __init__(self):
        super().__init__()
        self.names = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.add(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


def test_no_slow_operation_is_used(model, image):
    with torch.no_grad(), Operations() as operations:
        model(image)
    assert "convolution" in operations.names
    assert not [name for name in operations.names if "pool3d" in name or "unfold" in name]


def test_dropout_is_for_training_only(model, image):
    assert torch.equal(model(image), model(image))
    model.train()
    assert not torch.equal(model(image), model(image))


def test_labels_are_in_the_networks_own_order():
    spec = spec_of(inceptionv1())
    assert len(spec.labels) == 1008
    assert spec.labels[:4] == ("dummy", "kit fox", "English setter", "Siberian husky")
    assert spec.labels[1001:] == ("unused",) * 7
    assert sorted(spec.labels[1:1001]) == sorted(read_labels("imagenet"))
    assert spec.label_index("Labrador retriever") == 176
    assert (spec.value_range, spec.logits) == ((-117.0, 138.0), "softmax2_pre_activation_matmul")


# --- Weights ---


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """torch.hub's folder for weights, empty."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def same(model, state):
    return all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


def test_pretrained_takes_the_file_in_the_folder_of_torch_hub(hub, state):
    torch.save(state, hub / "inception5h.pth")
    assert same(inceptionv1(pretrained=True), state)
    assert same(load("inceptionv1"), state)


def test_weights_names_a_file_of_any_precision(tmp_path, state):
    halves = {name: value.half() for name, value in state.items()}
    torch.save(halves, tmp_path / "mine.pth")
    model = inceptionv1(weights=tmp_path / "mine.pth")
    assert model.conv2d0_pre_relu_conv.weight.dtype == torch.float32
    assert same(model, {name: value.float() for name, value in halves.items()})


def test_offline_error_names_file_address_and_folder(hub):
    with pytest.raises(WeightsError) as caught:
        inceptionv1(pretrained=True, progress=False)
    text = str(caught.value)
    assert "inception5h.pth" in text
    assert model_urls["inceptionv1"] in text
    assert str(hub) in text
    assert not list(hub.iterdir())


def test_a_file_of_another_network_is_refused_by_its_first_misfits(tmp_path, state):
    torch.save({**state, "fc.bias": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match=r"other\.pth does not fit InceptionV1: fc\.bias is un"):
        inceptionv1(weights=tmp_path / "other.pth")


# --- Import paths and values ---


def test_import_paths_of_torch_lucent():
    import lucent.modelzoo.inceptionv1.InceptionV1
    from lucent.modelzoo.inceptionv1.InceptionV1 import InceptionV1 as by_module
    from lucent.modelzoo.inceptionv1.InceptionV1 import model_urls as urls

    assert lucent.modelzoo.inceptionv1 is inceptionv1 is InceptionV1 is by_module
    assert isinstance(inceptionv1(), inceptionv1)
    assert urls is model_urls
    assert helper_layers.CatLayer is CatLayer


def test_helper_layers_take_their_options_with_the_call():
    x = torch.arange(16.0).view(1, 1, 4, 4)
    assert helper_layers.AdditionLayer()(x, x).equal(2 * x)
    assert helper_layers.MaxPool2dLayer()(x, (2, 2), (2, 2)).flatten().tolist() == [5, 7, 13, 15]
    assert helper_layers.AVGPoolLayer()(x, (4, 4)).item() == 7.5
    assert helper_layers.PadLayer()(x, value=7.0)[0, 0, 0].tolist() == [7.0] * 6
    assert helper_layers.PadLayer()(x, (0, 1, 0, 0))[0, 0, 0].tolist() == [0, 1, 2, 3, 0]
    assert helper_layers.SoftMaxLayer()(torch.zeros(1, 4)).tolist() == [[0.25] * 4]
    assert helper_layers.DropoutLayer()(x).equal(x)
    assert helper_layers.DropoutLayer()(x + 1, p=1.0, training=True).count_nonzero() == 0
    assert helper_layers.LocalResponseNormLayer()(x, 1, 1.0, 1.0, 0.0)[0, 0, 0, 1].item() == 1.0


def test_model_can_be_copied_and_pickled(model, image):
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(twin(image), model(image))
        assert twin.spec == model.spec
