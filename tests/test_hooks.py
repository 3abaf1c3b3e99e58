"""Layer access: the right values and gradients, by as little work as possible, leaving nothing."""

from __future__ import annotations

import logging
import warnings
from collections import OrderedDict, namedtuple
from functools import cache

import pytest
import tiny
import torch
from torch import nn

from lucent.errors import InputError, LayerError, LucentWarning
from lucent.hooks import Activations
from lucent.layers import LayerNames, layer_table, unwrap

RED = tiny.colour(0.5, 0.25, 0.0)


def activation(model, layer, image=RED, **options):
    with Activations(model, [layer], **options) as T:
        T.run(image)
        return T(layer)


def values(tensor):
    """The distinct values of each channel of a plain picture."""
    return [channel.unique().tolist() for channel in tensor.transpose(0, 1)]


# Values


def test_activations_are_those_known_by_hand():
    layers = ["conv1", "relu", "conv2", "head", "labels", "input"]
    with Activations(tiny.Chain(), layers) as T:
        T.run(RED)
        known = {layer: values(T(layer)) for layer in layers}
    assert known == {
        "conv1": [[0.5], [-0.25]],
        "relu": [[0.5], [0.0]],
        "conv2": [[1.0]],
        "head": [[1.0], [-1.0]],
        "labels": [[1.0], [-1.0]],
        "input": [[0.5], [0.25], [0.0]],
    }


def test_input_is_the_image_before_transforms():
    original = tiny.colour(1, 1, 1)
    with Activations(tiny.Chain(), ["input", "conv1"]) as T:
        T.run(RED, original=original)
        assert T("input") is original
        assert values(T("conv1")) == [[0.5], [-0.25]]
        T.run(RED)
        assert T("input") is RED


def test_a_layer_overwritten_in_place_gives_its_own_value():
    model = tiny.Chain(inplace=True)
    with Activations(model, ["conv1", "relu", "conv2"]) as T:
        T.run(RED)
        assert values(T("conv1")) == [[0.5], [-0.25]]
        assert values(T("relu")) == [[0.5], [0.0]]
    # Alone it is the last layer needed, and nothing that follows may run.
    assert values(activation(model, "conv1")) == [[0.5], [-0.25]]
    assert values(activation(model, "conv1", truncate=False)) == [[0.5], [-0.25]]


def test_every_pass_gives_its_own_values():
    with Activations(tiny.Chain(), ["conv2"]) as T:
        for red in (0.5, 0.25):
            T.run(tiny.colour(red, 0, 0, batch=3, size=4))
            assert T("conv2").shape == (3, 1, 4, 4)
            assert values(T("conv2")) == [[2 * red]]


def test_a_failed_pass_leaves_no_stale_values():
    with Activations(tiny.Chain(), ["conv2"]) as T:
        T.run(RED)
        with pytest.raises(RuntimeError, match="channels"):
            T.run(torch.zeros(1, 4, 2, 2))
        with pytest.raises(LayerError):
            T("conv2")
        T.run(RED)
        assert values(T("conv2")) == [[1.0]]


@cache
def network(name):
    from torchvision import models

    torch.manual_seed(0)
    options = {} if name in ("resnet18", "mobilenet_v2") else {"num_classes": 10}
    if name in ("googlenet", "vgg11"):
        options["init_weights"] = False
    return getattr(models, name)(**options).eval()


def reference(model, layer, image, call=-1):
    """Value and gradient of a layer by a plain hook and a whole forward pass."""
    found = []
    module = dict(model.named_modules())[layer]
    hook = module.register_forward_hook(lambda _m, _i, output: found.append(output.clone()))
    image = image.clone().requires_grad_()
    model(image)
    hook.remove()
    return found[call], torch.autograd.grad(weighted(found[call]), image)[0]


def weighted(acts):
    """A sum in which every value counts differently."""
    return (acts * torch.linspace(-1, 1, acts.numel()).view_as(acts)).sum()


