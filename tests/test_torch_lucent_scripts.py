"""Scripts as users of torch-lucent write them, with fewer steps: they run, and find what they seek.

Each stands for a notebook of torch-lucent's, or for one of its tests; all networks have random
weights.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import lucent.misc.io
import lucent.optvis.render as render
from lucent.misc.channel_reducer import ChannelReducer
from lucent.misc.io import show
from lucent.modelzoo import inceptionv1, mobilenet_v2
from lucent.modelzoo.util import get_model_layers
from lucent.optvis import objectives, param, transform
from lucent.optvis.param.cppn import CompositeActivation
from lucent.optvis.render import tensor_to_img_array
from lucent.util import set_seed

#: What keeps a test short: no window, no bar, a network input of 64 pixels.
QUIET = {"progress": False, "show_image": False, "fixed_image_size": 64}
#: With random weights a channel may be dead behind its ReLU.
PRE_RELU = "mixed3a_1x1_pre_relu_conv"


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return inceptionv1(pretrained=False).eval()


@pytest.fixture(autouse=True)
def seeded():
    set_seed(0)


@pytest.fixture(autouse=True)
def cards(monkeypatch):
    """What a notebook would have shown, as HTML."""
    shown = []
    monkeypatch.setattr("lucent.misc.io.showing._display_html", shown.append)
    return shown


def falls(images):
    loss = images.history.loss
    return np.mean(loss[-3:]) < np.mean(loss[:3])


# The tutorial: strings, sums, parametrizations, transforms.


def test_tutorial_string_shown_inline(model, cards):
    images = render.render_vis(model, "mixed4a:476", thresholds=(8,), show_inline=True, **QUIET)
    assert [array.shape for array in images] == [(1, 128, 128, 3)]
    assert falls(images)
    assert len(cards) == 1


def test_tutorial_sum_of_channels(model):
    obj = objectives.channel("mixed4a", 476) + objectives.channel("mixed4a", 465)
    images = render.render_vis(model, obj, thresholds=(8,), **QUIET)
    assert falls(images)


@pytest.mark.parametrize("fft", [True, False])
@pytest.mark.parametrize("decorrelate", [True, False])
def test_tutorial_parametrizations(model, fft, decorrelate, cards, capsys):
    images = render.render_vis(
        model,
        "mixed4a:2",
        param_f=lambda: param.image(64, fft=fft, decorrelate=decorrelate),
        thresholds=(1, 2),
        verbose=True,
        show_inline=True,
        **QUIET,
    )
    assert [array.shape for array in images] == [(1, 64, 64, 3)] * 2
    assert not np.array_equal(*images)
    assert "Loss at step 2: " in capsys.readouterr().out


ALL_TRANSFORMS = [
    transform.pad(16),
    transform.jitter(8),
    transform.random_scale([n / 100.0 for n in range(80, 120)]),
    transform.random_rotate([*range(-10, 10), *range(-5, 5), *(10 * list(range(-2, 2)))]),
    transform.jitter(2),
]


@pytest.mark.parametrize("transforms", [[], [transform.jitter(8)], ALL_TRANSFORMS])
def test_tutorial_transforms(model, transforms):
    before = list(transforms)
    images = render.render_vis(
        model, "mixed4a:476", transforms=transforms, thresholds=(8,), **QUIET
    )
    assert falls(images)
    assert transforms == before


def test_tutorial_cppn(model):
    images = render.render_vis(
        model,
        "mixed4a:476",
        lambda: param.cppn(64),
        lambda params: torch.optim.Adam(params, 5e-3),
        transforms=[],
        thresholds=(12,),
        **QUIET,
    )
    assert images[0].shape == (1, 64, 64, 3)
    assert falls(images)


def test_lbfgs_is_stepped_with_a_closure(model):
    images = render.render_vis(
        model,
        f"{PRE_RELU}:5",
        lambda: param.image(32, sd=0.5),
        optimizer=lambda params: torch.optim.LBFGS(params, max_iter=4),
        transforms=[],
        thresholds=(6,),
        **QUIET,
    )
    assert falls(images)


# The modelzoo notebook: layers of any network, class logits.


def test_modelzoo_lists_layers(model):
    layers = get_model_layers(model)
    assert layers[:3] == [
        "conv2d0_pre_relu_conv",
        "conv2d1_pre_relu_conv",
        "conv2d2_pre_relu_conv",
    ]
    # The concatenations before the ReLUs are additions.
    known = [name for name in layers if not name.endswith("_pre_relu")]
    assert len(known) == 138
    assert len(layers) == 147
    assert get_model_layers(model, getLayerRepr=True)["mixed4a"] == "CatLayer()"


def test_modelzoo_class_of_inceptionv1(model):
    images = render.render_vis(model, "labels:229", thresholds=(8,), **QUIET)
    assert falls(images)


def test_modelzoo_channel_of_a_torchvision_network():
    network = mobilenet_v2(weights=None).eval()
    images = render.render_vis(
        network, "features_15:45", lambda: param.image(64), thresholds=(4,), **QUIET
    )
    assert images[0].shape == (1, 64, 64, 3)
    assert len(images.history.loss) == 4


def test_modelzoo_underscore_names_of_nested_layers(capsys):
    from lucent.modelzoo import resnet18

    network = resnet18(weights=None).eval()
    images = render.render_vis(network, "layer4_1_conv1:121", verbose=True, thresholds=[4], **QUIET)
    assert "Loss at step 4: " in capsys.readouterr().out
    assert len(images) == 1
    labels = render.render_vis(network, "labels:949", thresholds=(2,), **QUIET)
    assert labels[0].shape == (1, 128, 128, 3)


# Diversity.


@pytest.mark.parametrize("weight", [1e2, 1e3])
def test_diversity_makes_the_images_of_a_batch_different(model, weight):
    def batch_param_f():
        return param.image(64, batch=4, decorrelate=False)

    obj = objectives.channel("mixed4b", 77) - weight * objectives.diversity("mixed4b")
    (images,) = render.render_vis(
        model, obj, batch_param_f, thresholds=(6,), transforms=[], **QUIET
    )
    assert images.shape == (4, 64, 64, 3)

    def similarity(pictures):
        T = render.hook_model(model, lambda: None)
        model(torch.from_numpy(pictures).movedim(-1, 1) * 255 - 117)
        return -objectives.diversity("mixed4b")(T).item()

    alone = render.render_vis(
        model,
        "mixed4b:77",
        batch_param_f,
        thresholds=(6,),
        transforms=[],
        **QUIET,
    )
    assert similarity(images) < similarity(alone[0])


# Neuron interaction: batches, shared parametrizations, interpolation.


def test_interaction_negative_and_positive(model):
    layer, unit = "mixed4a", 37
    obj = objectives.channel(layer, unit, batch=1) - objectives.channel(layer, unit, batch=0)
    (images,) = render.render_vis(
        model, obj, lambda: param.image(64, batch=2), transforms=[], thresholds=(8,), **QUIET
    )
    T = render.hook_model(model, lambda: None)
    model(torch.from_numpy(images).movedim(-1, 1) * 255 - 117)
    low, high = T(layer)[:, unit].mean((1, 2))
    assert low < high


def test_interaction_of_a_batch_of_three(model):
    neuron1, neuron2 = ("mixed4b", 111), ("mixed4a", 476)
    C = objectives.channel
    obj = C(*neuron1, batch=0) + C(*neuron2, batch=1)
    obj += C(*neuron1, batch=2) + C(*neuron2, batch=2)
    images = render.render_vis(
        model, obj, lambda: param.image(64, batch=3), thresholds=(8,), **QUIET
    )
    assert images[-1].shape == (3, 64, 64, 3)
    assert falls(images)
    assert obj.name == "channel, channel, channel, channel"


def test_interaction_random_direction(model):
    obj = objectives.direction("mixed4d", torch.randn(528))
    assert falls(render.render_vis(model, obj, thresholds=(8,), **QUIET))


def interpolation_param_f(batch=6, size=64):
    params, unique_f = param.fft_image((batch, 3, size, size))
    lowres = [
        param.lowres_tensor((batch, 3, size, size), (n, 3, size // d, size // d))
        for n, d in [(1, 2), (1, 4), (1, 8), (2, 8), (1, 16), (2, 16)]
    ]
    for p, _ in lowres:
        params += p

    def summed():
        return sum((f() for _, f in lowres), unique_f())

    return params, param.to_valid_rgb(summed, decorrelate=True)


def test_interaction_aligned_interpolation(model):
    params, image_f = interpolation_param_f()
    assert len(params) == 7
    assert image_f().shape == (6, 3, 64, 64)
    obj = objectives.channel_interpolate("mixed4a", 476, "mixed4a", 460)
    images = render.render_vis(model, obj, interpolation_param_f, thresholds=(8,), **QUIET)
    assert images[0].shape == (6, 64, 64, 3)
    assert falls(images)


def test_alignment_is_added(model):
    obj = objectives.channel_interpolate("mixed3a", 4, "mixed3a", 6)
    obj = obj + 0.1 * objectives.alignment("mixed3b")
    images = render.render_vis(
        model, obj, lambda: param.image(64, batch=3, sd=0.3), thresholds=(8,), **QUIET
    )
    misalignment = images.history.terms["Alignment [mixed3b, 2]"]
    assert all(value <= 0 for value in misalignment)
    assert falls(images)


# Feature inversion: an objective of one's own over a batch of the image and its target.


@objectives.wrap_objective()
def dot_compare(layer, batch=1, cossim_pow=0):
    def inner(T):
        dot = (T(layer)[batch] * T(layer)[0]).sum()
        mag = torch.sqrt(torch.sum(T(layer)[0] ** 2))
        cossim = dot / (1e-6 + mag)
        return -dot * cossim**cossim_pow

    return inner


def inversion_param_f(target):
    def inner():
        params, image_f = param.image(target.shape[-1])

        def stacked_param_f():
            return torch.stack([target, image_f()[0]])

        return params, stacked_param_f

    return inner


@pytest.mark.parametrize("cossim_pow", [0, 1])
def test_feature_inversion(model, cossim_pow, cards):
    target = torch.rand(3, 64, 64)
    obj = objectives.Objective.sum(
        [1.0 * dot_compare("mixed3a", cossim_pow=cossim_pow), objectives.blur_input_each_step()]
    )
    imgs = render.render_vis(
        model,
        obj,
        inversion_param_f(target),
        thresholds=(6,),
        transforms=[transform.pad(4, mode="constant", constant_value=0.5), transform.jitter(4)],
        show_image=False,
        progress=False,
    )
    assert imgs[-1].shape == (2, 64, 64, 3)
    np.testing.assert_allclose(imgs[-1][0], target.permute(1, 2, 0), atol=1e-6)
    assert falls(imgs)
    show(imgs[-1])
    lucent.misc.io.show(imgs[-1][1])
    assert len(cards) == 2


# Activation grids: hooks of one's own, groups of neurons, an image function that samples cells.


def activations_of(model, layer, image):
    hook = render.ModuleHook(getattr(model, layer))
    preprocess = (
        transform.preprocess_inceptionv1()
        if model._get_name() == "InceptionV1"
        else transform.normalize()
    )
    chosen = transform.standard_transforms.copy()
    chosen.append(preprocess)
    model(transform.compose(chosen)(image))
    hook.close()
    return hook.features


@pytest.mark.filterwarnings("ignore:Maximum number of iterations")
def test_activation_grid(model, cards):
    acts = activations_of(model, "mixed4d", torch.rand(1, 3, 96, 96))
    acts = tensor_to_img_array(acts)[0]
    height, width, channels = acts.shape
    nb_groups, cell, n_cells = 3, 32, height * width
    flat = acts.reshape(-1, channels)
    groups = ChannelReducer(nb_groups, "NMF").fit_transform(flat)
    assert groups.shape == (n_cells, nb_groups)
    groups = torch.from_numpy(groups / groups.max(0)).float()
    directions = torch.from_numpy(flat)
    sampled = {}

    def param_f():
        params, cells_f = param.fft_image([n_cells, 3, cell, cell])
        group_params, groups_f = param.fft_image([nb_groups, 3, cell, cell])
        params += group_params

        def sample_f():
            sampled["index"] = index = np.random.choice(n_cells, size=8)
            shared = torch.einsum("ng,gchw->nchw", groups[index], groups_f())
            return 0.7 * cells_f()[index] + 0.5 * shared

        return params, param.to_valid_rgb(sample_f, decorrelate=True)

    def cell_losses(T):
        found = T("mixed4d").mean((2, 3))
        wanted = directions[sampled["index"]]
        return -(found * wanted).sum(1).mean()

    images = render.render_vis(
        model,
        objectives.Objective(cell_losses),
        param_f=param_f,
        transforms=[transform.jitter(2)],
        thresholds=(8,),
        progress=False,
        show_image=False,
        fixed_image_size=64,
    )
    assert images[-1].shape == (8, cell, cell, 3)
    assert falls(images)
    render.show(np.hstack(list(images[-1])))
    assert len(cards) == 1


# Images from a generator network.


class Generator(nn.Module):
    """As small as it gets, with the attributes and methods that upconvGAN has."""

    codelen = 16

    def __init__(self):
        super().__init__()
        self.G = nn.Sequential(nn.Linear(16, 48), nn.Unflatten(1, (3, 4, 4)), nn.Upsample(size=32))
        self.G.requires_grad_(False)

    def visualize(self, code, scale=1.0):
        return (127 + 50 * self.G(code)).clamp(0, 255) / 255 * scale


def test_gan_parametrization():
    from lucent.optvis.param.gan import upconvGAN

    assert callable(upconvGAN)
    network = nn.Sequential(nn.Conv2d(3, 8, 5), nn.ReLU(), nn.Flatten(), nn.LazyLinear(10)).eval()
    network(torch.zeros(1, 3, 32, 32))
    G = Generator()

    def gan_param(batch=1, sd=1.0):
        code = (torch.randn(batch, G.codelen) * sd).requires_grad_(True)
        return [code], lambda: G.visualize(code)

    images = render.render_vis(
        network,
        objectives.channel("3", 5) - 0.1 * objectives.diversity("1"),
        param_f=lambda: gan_param(batch=2),
        thresholds=(1, 8),
        transforms=[],
        preprocess=False,
        progress=False,
        show_image=False,
        fixed_image_size=32,
    )
    assert images[-1].shape == (2, 32, 32, 3)
    assert falls(images)


# torch-lucent's own tests: every objective falls by descent on a network with random weights.


def pre_relu(n_channel, batch=None):
    return objectives.channel(PRE_RELU, n_channel, batch)


RANDOM_OBJECTIVES = {
    "neuron": lambda: objectives.neuron(PRE_RELU, 0),
    "channel": lambda: pre_relu(0),
    "neuron_weight": lambda: objectives.neuron_weight("mixed3a", torch.randn(256)),
    "neuron_weight without weight": lambda: objectives.neuron_weight("mixed3a", None),
    "channel_weight": lambda: objectives.channel_weight("mixed3a", torch.randn(256)),
    "localgroup_weight": lambda: objectives.localgroup_weight(
        "mixed3a", torch.randn(256), x=2, y=2, wx=1, wy=1
    ),
    "localgroup_weight without weight": lambda: objectives.localgroup_weight(
        "mixed3a", None, x=1, y=0, wx=2, wy=3
    ),
    "direction": lambda: objectives.direction("mixed3a", torch.rand(256) * 1000),
    "direction_neuron": lambda: objectives.direction_neuron("mixed3a", torch.rand(256) * 1000),
    "channel_interpolate": lambda: objectives.channel_interpolate(PRE_RELU, 0, PRE_RELU, 5),
    "blur_input_each_step": objectives.blur_input_each_step,
    "diversity": lambda: objectives.diversity("mixed3a"),
    "alignment": lambda: objectives.alignment("mixed3a", 10),
    "a plain function": lambda: lambda T: -T("mixed3a").mean(),
    "a string": lambda: f"{PRE_RELU}:0",
    "a sum": lambda: pre_relu(0) + pre_relu(1),
    "a difference": lambda: pre_relu(0) - pre_relu(1),
    "a product": lambda: pre_relu(0) * -2,
    "a quotient": lambda: pre_relu(0) / 2,
    "a batch": lambda: pre_relu(0, batch=1),
    "Objective.sum": lambda: objectives.Objective.sum([pre_relu(0), pre_relu(1)]),
}


@pytest.mark.parametrize("name", RANDOM_OBJECTIVES)
def test_descent_lowers_every_objective(model, name):
    objective_f = objectives.as_objective(RANDOM_OBJECTIVES[name]())
    params, image_f = param.image(32, batch=2, sd=0.5)
    optimizer = torch.optim.Adam(params, lr=0.05)
    T, hooks = render.hook_model(model, image_f, return_hooks=True)

    def loss():
        model(image_f() * 255 - 117)
        return objective_f(T)

    start = loss().item()
    for _ in range(5):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
    end = loss().item()
    for hook in hooks.values():
        hook.close()
    model.zero_grad(set_to_none=True)
    assert end < start


def test_render_vis_returns_as_many_arrays_as_thresholds(model):
    images = render.render_vis(model, "mixed3a:0", thresholds=(1, 2), **QUIET)
    assert len(images) == 2
    assert images[0].shape == (1, 128, 128, 3)


def test_hook_model_gives_labels_and_input(model):
    _, image_f = param.image(64)
    T = render.hook_model(model, image_f)
    model(image_f())
    assert torch.equal(T("input"), image_f())
    assert T("labels").shape == (1, 1008)


def test_wrong_factors_are_type_errors_with_the_old_text():
    objective = objectives.channel("mixed4a", 0)
    kind = "<class 'lucent.optvis.objectives.Objective'>"
    with pytest.raises(TypeError) as error:
        objective * objective
    assert str(error.value) == f"Can only multiply by int or float. Received type {kind}"
    with pytest.raises(TypeError) as error:
        objective / objective
    assert str(error.value) == f"Can only divide by int or float. Received type {kind}"


def test_cppn_fits_xor():
    params, image_f = param.cppn(
        16, num_output_channels=1, activation_fn=CompositeActivation, normalize=False
    )
    optimizer = torch.optim.Adam(params, lr=0.01)
    target = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    for _ in range(200):
        corners = image_f()[0, 0, ::15, ::15]
        loss = -torch.log(1 - (corners - target).abs() + 1e-6).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if (corners - target).abs().max() < 0.01:
            return
    raise AssertionError(corners)


def test_export_writes_the_batch_side_by_side(model, tmp_path):
    from PIL import Image

    name = tmp_path / "unit.png"
    render.render_vis(
        model,
        "mixed3a:0",
        lambda: param.image(16, 24, batch=3),
        thresholds=(1,),
        save_image=True,
        image_name=str(name),
        **QUIET,
    )
    assert Image.open(name).size == (48, 24)


def test_a_seed_gives_the_same_picture_again(model):
    def picture():
        set_seed(7)
        return render.render_vis(model, "mixed3a:0", thresholds=(2,), **QUIET)[0]

    assert np.array_equal(picture(), picture())
