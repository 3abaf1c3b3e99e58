"""What scores refuse, each by its text, and the defects of the predecessors that they mend."""

from __future__ import annotations

import numpy as np
import pytest
import reference_scores as twin
import torch
from reference import normal, seeded
from reference_scores import Pass

from lucent.errors import InputError
from lucent.optvis import objectives, objectives_util
from lucent.optvis.objectives import (
    L1,
    L2,
    activation_difference,
    alignment,
    blur_alpha_each_step,
    blur_input_each_step,
    channel,
    channel_interpolate,
    channel_weight,
    class_logit,
    deepdream,
    direction,
    direction_cossim,
    direction_neuron,
    diversity,
    dot_compare,
    gram,
    input_diff,
    localgroup_weight,
    mean_l1,
    mean_l2,
    neuron_weight,
    penalize_boundary_complexity,
    style,
    tensor_direction,
    total_variation,
    transparency,
    whitened_direction,
    whitened_direction_neuron,
)
from lucent.optvis.objectives.penalties import blur

T = Pass(
    labels=("cat", "dog, hound"),
    conv=normal(3, 4, 5, 8),
    fc=normal(3, 6, seed=1),
    one=normal(1, 4, 5, 8, seed=2),
    tokens=normal(3, 7, 4, seed=3),
    scores=normal(3, seed=3),
    video=normal(2, 4, 2, 3, 5, seed=4),
    input=normal(3, 3, 6, 7, seed=5),
)


def refused(made, T=T):
    with pytest.raises(InputError) as error:
        made(T)
    return str(error.value)


# Vectors, matrices, pictures


@pytest.mark.parametrize(
    "make",
    [
        lambda v: direction("conv", v),
        lambda v: direction_neuron("conv", v),
        lambda v: whitened_direction("conv", v, whitening=np.eye(4)),
    ],
)
def test_direction_with_another_number_of_channels(make):
    text = refused(make(np.ones((1, 5))))
    assert "direction has 5 values (shape (1, 5)), but this layer has 4 channels" in text
    assert "one number per channel" in text


@pytest.mark.parametrize(
    "make",
    [
        lambda v: channel_weight("conv", v),
        lambda v: neuron_weight("conv", v),
        lambda v: localgroup_weight("conv", v),
    ],
)
def test_weight_with_another_number_of_channels(make):
    assert "weight has 3 values (shape (3,)), but this layer has 4 channels" in refused(
        make([1, 2, 3])
    )


@pytest.mark.parametrize("shape", [(4,), (1, 4), (4, 1, 1), (1, 4, 1, 1)])
def test_vectors_of_any_shape_with_one_number_per_channel(shape):
    vector = normal(4, seed=6)
    for make in (channel_weight, direction):
        assert torch.equal(make("conv", vector.view(shape))(T), make("conv", vector)(T))


@pytest.mark.parametrize(
    "make", [torch.tensor, np.array, lambda values: [float(v) for v in values], tuple]
)
def test_nan_in_a_direction(make):
    vector = make([1.0, float("nan"), 2.0, 3.0])
    with pytest.raises(InputError, match=r"direction has NaN or infinite .*nan_to_num"):
        direction("conv", vector)(T)


@pytest.mark.parametrize("thing", ["up", ["a", "b"], [[1], [1, 2]], {"a": 1}])
def test_direction_that_is_no_numbers(thing):
    text = refused(direction("conv", thing))
    assert f"direction={thing!r} cannot be made a tensor: give numbers" in text


@pytest.mark.parametrize("shape", [(3, 3), (4,), (4, 5), (1, 4, 4)])
def test_whitening_of_another_shape(shape):
    for make in (whitened_direction, whitened_direction_neuron):
        text = refused(make("conv", np.ones(4), whitening=np.ones(shape)))
        assert f"whitening has shape {shape}, but this layer has 4 channels" in text
        assert "give a matrix (4, 4)" in text


@pytest.mark.parametrize("shape", [(4,), (3, 2, 2), (4, 6, 2), (4, 2, 9), (2, 4, 2, 2), (4, 2)])
def test_tensor_direction_of_another_shape(shape):
    text = refused(tensor_direction("conv", torch.ones(shape)))
    assert f"direction has shape {shape}, the layer (3, 4, 5, 8)" in text
    assert "(C, h, w) for a layer (B, C, H, W)" in text