NETWORK_LAYERS = [
    ("resnet18", "bn1"),  # overwritten by an in-place ReLU module
    ("resnet18", "layer2.1.conv1"),
    ("resnet18", "layer3"),
    ("googlenet", "inception3a.branch1.bn"),  # overwritten by an in-place F.relu
    ("googlenet", "inception4b"),
    ("densenet121", "features.norm0"),
    ("densenet121", "features.denseblock2.denselayer3.norm1"),
    ("mobilenet_v2", "features.3.conv.0.1"),  # overwritten by an in-place ReLU6
    ("mobilenet_v2", "features.7"),
    ("vgg11", "features.0"),
    ("vgg11", "features.7"),
]


@pytest.mark.parametrize(("name", "layer"), NETWORK_LAYERS)
def test_values_and_gradients_equal_those_of_a_whole_pass(name, layer):
    model = network(name)
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    value, gradient = reference(model, layer, image)
    image.requires_grad_()
    with Activations(model, [layer]) as T:
        T.run(image)
        assert torch.equal(T(layer), value)
        (found,) = torch.autograd.grad(weighted(T(layer)), image)
    assert torch.equal(found, gradient)
    assert tiny.hooked(model) == []


def test_gradients_flow_through_all_layers_of_one_pass():
    image = RED.clone().requires_grad_()
    with Activations(tiny.Chain(inplace=True), ["conv1", "conv2"]) as T:
        T.run(image)
        (T("conv1")[:, 1].sum() + T("conv2").sum()).backward()
    # Of (r, -g) and 2 max(r, 0) + 3 max(-g, 0), with r > 0 and g > 0.
    assert image.grad.unique(dim=-1).squeeze().unique(dim=-1).tolist() == [[2], [-1], [0]]


# Work done


def test_only_the_layers_asked_for_are_hooked_and_only_inside_the_block():
    model, seen = tiny.Chain(), []
    forward = model.conv1.forward
    model.conv1.forward = lambda x: seen.append(tiny.hooked(model)) or forward(x)
    with Activations(model, ["relu", "head_2"]) as T:
        assert tiny.hooked(model) == []
        T.run(RED)
        T.run(RED)
    assert all(names == ["relu", "head.2"] for names in seen)
    assert len(seen) == 3
    assert tiny.hooked(model) == []


def test_the_forward_pass_stops_after_the_last_layer_needed():
    model = tiny.Chain()
    calls = tiny.count_calls(model)
    with Activations(model, ["relu", "conv1"]) as T:
        for _ in range(5):
            T.run(RED)
    # One planning pass goes to the end.
    assert calls["conv1"] == calls["relu"] == 6
    assert calls["conv2"] == calls["head"] == calls["head.2"] == 1


def test_the_forward_pass_of_a_real_network_stops():
    from torchvision.models import resnet18

    model = resnet18().eval()
    calls = tiny.count_calls(model)
    with Activations(model, ["layer2_1_conv1"]) as T:
        for _ in range(2):
            T.run(torch.rand(1, 3, 32, 32))
    assert calls["layer2.1.conv1"] == 3
    assert {calls[name] for name in ("layer2.1.bn1", "layer3", "layer4.1.conv2", "fc")} == {1}


def test_truncation_can_be_switched_off():
    model = tiny.Chain()
    calls = tiny.count_calls(model)
    with Activations(model, ["conv1"], truncate=False) as T:
        T.run(RED)
        T.run(RED)
    assert calls["head"] == 3


def test_a_head_that_refuses_the_size_does_no_harm_behind_the_layers_needed(caplog):
    model = tiny.PickyHead()
    with caplog.at_level(logging.INFO, "lucent"):
        assert values(activation(model, "conv2")) == [[1.0]]
    assert "mat1 and mat2" in caplog.text
    with pytest.raises(InputError, match="mat1 and mat2"):
        activation(model, "head_1")


def test_a_model_that_catches_exceptions_is_stopped_all_the_same():
    model = tiny.Swallower()
    calls = tiny.count_calls(model)
    with Activations(model, ["conv1"]) as T:
        T.run(RED)
    assert (model.caught, calls["relu"]) == (0, 1)


def test_the_plan_takes_one_image_and_no_gradients():
    model, seen = tiny.Chain(), []
    forward = model.conv1.forward

    def spy(x):
        seen.append((len(x), torch.is_grad_enabled()))
        return forward(x)

    model.conv1.forward = spy
    with Activations(model, ["conv1"]) as T:
        T.run(tiny.colour(0.5, 0, 0, batch=5).requires_grad_())
        assert T("conv1").requires_grad
    assert seen == [(1, False), (5, True)]


# Modules called several times


def passes(model, layers, asked):
    """What `asked` gives, each in a pass of its own."""
    with Activations(model, layers) as T:
        for layer in asked:
            T.run(RED)
            yield values(T(layer))


def test_the_last_of_several_calls_counts_with_one_warning_that_names_them():
    with pytest.warns(LucentWarning) as caught:
        found = list(passes(tiny.SharedReLU(), ["relu"], ["relu"] * 3))
    assert found == [[[0.25], [0.0]]] * 3
    assert [str(warning.message) for warning in caught] == [
        "The layer 'relu' is called 2 times per forward pass; its last call is used. "
        "Choose one by its number: 'relu#0', 'relu#1'."
    ]


def test_that_warning_comes_once_also_when_more_layers_are_asked_for_later():
    with pytest.warns(LucentWarning) as caught:
        found = list(passes(tiny.SharedReLU(), None, ["relu", "conv1", "conv2", "relu"]))
    assert found == [[[0.25], [0.0]], [[0.5], [0.25]], [[0.25], [-0.25]], [[0.25], [0.0]]]
    assert len(caught) == 1


def test_a_call_is_chosen_by_its_number():
    model = tiny.SharedReLU()
    calls = tiny.count_calls(model)
    assert values(activation(model, "relu#0")) == [[0.5], [0.25]]
    assert (calls["relu"], calls["conv2"]) == (3, 1)
    assert values(activation(model, "relu#1")) == [[0.25], [0.0]]


def test_two_calls_of_one_module_are_two_layers():
    with Activations(tiny.SharedReLU(), ["relu#0", "relu#1", "conv2"]) as T:
        T.run(RED)
        found = [values(T(layer)) for layer in ("relu#0", "conv2", "relu#1")]
    assert found == [[[0.5], [0.25]], [[0.25], [-0.25]], [[0.25], [0.0]]]


def test_a_call_that_does_not_happen_is_an_error():
    with pytest.raises(LayerError, match=r"'relu' is called 2 .*'relu#2'.*last call is 'relu#1'"):
        activation(tiny.SharedReLU(), "relu#2")


def test_the_first_call_of_a_shared_layer_of_a_real_network():
    model, image = network("resnet18"), torch.rand(1, 3, 64, 64)
    value, _ = reference(model, "layer2.1.relu", image, call=0)
    assert torch.equal(activation(model, "layer2.1.relu#0", image), value)


def test_a_module_with_two_names_is_found_by_both():
    model = tiny.Chain()
    model.again = model.conv1
    with Activations(model, ["conv1", "again"]) as T:
        T.run(RED)
        assert torch.equal(T("conv1"), T("again"))
        assert values(T("again")) == [[0.5], [-0.25]]


# Names


def test_underscore_names_stand_for_dotted_ones():
    names = LayerNames(tiny.Chain())
    assert names.resolve("head_2") == names.resolve(" head.2 ") == names.resolve("head.2")
    assert list(names) == ["conv1", "relu", "conv2", "head", "head.0", "head.1", "head.2"]