def test_tensor_direction_may_fill_the_layer_and_have_a_batch_axis():
    vector = normal(1, 4, 5, 8, seed=7)
    made = tensor_direction("conv", vector, cossim_pow=0)
    expected = -(T("conv") * vector).sum(1).mean().item()
    assert made(T).item() == pytest.approx(expected, abs=1e-13)
    assert "the layer (3, 6)" in refused(tensor_direction("fc", vector))


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (input_diff, "orig_img"),
        (lambda picture: L1("input", picture), "constant"),
        (lambda picture: L2(constant=picture), "constant"),
        (lambda picture: penalize_boundary_complexity(mask=picture), "mask"),
    ],
)
@pytest.mark.parametrize("shape", [(6, 7, 3), (3, 7, 6), (2, 3, 6, 7), (1, 3, 3, 6, 7)])
def test_picture_of_another_shape(make, name, shape):
    text = refused(make(np.ones(shape)))
    assert f"{name} has shape {shape}, which does not fit (3, 3, 6, 7)" in text
    assert "permute(2, 0, 1)" in text


def test_boundary_of_another_image():
    text = refused(penalize_boundary_complexity([1, 6, 7, 3], 2))
    assert "shp=(1, 6, 7, 3) is not the shape of the image, (3, 3, 6, 7)" in text
    for width in (0, -2):
        assert f"w={width} has to be the width of a border" in refused(
            penalize_boundary_complexity(w=width)
        )
    assert "w=1.5 has to be a whole number" in refused(penalize_boundary_complexity(w=1.5))
    assert "C has 2 values (shape (2,)), but this layer has 3 channels" in refused(
        penalize_boundary_complexity(C=[0, 1])
    )


@pytest.mark.parametrize("made", [transparency(), blur_alpha_each_step()])
def test_image_without_alpha(made):
    text = refused(made)
    assert "The image has 3 channels and no alpha" in text
    assert "param.image(128, alpha=True)" in text


# Layers of the wrong rank


@pytest.mark.parametrize(
    "made",
    [
        channel_weight("scores", np.ones(4)),
        neuron_weight("scores", None),
        localgroup_weight("scores"),
        direction("scores", np.ones(7)),
        direction_neuron("scores", np.ones(7)),
        whitened_direction("scores", np.ones(4), whitening=np.eye(4)),
        diversity("scores"),
        channel_interpolate("scores", 0, "conv", 0),
        activation_difference("scores", transform_f=gram),
    ],
    ids=lambda made: made.name,
)
def test_layer_without_channels(made):
    assert "which has no channels; expected (B, C) or (B, C, *spatial)" in refused(made)


@pytest.mark.parametrize(
    "made", [neuron_weight("video", None), direction_neuron("video", np.ones(4))]
)
def test_position_in_a_layer_that_is_no_map(made):
    assert "not (2, 4, 2, 3, 5)" in refused(made)


@pytest.mark.parametrize("layer", ["fc", "tokens"])
def test_variation_of_a_layer_without_positions(layer):
    text = refused(total_variation(layer))
    assert "neighbouring positions, (B, C, H, W), not" in text
    assert str(tuple(T(layer).shape)) in text


@pytest.mark.parametrize(("layer", "shape"), [("conv", "(3, 4, 5, 8)"), ("tokens", "(3, 7, 4)")])
def test_class_of_a_layer_that_has_positions(layer, shape):
    text = refused(class_logit(layer, 0))
    assert f"(B, n_classes), not {shape}: the layer 'labels'" in text


# Numbers out of range


@pytest.mark.parametrize(
    ("made", "number", "channels"),
    [
        (channel_interpolate("conv", 4, "fc", 0), 4, 4),
        (channel_interpolate("conv", 0, "fc", 6), 6, 6),
        (channel_interpolate("conv", -1, "fc", 0), -1, 4),
        (class_logit("fc", 6), 6, 6),
        (class_logit("fc", -1), -1, 6),
    ],
)
def test_channel_that_does_not_exist(made, number, channels):
    text = refused(made)
    assert f"no channel {number}: this layer has {channels} channels, 0 to {channels - 1}" in text