def test_an_ambiguous_name_lists_what_it_may_mean():
    model = tiny.Ambiguous()
    with pytest.raises(LayerError, match=r"'a_b_c' is ambiguous.*'a\.b_c' and 'a_b\.c'.*dotted"):
        activation(model, "a_b_c")
    assert values(activation(model, "a.b_c")) == [[1.0], [0.5], [0.0]]
    assert values(activation(model, "a_b.c")) == [[3.0], [1.5], [0.0]]


def test_a_name_as_it_stands_comes_before_an_alias():
    model = tiny.Ambiguous()
    assert values(activation(model, "x.y")) == [[15.0], [7.5], [0.0]]
    assert values(activation(model, "x_y")) == [[105.0], [52.5], [0.0]]


def test_an_unknown_layer_names_the_closest_and_how_to_list_all():
    with pytest.raises(LayerError, match=r"no layer 'convl'.*Did you mean .*'conv1'") as caught:
        Activations(tiny.Chain(), ["convl"])
    assert "lucent.modelzoo.util.get_model_layers(model) lists all of them" in str(caught.value)
    with pytest.raises(LayerError, match=r"no layer 'qqq' in this model\. lucent"):
        Activations(tiny.Chain(), ["qqq"])


def test_a_recorded_unknown_layer_is_the_same_error():
    with Activations(tiny.Chain(), None) as T:
        T.run(RED)
        with pytest.raises(LayerError, match="no layer 'convl'"):
            T("convl")
        assert values(T("conv1")) == [[0.5], [-0.25]]


def test_labels_are_the_layer_that_the_alias_says():
    model = tiny.Softmax()
    # Its spec says that the logits are the layer "head".
    assert values(activation(model, "labels")) == [[1.0], [-1.0]]
    assert values(activation(model, "logit", aliases={"logit": "head"})) == [[1.0], [-1.0]]
    probabilities = activation(model, "labels", aliases={"labels": ""})
    assert probabilities.sum().item() == pytest.approx(1)


def test_two_spellings_are_one_layer():
    model = nn.Sequential(tiny.Chain())
    with Activations(model, ["0_conv1"]) as T:
        T.run(RED)
        assert T("0.conv1") is T("0_conv1")


@pytest.mark.parametrize("layer", ["spare", "group"])
def test_a_layer_that_is_never_called_is_an_error(layer):
    model = tiny.Unused()
    model.group = nn.ModuleList([nn.ReLU()])
    with (
        Activations(model, [layer]) as T,
        pytest.raises(LayerError, match=rf"'{layer}' is never called in a forward pass"),
    ):
        T.run(RED)
    assert tiny.hooked(model) == []


def test_a_layer_that_sometimes_runs_is_an_error_when_it_does_not():
    model = tiny.Unused()
    with Activations(model, ["conv1", "spare"]) as T:
        forward = model.forward
        model.forward = lambda x: forward(model.spare(x))
        T.run(RED)
        model.forward = forward
        with pytest.raises(
            LayerError, match="'spare' was called when the passes were planned, but not"
        ):
            T.run(RED)


def test_a_layer_that_was_not_asked_for_is_an_error():
    with Activations(tiny.Chain(), ["conv1"]) as T:
        T.run(RED)
        with pytest.raises(LayerError, match=r"'conv2' was not asked for, only \['conv1'\]"):
            T("conv2")


def test_asking_before_the_first_pass_is_an_error():
    with (
        Activations(tiny.Chain(), None) as T,
        pytest.raises(LayerError, match=r"call run\(image\) first"),
    ):
        T("conv1")


def test_after_the_block_there_are_neither_values_nor_passes():
    model = tiny.Chain()
    with Activations(model, ["conv1"]) as T:
        T.run(RED)
    with pytest.raises(LayerError):
        T("conv1")
    with pytest.raises(LayerError):
        T.run(RED)
    assert tiny.hooked(model) == []


# Outputs that are not one tensor

Pair = namedtuple("Pair", ["first", "second"])

PACKS = [
    (lambda a, b: (a, b), "1", "part[1]: a tensor of shape (1, 3, 2, 2)"),
    (lambda a, b: [a, b], "1", "part[0]: a tensor of shape (1, 3, 2, 2)"),
    (Pair, "1", "part[1]: a tensor"),
    (lambda a, b: {"half": a, "whole": b}, "whole", "part[whole]: a tensor"),
    (lambda a, b: OrderedDict(half=a, whole=b), "'whole'", "part[half]: a tensor"),
    (tiny.Parts, "hidden", "part[hidden]: a tensor"),
    (lambda a, b: {"all": (a, [b])}, "all][1][0", "part[all]: a tuple"),
]


@pytest.mark.parametrize(("pack", "pick", "way"), PACKS)
def test_a_part_of_an_output_is_picked_by_its_key(pack, pick, way):
    model = tiny.Several(pack)
    assert values(activation(model, f"part[{pick}]")) == [[1.0], [0.5], [0.0]]
    with pytest.raises(LayerError, match=r"not one tensor\. Pick a part of it by name") as caught:
        activation(model, "part")
    assert way in str(caught.value)
    with pytest.raises(LayerError, match=r"'part\[odd\]' has no part \[odd\]"):
        activation(model, "part[odd]")


def test_an_output_without_tensors_is_an_error():
    with pytest.raises(LayerError, match="'part' gives a str, not one tensor"):
        activation(tiny.Several(lambda a, b: "nothing"), "part")


# Recording


def test_recording_finds_the_layers_and_then_takes_one_pass_per_run():
    model = tiny.Chain()
    calls = tiny.count_calls(model)
    with Activations(model, None) as T:
        T.run(RED)
        assert values(T("conv1")) == [[0.5], [-0.25]]
        assert values(T("conv2")) == [[1.0]]
        hooked, so_far = tiny.hooked(model), calls["conv1"]
        for _ in range(4):
            T.run(RED)
            T("conv1"), T("conv2")
    assert hooked == ["conv1", "conv2"]
    assert calls["conv1"] - so_far == 4
    # Never more than the planning passes went to the end.
    assert calls["head"] <= 2
    assert tiny.hooked(model) == []


def test_recording_asks_the_network_again_with_the_same_input():
    model, seen = tiny.Chain(), []
    forward = model.conv1.forward
    model.conv1.forward = lambda x: seen.append(x) or forward(x)
    image = torch.rand(2, 3, 4, 4)
    with Activations(model, None) as T:
        T.run(image)
        T("conv2")
        T("conv1")
    assert len(seen) >= 2
    assert all(torch.equal(x, image[: len(x)]) for x in seen)


def test_recording_keeps_the_tensors_that_were_handed_out():
    with Activations(tiny.Chain(), None) as T:
        T.run(RED)
        first = T("conv1")
        T("conv2")
        assert T("conv1") is first


def test_recording_finds_a_layer_asked_for_later():
    image = RED.clone().requires_grad_()
    with Activations(tiny.Chain(inplace=True), None) as T:
        for layers in (["relu"], ["relu"], ["relu", "conv1"], ["conv2"]):
            T.run(image)
            known = {"conv1": [[0.5], [-0.25]], "relu": [[0.5], [0.0]], "conv2": [[1.0]]}
            assert [values(T(layer)) for layer in layers] == [known[layer] for layer in layers]
            assert torch.autograd.grad(T(layers[-1]).sum(), image)[0].any()


def test_recording_without_asking_costs_no_pass():
    model = tiny.Chain()
    calls = tiny.count_calls(model)
    with Activations(model, None) as T:
        T.run(RED)
        assert T("input") is RED
    assert calls["conv1"] == 0


# Replacing