def test_class_that_does_not_exist():
    assert "has no label 'fox'" in refused(class_logit("fc", "fox"))
    assert "n_channel=1.5 has to be a whole number" in refused(class_logit("fc", 1.5))


@pytest.mark.parametrize(("x", "y"), [(8, 0), (0, 5), (-1, 0), (0, -1)])
@pytest.mark.parametrize(
    "make",
    [
        lambda x, y: neuron_weight("conv", None, x, y),
        lambda x, y: direction_neuron("conv", np.ones(4), x, y),
        lambda x, y: whitened_direction_neuron("conv", np.ones(4), whitening=np.eye(4), x=x, y=y),
        lambda x, y: localgroup_weight("conv", None, x, y),
    ],
)
def test_position_outside_the_layer(make, x, y):
    text = refused(make(x, y))
    assert f"There is no neuron at x={x}, y={y}: this layer has 8 columns and 5 rows" in text
    assert "x goes to 7 and y to 4" in text


def test_window_outside_the_layer():
    text = refused(localgroup_weight("conv", None, 6, 0, wx=3, wy=2))
    assert "There is no 3 x 2 window at x=6, y=0" in text
    assert "x goes to 5 and y to 3" in text
    for wx, wy in [(9, 1), (1, 6), (0, 1), (1, -1)]:
        text = refused(localgroup_weight("conv", wx=wx, wy=wy))
        assert f"no window of wx={wx} columns and wy={wy} rows" in text
        assert "8 columns and 5 rows" in text
    assert "wx=1.5 has to be a whole number" in refused(localgroup_weight("conv", wx=1.5))


# Batches


@pytest.mark.parametrize(
    "make",
    [
        alignment,
        diversity,
        lambda layer: channel_interpolate(layer, 0, layer, 1),
    ],
)
def test_comparison_of_one_image(make):
    made = make("one")
    text = refused(made)
    assert f"{made.name} compares the images of a batch, and this batch has 1" in text
    assert "param.image(128, batch=4)" in text


@pytest.mark.parametrize(
    ("made", "argument"),
    [
        (dot_compare("one"), "batch=1"),
        (dot_compare("conv", batch=-4), "batch=-4"),
        (dot_compare("conv", reference=3), "reference=3"),
        (activation_difference("one"), "difference_to=1"),
        (activation_difference("conv", batch=5), "batch=5"),
    ],
)
def test_comparison_with_an_image_that_the_batch_does_not_have(made, argument):
    text = refused(made)
    n_images = len(T(*made.layers))
    assert f"{argument} asks for an image that the batch does not have: it has {n_images}" in text


@pytest.mark.parametrize("number", [1.0, "1", True, None])
def test_number_of_an_image_that_is_none(number):
    assert f"batch={number!r} has to be a whole number" in refused(dot_compare("conv", number))


@pytest.mark.parametrize(
    "make",
    [
        lambda b: direction("conv", np.ones(4), batch=b),
        lambda b: total_variation("conv", b),
        lambda b: blur_input_each_step(batch=b),
        lambda b: style({"conv": np.eye(4)}, batch=b),
    ],
)
def test_row_that_the_batch_does_not_have(make):
    assert "batch=3 asks for an image that the batch does not have" in refused(make(3))
    with pytest.raises(InputError, match=r"batch=1\.5 is not the number of an image"):
        make(1.5)


# Styles


def test_targets_of_style():
    with pytest.raises(InputError, match="type list has to name the layers"):
        style(["conv"])
    with pytest.raises(InputError, match="at least one"):
        style({})
    with pytest.raises(InputError, match="target of 'conv' has NaN"):
        style({"conv": [[float("nan")]]})
    text = refused(style({"conv": np.eye(5)}))
    assert "target of style has shape (5, 5)" in text
    assert "statistic of shape (4, 4)" in text


@pytest.mark.parametrize("decay", [1, -0.1, 2.0, "much"])
def test_decay_of_style(decay):
    with pytest.raises(InputError, match=f"ema_decay={decay!r} has to be a share"):
        style({"conv": np.eye(4)}, ema_decay=decay)


# Golden numbers of Lucid


def test_blur_kernels_sum_to_5_and_17():
    impulse = torch.zeros(1, 1, 9, 9, dtype=torch.float64)
    impulse[0, 0, 4, 4] = 1
    small, large = blur(impulse)[0, 0], blur(impulse, 5)[0, 0]
    assert small[3:6, 3:6].tolist() == [
        [0.1, 0.1, 0.1],
        [0.1, 0.2, 0.1],
        [0.1, 0.1, 0.1],
    ]
    assert large[3:6, 3:6].tolist() == [[1 / 17] * 3] * 3
    assert large[2, 2:7].tolist() == [0.5 / 17] * 5
    assert (small.count_nonzero(), large.count_nonzero()) == (9, 25)
    assert objectives._torch_blur(impulse, 3).equal(blur(impulse))
    # Its second argument is the number of channels, not the size of the kernel.
    rgba = normal(2, 4, 6, 7)
    assert objectives._torch_blur(rgba, out_c=4).equal(blur(rgba))


@pytest.mark.parametrize("size", [3, 5])
@pytest.mark.parametrize("shape", [(2, 3, 6, 7), (1, 4, 3, 6, 5), (1, 1, 1, 2)])
def test_blur_keeps_a_plain_image_up_to_its_edges(size, shape):
    # Sums of quarters do not round.
    plain = torch.full(shape, 0.25)
    assert torch.equal(blur(plain, size), plain)


@pytest.mark.parametrize("size", [3, 5])
def test_blur_of_volumes_equals_its_twin(size):
    volume = T("video")
    np.testing.assert_allclose(
        blur(volume, size).numpy(), twin.blur(volume.numpy(), size), atol=1e-14
    )


@pytest.mark.parametrize("n_images", [2, 3, 6])
def test_equal_images_have_diversity_n_minus_1_and_alignment_0(n_images):
    same = Pass(conv=T("one").repeat(n_images, 1, 1, 1))
    assert diversity("conv")(same).item() == pytest.approx(1 - n_images, abs=1e-13)
    assert alignment("conv")(same) == 0


def test_diversity_of_images_without_common_channels_is_0():
    apart = torch.zeros(2, 4, 3, 3, dtype=torch.float64)
    apart[0, :2], apart[1, 2:] = normal(2, 3, 3), normal(2, 3, 3, seed=1)
    assert diversity("conv")(Pass(conv=apart)) == 0


def test_diversity_of_images_with_hardly_any_activation_fades_out():
    acts = 1e-4 * T("conv")
    grams = twin.gram(acts.numpy()) * 40  # sums over the 5 x 8 positions
    norms = np.linalg.norm(grams, axis=(1, 2))
    assert (norms < 1e-5).all()
    expected = np.sum(np.tensordot(grams, grams, ([1, 2], [1, 2])) * (1 - np.eye(3))) / 1e-10 / 3
    assert diversity("conv")(Pass(conv=acts)).item() == pytest.approx(-expected, rel=1e-10)
    assert diversity("conv")(Pass(conv=0 * acts)) == 0


def test_alignment_does_not_reach_further_than_four_images():
    acts = torch.zeros(6, 1, 1, 1, dtype=torch.float64)
    acts[0] = 1
    # The first image differs from all others, but the last one is five apart.
    assert alignment("conv")(Pass(conv=acts)) == 1 / 2 + 1 / 4 + 1 / 8 + 1 / 16


def test_boundary_of_a_plain_grey_image_costs_nothing():
    grey = Pass(input=torch.full((2, 3, 9, 9), 0.5))
    assert penalize_boundary_complexity([2, 3, 9, 9], w=2)(grey) == 0


def test_boundary_wider_than_half_of_the_image_is_all_of_it():
    image = Pass(input=torch.rand(1, 3, 6, 8, generator=seeded(8), dtype=torch.float64))
    everywhere = penalize_boundary_complexity(mask=np.ones((6, 8)))(image)
    assert torch.equal(penalize_boundary_complexity(w=20)(image), everywhere)
    assert not torch.equal(penalize_boundary_complexity(w=2)(image), everywhere)


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (channel("mixed4a", 476, 1), "Channel [mixed4a, 476, 1]"),
        (channel("mixed4a_pre_relu", 476), "Channel [..., 476, None]"),
        (
            direction_neuron("mixed4d", np.ones(4), cossim_pow=0),
            "Direction_Neuron [mixed4d, ..., None, None, 0, None]",
        ),
        (L1(), "L1 [input, 0, None]"),
        (
            penalize_boundary_complexity([1, 3, 32, 32]),
            "Penalize_Boundary_Complexity [[1, 3, 32, 32], 20, None, 0.5, None]",
        ),
        (diversity("mixed5a"), "Diversity [mixed5a]"),
        (channel_interpolate("a", 1, "b", 2), "Channel_Interpolate [a, 1, b, 2]"),
        (blur_input_each_step(), "Blur_Input_Each_Step [None]"),
        (activation_difference("conv"), "Activation_Difference [conv, 1, 0]"),
        (
            style({"a": np.eye(2), "b": np.eye(3)}, ema_decay=0.9, batch=1),
            "Sum(Style [a, 0.9, 1] +\nStyle [b, 0.9, 1])",
        ),
    ],
)
def test_descriptions(made, text):
    assert made.description == text