def test_the_pass_goes_on_from_a_replaced_value():
    model, value = tiny.Chain(), torch.full((1, 2, 2, 2), 0.125, requires_grad=True)
    with Activations(model, ["relu", "conv2"]) as T:
        T.run(RED, replace={"relu": value})
        assert torch.equal(T("relu"), value)
        assert values(T("conv2")) == [[0.625]]
        (gradient,) = torch.autograd.grad(T("conv2").sum(), value)
        assert gradient.unique(dim=-1).squeeze().unique(dim=-1).tolist() == [[2], [3]]
        T.run(RED)
        assert values(T("conv2")) == [[1.0]]


def test_one_of_several_calls_is_replaced():
    with Activations(tiny.SharedReLU(), ["conv2", "relu#1"]) as T:
        T.run(RED, replace={"relu#0": tiny.colour(1.0, 0.0, 0.0)[:, :2]})
        assert values(T("conv2")) == [[1.0], [-1.0]]
        assert values(T("relu#1")) == [[1.0], [0.0]]


def test_replacing_an_unknown_layer_is_an_error():
    with (
        Activations(tiny.Chain(), ["conv2"]) as T,
        pytest.raises(LayerError, match=r"no layer 'relv'.*Did you mean 'relu'"),
    ):
        T.run(RED, replace={"relv": RED})


# Leaving nothing


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt])
def test_hooks_go_after_an_exception_in_the_block(kind):
    model = tiny.Chain()
    with pytest.raises(kind), Activations(model, ["conv1"]) as T:
        T.run(RED)
        assert tiny.hooked(model) == ["conv1"]
        raise kind
    assert tiny.hooked(model) == []


def test_hooks_go_after_an_exception_in_the_forward_pass():
    model = tiny.Chain()
    with (
        pytest.raises(InputError, match="channels"),
        Activations(model, ["conv2"]) as T,
    ):
        T.run(torch.zeros(1, 5, 2, 2))
    assert tiny.hooked(model) == []


def test_hooks_do_nothing_when_somebody_else_runs_the_model():
    model = tiny.Chain()
    with Activations(model, ["conv1"]) as T:
        T.run(RED)
        output = model(tiny.colour(0.25, 0, 0))
        assert output.tolist() == [[0.5, -0.5]]
        assert values(T("conv1")) == [[0.5], [-0.25]]


def test_hooks_of_others_stay_and_are_called():
    model, seen = tiny.Chain(), []
    model.conv1.register_forward_hook(lambda *_: seen.append("forward"))
    with Activations(model, ["conv1", "conv2"]) as T:
        T.run(RED)
    assert len(seen) == 2
    assert tiny.hooked(model) == ["conv1"]


# Wrappers


def test_the_network_inside_a_wrapper_is_used(caplog):
    model = tiny.Chain()
    assert unwrap(nn.DataParallel(nn.DataParallel(model))) is model
    with caplog.at_level(logging.INFO, "lucent"):
        assert values(activation(nn.DataParallel(nn.DataParallel(model)), "conv2")) == [[1.0]]
    assert caplog.messages == ["Using the Chain inside a DataParallel."]
    assert unwrap(model) is model


def compiled_outside(model):
    return torch.compile(model, backend="eager")


def compiled_in_place(model):
    model.compile(backend="eager")
    return model


def compiled_child(model):
    model.conv1 = torch.compile(model.conv1, backend="eager")
    return model


@pytest.mark.parametrize("compiled", [compiled_outside, compiled_in_place, compiled_child])
def test_hooks_fire_in_a_model_that_was_compiled_and_called_before(compiled):
    model = compiled(tiny.Chain())
    before = model(RED)
    assert values(activation(model, "conv2")) == [[1.0]]
    assert values(activation(model, "relu")) == [[0.5], [0.0]]
    assert torch.equal(model(RED), before)


def test_script_modules_are_refused():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch would rather have no more of these modules
        traced = torch.jit.trace(tiny.Chain(), RED)
    with pytest.raises(InputError, match=r"TorchScript module.*Pass the Python module"):
        Activations(traced, ["conv1"])


@pytest.mark.parametrize("layer", ["stem", "body.0", "body.1", "body", "last"])
def test_layers_around_and_inside_a_checkpointed_region(layer):
    model = tiny.Checkpointed()
    image = torch.rand(1, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    steps = [model.stem, *model.body, model.last]
    names = ["stem", "body.0", "body.1", "body", "last"]
    plain = image.clone().requires_grad_()
    expected = nn.Sequential(*steps[: names.index(layer) + 1])(plain)
    (gradient,) = torch.autograd.grad(weighted(expected), plain)
    image.requires_grad_()
    with Activations(model, [layer]) as T:
        T.run(image)
        assert torch.equal(T(layer), expected)
        (found,) = torch.autograd.grad(weighted(T(layer)), image)
    assert torch.equal(found, gradient)


# The table of layers


def test_the_table_lists_every_layer_with_its_type_shape_and_channels():
    model = tiny.Unused()
    model.part = tiny.Several.Part(lambda a, b: (a, b))
    forward = model.forward
    model.forward = lambda x: forward(model.part(x)[0])
    rows = layer_table(nn.DataParallel(model), torch.zeros(2, 3, 4, 4))
    assert rows == [
        ("conv1", "Conv2d", (2, 2, 4, 4), 2),
        ("relu", "ReLU", (2, 2, 4, 4), 2),
        ("conv2", "Conv2d", (2, 1, 4, 4), 1),
        ("head", "Sequential", (2, 2), 2),
        ("head.0", "AdaptiveAvgPool2d", (2, 1, 1, 1), 1),
        ("head.1", "Flatten", (2, 1), 1),
        ("head.2", "Linear", (2, 2), 2),
        ("spare", "ReLU", None, None),
        ("part", "Part", None, None),
    ]


def test_the_table_counts_channels_wherever_they_are():
    model = nn.Sequential(nn.Conv2d(3, 6, 2, stride=2), nn.Flatten(2), nn.Linear(4, 5))
    counted = [row.channels for row in layer_table(model, torch.zeros(1, 3, 4, 4))]
    assert counted == [6, 6, 5]


def test_making_the_table_changes_nothing():
    model = tiny.Normed()
    before = tiny.condition(model)
    layer_table(model, torch.rand(2, 3, 4, 4))
    assert tiny.condition(model) == before


def test_the_table_leaves_no_hooks_when_the_pass_fails():
    model = tiny.Chain()
    with pytest.raises(RuntimeError, match="channels"):
        layer_table(model, torch.zeros(1, 5, 2, 2))
    assert tiny.hooked(model) == []


def test_an_output_of_the_model_that_is_no_tensor_is_named_and_can_be_picked():
    class Segmenter(nn.Module):
        def forward(self, x):
            return {"out": 2 * x}

    with Activations(Segmenter(), ["labels"]) as T, pytest.raises(LayerError) as caught:
        T.run(RED)
    assert "'labels' gives a dict" in str(caught.value)
    assert "labels[out]: a tensor" in str(caught.value)
    with Activations(Segmenter(), ["labels[out]"]) as T:
        T.run(RED)
        assert torch.equal(T("labels[out]"), 2 * RED)


@pytest.mark.parametrize(
    ("model", "shape", "text"),
    [
        (
            nn.Conv2d(3, 4, 7),
            (1, 3, 5, 4),
            r"cannot take an image of 5x4 pixels: .* larger, for example param\.image\(224\), or",
        ),
        (nn.MaxPool2d(3, 2), (1, 3, 2, 1), r"cannot take an image of 2x1 pixels"),
        (nn.Conv3d(1, 4, 7), (1, 1, 5, 4, 3), r"cannot take an image of 5x4x3 pixels"),
        (
            nn.Sequential(nn.Flatten(), nn.Linear(12, 2)),
            (1, 3, 4, 4),
            r"does not take an image of 4x4 pixels: .* fixed_size=True\)\. It said: .*\(1x48 and",
        ),
        (
            nn.Conv2d(3, 4, 1),
            (1, 4, 2, 2),
            r"of 3 channels, but was given 4 of shape \(1, 4, 2, 2\): .* channels=3; for one with "
            r"alpha, put transform\.collapse_alpha_random\(\)",
        ),
        (nn.Conv2d(3, 4, 1), (1, 1, 2, 2), r"of 3 channels, but was given 1 .* channels=3\.$"),
        (
            nn.Conv2d(3, 4, 1),
            (1, 3, 2, 4, 5),
            r"of 4 axes, \(B, C, H, W\), .* shape \(1, 3, 2, 4, 5\): .* param\.image\(128\)",
        ),
        *[
            (nn.Conv3d(3, 4, 1), shape, r"of 5 axes, \(B, C, D, H, W\), but .*depth=16")
            for shape in [(1, 3, 4, 5), (3, 3, 4, 5)]
        ],
        (nn.Conv3d(3, 4, 1), (2, 1, 2, 2, 2), r"of 3 channels, but was given 1 of shape \(2, 1, 2"),
    ],
)
def test_an_image_that_does_not_fit_the_network(model, shape, text):
    wrapped = nn.Sequential(model)
    with Activations(wrapped, ["0"]) as T, pytest.raises(InputError, match=text):
        T.run(torch.zeros(shape))


def test_a_fault_deep_in_the_network_is_not_blamed_on_the_image():
    broken = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(5, 4, 1))
    with Activations(broken, ["1"]) as T, pytest.raises(RuntimeError, match="to have 5 channels"):
        T.run(torch.zeros(1, 3, 2, 2))