# What is added and what is subtracted


@pytest.mark.parametrize(
    "made",
    [
        total_variation(),
        L1(constant=0.5),
        L2(),
        blur_input_each_step(),
        input_diff(np.zeros((3, 6, 7))),
        diversity("conv"),
        deepdream("conv"),
        activation_difference("conv"),
    ],
    ids=lambda made: made.name,
)
def test_scores_that_are_positive(made):
    assert made(T) < 0


@pytest.mark.parametrize(
    "made",
    [
        penalize_boundary_complexity(w=2),
        alignment("conv"),
        style({"conv": np.eye(4)}),
    ],
    ids=lambda made: made.name,
)
def test_scores_that_are_negative_already(made):
    assert made(T) > 0


def test_arithmetic_of_scripts_means_what_it_meant():
    acts = T("conv").numpy()
    made = channel("conv", 1) - 1e2 * diversity("conv")
    assert made(T).item() == pytest.approx(-acts[:, 1].mean() + 1e2 * twin.diversity(acts))
    made = channel_interpolate("conv", 0, "conv", 1) + 0.1 * alignment("conv", 5)
    expected = twin.interpolated(acts, 0, acts, 1) + 0.1 * twin.alignment(acts, 5)
    assert made(T).item() == pytest.approx(-expected)
    made = channel("conv", 1) - 0.5 * blur_input_each_step()
    expected = acts[:, 1].mean() - 0.5 * twin.sharpness(T("input").numpy())
    assert made(T).item() == pytest.approx(-expected)


# Gradients where a root is taken of zero


@pytest.mark.parametrize("distance", [mean_l1, mean_l2, lambda a, b: input_diff(b)(Pass(input=a))])
def test_no_difference_has_a_gradient_of_zero_and_not_nan(distance):
    start = torch.rand(1, 3, 4, 5, dtype=torch.float64).requires_grad_()
    distance(start, start.detach()).backward()
    assert not start.grad.any()


@pytest.mark.parametrize(
    "made",
    [
        direction("conv", np.ones(4), cossim_pow=1),
        whitened_direction("conv", np.ones(4), whitening=np.eye(4)),
        dot_compare("conv", 1, 1),
        diversity("conv"),
        L2("conv"),
        style({"conv": np.zeros((4, 4))}, loss_func=mean_l2),
    ],
    ids=lambda made: made.name,
)
def test_dead_layers_have_finite_gradients(made):
    acts = torch.zeros(2, 4, 3, 3, requires_grad=True)
    made(Pass(conv=acts)).backward()
    assert acts.grad.isfinite().all()


# Defects of torch-lucent