def test_any_other_failure_of_the_network_is_its_own():
    with (
        Activations(nn.Sequential(nn.BatchNorm2d(3)), ["0"]) as T,
        pytest.raises(RuntimeError, match="running_mean should contain 4 elements"),
    ):
        T.run(torch.zeros(1, 4, 2, 2))


class Renamed(nn.Module):
    """What its identity gives is known to it by another name, which it overwrites later."""

    def __init__(self):
        super().__init__()
        self.identity, self.last = nn.Identity(), nn.Identity()

    def forward(self, image):
        acts = image * 2
        shortcut = self.identity(acts)
        acts.add_(1)
        return self.last(acts + shortcut)


def test_a_layer_overwritten_by_another_name_gives_its_own_value():
    image = torch.rand(2, 3, 4, 4)
    with Activations(Renamed(), ["identity", "last"]) as T:
        for _ in range(2):
            T.run(image)
            torch.testing.assert_close(T("identity"), 2 * image)
            # As the network computes it unobserved: the shortcut is overwritten, too.
            torch.testing.assert_close(T("last"), 4 * image + 2)
        with torch.inference_mode():
            T.run(image)
            torch.testing.assert_close(T("identity"), 2 * image)


@pytest.mark.parametrize("inplace", [False, True])
def test_gradients_reach_from_a_layer_to_an_earlier_one_of_the_same_pass(inplace):
    model, image = tiny.Chain(inplace=inplace), torch.rand(2, 3, 8, 8, requires_grad=True)
    with Activations(model, ["conv1", "conv2"]) as T:
        T.run(image)
        early, late = T("conv1"), T("conv2")
        (found,) = torch.autograd.grad(late.square().sum(), early)
    again = early.detach().requires_grad_()
    (expected,) = torch.autograd.grad(model.conv2(again.relu()).square().sum(), again)
    torch.testing.assert_close(found, expected)


def test_the_text_of_an_address_leads_back_to_it():
    model = nn.Sequential(nn.Conv2d(3, 2, 1), nn.ReLU())
    for aliases in ({}, {"labels": "[logits]"}):
        names = LayerNames(model, aliases)
        for layer in ("0", "1#0", "0[a][b]@cls", "[logits]", "labels", "0.relu_1"):
            address = names.resolve(layer)
            assert names.resolve(str(address)) == address