@pytest.mark.parametrize(("height", "width"), [(7, 14), (14, 7), (3, 8)])
@pytest.mark.parametrize(
    "make",
    [
        lambda: neuron_weight("conv", None),
        lambda: direction_neuron("conv", [1.0], cossim_pow=0),
        lambda: localgroup_weight("conv", [1.0]),
        lambda: whitened_direction_neuron("conv", [1.0], whitening=[[1.0]], cossim_pow=0),
    ],
)
def test_the_centre_of_a_map_that_is_not_square_was_off_or_empty(make, height, width):
    acts = torch.arange(height * width, dtype=torch.float64).view(1, 1, height, width)
    assert make()(Pass(conv=acts)) == -(height // 2 * width + width // 2)


def test_localgroup_weight_failed_with_its_own_defaults():
    expected = -T("conv")[:, :, 2, 4].mean().item()
    assert localgroup_weight("conv")(T).item() == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize(
    ("size", "window", "first"),
    [(8, 1, 4), (8, 2, 3), (8, 3, 3), (7, 3, 2), (7, 2, 2), (8, 8, 0), (7, 7, 0), (7, 6, 0)],
)
def test_window_without_position_is_in_the_middle(size, window, first):
    columns = torch.arange(size, dtype=torch.float64).view(1, 1, 1, size)
    expected = -(first + (window - 1) / 2)
    assert localgroup_weight("conv", wx=window)(Pass(conv=columns)) == expected
    rows = Pass(conv=columns.mT)
    assert localgroup_weight("conv", wy=window)(rows) == expected


@pytest.mark.parametrize("make", [direction, channel_weight, neuron_weight, direction_neuron])
@pytest.mark.parametrize(
    "vector", [np.float32([1, 2, 3, 4, 5, 6]), torch.arange(1, 7), [1, 2, 3, 4, 5, 6]]
)
def test_vectors_were_not_moved_to_the_activations_and_fc_layers_were_broadcast(make, vector):
    acts = T("fc").bfloat16()
    value = make("fc", vector)(Pass(fc=acts))
    assert value.dtype == torch.bfloat16
    ones = {"cossim_pow": None} if "direction" in make.__name__ else {}
    exact = make("fc", torch.arange(1.0, 7, dtype=torch.float64), **ones)(Pass(fc=acts.double()))
    assert value.item() == pytest.approx(exact.item(), rel=2e-2)


def test_weights_of_a_batch_of_one_by_one_maps_were_squeezed_away():
    acts = normal(1, 4, 1, 1)
    weight = normal(4, seed=1)
    expected = -(acts.flatten() * weight).mean().item()
    assert neuron_weight("conv", weight)(Pass(conv=acts)).item() == pytest.approx(expected)
    batch = normal(4, 4, 1, 1)
    expected = -twin.weighted(batch.numpy(), weight.numpy())
    assert neuron_weight("conv", weight)(Pass(conv=batch)).item() == pytest.approx(expected)


def test_diversity_failed_for_channels_last():
    acts = T("conv").contiguous(memory_format=torch.channels_last)
    assert not acts.is_contiguous()
    value = diversity("conv")(Pass(conv=acts))
    assert value.item() == pytest.approx(diversity("conv")(T).item(), abs=1e-13)


def test_numpy_integers_were_taken_for_no_row():
    for b in (1, np.int64(1)):
        expected = -T("conv")[1, 2].mean().item()
        assert channel("conv", 2, b)(T).item() == pytest.approx(expected, abs=1e-15)


# Defects of Lucid


def test_a_label_with_a_row_failed():
    assert class_logit("fc", "hound", batch=1)(T) == -T("fc")[1, 1]


def test_the_cosine_alias_gave_a_dot_product():
    vector = normal(4, seed=9)
    made = direction_cossim("conv", vector)
    assert made(T).item() == pytest.approx(
        -twin.along(T("conv").numpy(), vector.numpy(), None), abs=1e-14
    )
    scaled = direction_cossim("conv", 7 * vector)
    assert scaled(T).item() == pytest.approx(made(T).item(), abs=1e-14)


@pytest.mark.parametrize("make", [L1, L2, total_variation, deepdream])
def test_penalties_had_no_rows(make):
    alone = Pass(conv=T("conv")[2:])
    assert torch.equal(make("conv", batch=2)(T), make("conv")(alone))


# The helpers of torch-lucent


def test_helpers_under_their_old_names():
    assert objectives_util._make_arg_str("mixed4a") == "mixed4a"
    assert objectives_util._make_arg_str("x" * 16) == "..."
    assert objectives_util._make_arg_str(torch.ones(2, 2)) == "..."
    assert torch.equal(objectives_util._extract_act_pos(T("conv"), 6, 1), T("conv")[:, :, 1:2, 6:7])
    assert torch.equal(objectives_util._extract_act_pos(T("conv")), T("conv")[:, :, 2:3, 4:5])
    assert torch.equal(objectives_util._T_handle_batch(T, batch=1)("conv"), T("conv")[1:2])
    assert objectives_util._T_handle_batch(T)("conv") is T("conv")
