"""What holds of every transform: shared draws and own ones, seeds, types, gradients, schedules."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import tiny
import torch
from all_transforms import EVERY, FIXED, RANDOM
from reference import doubles, seeded
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from lucent.errors import InputError
from lucent.optvis import param, render, transform
from lucent.optvis.transform import (
    Fused,
    box_crop,
    collapse_alpha_random,
    compose,
    crop_or_pad_to,
    flip,
    homography,
    jitter,
    normalize_gradient,
    pad,
    per_image,
    random_crop,
    random_rotate,
    random_scale,
    scheduled,
    standard_transforms,
)

#: Those that resample, and so know two axes only.
FLAT = [random_scale([0.5, 1, 1.5, 2]), random_rotate(range(360)), homography(), box_crop()]
#: These sample at one size for all images, whatever they draw.
SAME_SIZE = [made for made in RANDOM if made != FLAT[0]]


def differ(images):
    return any(not torch.equal(images[0], other) for other in images[1:])


def copies(*, n=6, channels=3, size=(12, 14)):
    return doubles(1, channels, *size).expand(n, channels, *size)


# Shared draws, and one for each image


@pytest.mark.parametrize("made", RANDOM, ids=repr)
def test_images_of_a_batch_share_a_draw(made):
    for seed in range(3):
        assert not differ(made(copies(), seeded(seed)))


@pytest.mark.parametrize("made", RANDOM, ids=repr)
def test_images_have_draws_of_their_own_where_that_is_wanted(made):
    assert differ(per_image(made)(copies(), seeded()))


@pytest.mark.parametrize("made", SAME_SIZE, ids=repr)
def test_own_draws_are_those_of_each_image_alone(made):
    images = doubles(4, 3, 12, 14)
    together = per_image(made)(images, seeded())
    draws = made.sample(images, seeded(), 4)
    for image, draw, seen in zip(images.split(1), draws.split(1), together.split(1), strict=True):
        np.testing.assert_allclose(made.apply(image, draw), seen, rtol=0, atol=1e-14)


def test_own_scales_are_padded_with_zeros_to_the_largest():
    scales = random_scale([0.5, 1, 2])
    images = torch.ones(3, 1, 4, 6)
    scaled = scales.apply(images, torch.tensor([[0.5], [1.0], [2.0]]))
    assert scaled.shape == (3, 1, 8, 12)
    for image, area in zip(scaled, (2 * 3, 4 * 6, 8 * 12), strict=True):
        assert image.sum().item() == area
    assert scaled[0, 0, 3:5, 4:7].eq(0).sum() == 0


@pytest.mark.parametrize("nest", [list, tuple, compose, lambda made: scheduled(lambda step: made)])
def test_own_draws_of_several_transforms(nest):
    made = per_image(nest([jitter(4), flip()]))
    images = copies()
    seen = made(images, seeded())
    assert differ(seen)
    by_hand = per_image(flip())(per_image(jitter(4))(images, generator := seeded()), generator)
    # A schedule is unfolded when it is called, so that it draws image by image.
    if nest in (list, tuple, compose):
        assert torch.equal(seen, by_hand)
    else:
        resolved = made.at(0)(images, seeded())
        assert torch.equal(resolved, by_hand)


def test_functions_from_elsewhere_get_one_image_at_a_time():
    seen = []
    made = per_image(lambda image: seen.append(image) or 2 * image)
    images = doubles(3, 1, 2, 2)
    assert torch.equal(made(images), 2 * images)
    assert [image.shape for image in seen] == [(1, 1, 2, 2)] * 3


def test_per_image_prints_and_is_made_once():
    made = per_image(jitter(8))
    assert repr(made) == "per_image(Jitter(pixels=8))"
    assert per_image(made) is made
    assert repr(per_image([jitter(8), made])) == f"compose([{made!r}, {made!r}])"


def test_per_image_of_what_is_no_transform():
    with pytest.raises(InputError, match="'noise' is not a transform"):
        per_image([jitter(2), "noise"])


@pytest.mark.parametrize("rows", [2, 5])
def test_draws_for_another_number_of_images(rows):
    with pytest.raises(ValueError, match="zip"):
        jitter(2)(copies(n=3), seeded(), rows=rows)


# Seeds, types, gradients


@pytest.mark.parametrize("made", [*EVERY, *map(per_image, EVERY)], ids=repr)
def test_one_seed_is_one_result_and_the_global_generator_stays(made):
    def result(seed):
        return transform.Compose([made])(doubles(2, 3, 12, 14), seeded(seed))

    before = torch.get_rng_state()
    assert torch.equal(result(3), result(3))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("made", RANDOM, ids=repr)
def test_other_seeds_are_other_results(made):
    results = [made(doubles(2, 3, 12, 14), seeded(seed)) for seed in range(8)]
    assert any(
        other.shape != results[0].shape or not torch.equal(other, results[0]) for other in results
    )


#: Its gradient is deliberately not the derivative: test_transform_values compares it to the stated.
STATED = normalize_gradient()


@pytest.mark.parametrize("own", [False, True], ids=["shared", "own"])
@pytest.mark.parametrize("made", [made for made in EVERY if made != STATED], ids=repr)
def test_gradients_are_right(made, own):
    made = per_image(made) if own else made
    image = doubles(2, 3, 9, 10).requires_grad_()
    seen = compose([made])
    assert torch.autograd.gradcheck(lambda image: seen(image, seeded(2)), image, fast_mode=True)


def test_gradients_of_transparency_are_right():
    image = doubles(2, 4, 6, 7).requires_grad_()
    made = collapse_alpha_random()
    assert torch.autograd.gradcheck(lambda image: made(image, seeded(2)), image)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("made", EVERY, ids=repr)
def test_the_type_of_the_image_is_kept(made, dtype):
    exact = doubles(2, 3, 32, 30)
    image = exact.to(dtype)
    draw = made.sample(exact.float(), seeded()) if made in RANDOM else exact.new_empty(1, 0)
    apply = made.apply if hasattr(made, "apply") else lambda image, draw: made(image)
    seen, expected = apply(image, draw), apply(exact, draw)
    assert (seen.dtype, expected.dtype) == (dtype, torch.float64)
    # Values below 10 after a few roundings.
    tolerance = 40 * torch.finfo(dtype).eps
    assert (seen.double() - expected).abs().max() < max(tolerance, 1e-4 * (dtype == torch.float32))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_fused_warp_keeps_half_precision_on_the_pixel_grid(dtype):
    # In bfloat16 itself a position near 200 would be rounded to whole pixels.
    made = Fused([pad(8, "constant", 0.5), jitter(16)], lambda own: own)
    image = doubles(1, 3, 250, 260).to(dtype)
    expected = compose([pad(8, "constant"), jitter(16)])(image, seeded())
    torch.testing.assert_close(made(image, seeded()), expected, rtol=0, atol=torch.finfo(dtype).eps)


def test_the_fused_warp_does_not_lose_its_positions_under_autocast():
    made = Fused([random_rotate([20]), jitter(2)], lambda own: own)
    image = torch.rand(1, 3, 200, 200)
    expected = made(image, seeded())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        seen = made(image, seeded())
    torch.testing.assert_close(seen, expected, rtol=0, atol=0)


@pytest.mark.parametrize("made", [*EVERY, *map(per_image, EVERY)], ids=repr)
def test_channels_last_gives_the_same(made):
    image = doubles(2, 3, 12, 14)
    seen, expected = (
        compose([made])(images, seeded())
        for images in (image.contiguous(memory_format=torch.channels_last), image)
    )
    np.testing.assert_allclose(seen, expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("made", [*EVERY, *map(per_image, EVERY)], ids=repr)
def test_transforms_are_values(made):
    for again in (pickle.loads(pickle.dumps(made)), copy.deepcopy(made)):
        assert again == made
        assert hash(again) == hash(made)
        assert repr(again) == repr(made)
    assert "object at" not in repr(made)
    assert made != per_image(lambda image: image)


@pytest.mark.parametrize("made", RANDOM, ids=repr)
def test_whole_numbers_become_floats(made):
    image = torch.arange(2 * 3 * 12 * 14).view(2, 3, 12, 14)
    assert torch.equal(made(image, seeded()), made(image.float(), seeded()))


# Volumes


@pytest.mark.parametrize("made", [made for made in EVERY if made not in FLAT], ids=repr)
def test_volumes_are_taken_where_that_is_natural(made):
    made = random_crop((4, 6, 8)) if made == random_crop((6, 8)) else made
    volumes = doubles(1, 3, 8, 12, 14).expand(3, 3, 8, 12, 14)
    shared = compose([made])(volumes, seeded())
    assert shared.dim() == 5
    assert not differ(shared)
    own = per_image(made)(volumes, seeded())
    assert own.shape == shared.shape
    if made not in FIXED:
        assert differ(own)


@pytest.mark.parametrize("made", [*FLAT, collapse_alpha_random()], ids=repr)
def test_volumes_are_refused_where_the_transform_knows_two_axes(made):
    with pytest.raises(InputError, match=r"takes images \(B, C, H, W\), not a .*\(1, 4, 5, 6, 7\)"):
        made(doubles(1, 4, 5, 6, 7))


@pytest.mark.parametrize("made", [*RANDOM, per_image(jitter(1)), compose([jitter(1)])], ids=repr)
def test_an_image_without_a_batch_is_refused(made):
    with pytest.raises(InputError, match=r"takes images \(B, C, H, W\).*\(3, 12, 12\)"):
        made(doubles(3, 12, 12))
    with pytest.raises(InputError, match=r"takes images \(B, C, H, W\).*\(3, 12, 12\)"):
        Fused([made], lambda own: own)(doubles(3, 12, 12))


def test_fused_leaves_volumes_as_the_transforms_do():
    made = [pad(2, "constant"), jitter(3), flip("xyz")]
    volume = doubles(2, 1, 5, 6, 7)
    fused = Fused(made, lambda own: pytest.fail("asked for a size"))
    assert torch.equal(fused(volume, seeded()), compose(made)(volume, seeded()))


# Schedules


def half(step):
    return jitter(8 if step < 5 else 2)


def test_a_schedule_says_the_transform_of_each_step():
    made = scheduled(half)
    assert (made.at(4), made.at(5)) == (jitter(8), jitter(2))
    image = doubles(1, 1, 12, 12)
    assert torch.equal(made(image, seeded()), jitter(8)(image, seeded()))
    assert repr(made) == "scheduled(half)"
    assert pickle.loads(pickle.dumps(made)).at(9) == jitter(2)


@pytest.mark.parametrize("nest", [compose, lambda made: compose([compose(made)]), per_image])
def test_a_schedule_inside_others_follows_the_step(nest):
    fused = Fused(nest([flip(), scheduled(half)]).transforms, lambda own: own)
    for step, pixels in ((0, 8), (5, 2)):
        expected = Fused(nest([flip(), jitter(pixels)]).transforms, lambda own: own)
        image = doubles(2, 1, 12, 12)
        assert torch.equal(fused.at(step)(image, seeded()), expected(image, seeded()))
    # Without a step it is that of the first, fused like any other.
    assert torch.equal(fused(image, seeded()), fused.at(0)(image, seeded()))


@pytest.mark.parametrize(("wrap", "images"), [(lambda made: made, 2), (per_image, 1)])
def test_a_run_hands_its_step_to_the_schedule(wrap, images):
    seen = []

    def noted(step):
        return lambda image: seen.append((step, len(image))) or image

    render.render_vis(
        tiny.Chain(),
        "conv1:0",
        lambda: param.image(8, batch=2),
        transforms=[wrap(scheduled(noted))],
        thresholds=(3,),
        show_image=False,
        progress=False,
    )
    assert sorted(set(seen)) == [(0, images), (1, images), (2, images)]


def test_transforms_without_a_schedule_stay_the_same_objects():
    for made in (compose(standard_transforms), Fused(standard_transforms, lambda own: own)):
        assert made.at(7) is made
    made = per_image(jitter(2))
    assert made.at(7) is made


def test_boxes_shrink_over_a_run_as_in_xplique():
    made = scheduled(lambda step: box_crop(0.5 - 0.45 * step / 256))
    image = doubles(1, 1, 8, 8)
    sides = [made.at(step).sample(image, seeded())[0, 0].item() for step in (0, 128, 256)]
    assert sides == pytest.approx([0.5, 0.275, 0.05], abs=1e-15)


@pytest.mark.parametrize("nest", [lambda made: made, lambda made: [made], per_image])
def test_a_schedule_that_gives_a_schedule_follows_the_step(nest):
    made = scheduled(lambda step: nest(scheduled(half)))
    image = doubles(1, 1, 12, 12)
    for step, size in ((0, 4), (5, 10)):
        assert made.at(step)(image).shape[2:] == (size, size)


def test_a_schedule_may_give_a_list():
    made = scheduled(lambda step: [jitter(2), flip()])
    assert repr(made.at(0)) == repr(compose([jitter(2), flip()]))


def test_a_schedule_of_no_transforms():
    with pytest.raises(InputError, match=r"not 3: write scheduled\(lambda step: ...\)"):
        scheduled(3)
    with pytest.raises(InputError, match="Transforms come in a list, not as None"):
        scheduled(lambda step: None).at(0)


# A step that can be recorded


class Shapes(TorchDispatchMode):
    """Notes what runs, and the shapes that come of it."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        parts = result if isinstance(result, list | tuple) else [result]
        self.seen.append((str(func), [tuple(getattr(part, "shape", ())) for part in parts]))
        return result


@pytest.mark.parametrize("own", [False, True], ids=["shared", "own"])
@pytest.mark.parametrize("made", EVERY, ids=repr)
def test_every_step_runs_the_same_operations_on_the_same_shapes(made, own):
    made = per_image(made) if own else made
    fused, image = Fused([jitter(2), made, jitter(2)], lambda own: (18, 16)), doubles(2, 3, 14, 16)
    runs = []
    for seed in range(5):
        generator = seeded(seed)
        with Shapes() as shapes:
            seen = fused(image, generator)
        assert seen.shape == (2, 3, 18, 16)
        runs.append(shapes.seen)
    # Constants are made in the first.
    assert runs[1] == runs[2] == runs[3] == runs[4]


class Kernels(TorchDispatchMode):
    """Counts the operations that compute, which are neither views nor bare allocations."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        views = any(part.alias_info is not None for part in func._schema.returns)
        name = func.overloadpacket.__name__
        self.count += isinstance(result, torch.Tensor) and not views and name != "new_empty"
        return result


def test_the_standard_transforms_are_few_operations():
    made, image = Fused(standard_transforms, lambda own: (28, 28)), torch.rand(2, 3, 24, 24)
    made(image)
    with Kernels() as kernels:
        made(image)
    # Six draw, nine turn them into where points lie, five make the grid, three sample around grey.
    # A matrix for each transform made it 71.
    assert kernels.count == 23


# What was wrong elsewhere


def test_tuples_of_transforms_are_not_ignored():
    image = doubles(1, 3, 12, 12)
    assert compose((jitter(4),))(image).shape[2:] == (8, 8)
    assert Fused((pad(2), crop_or_pad_to(4, 4)), lambda own: (4, 4))(image).shape[2:] == (4, 4)


def test_pytorch_modules_are_transforms():
    made = compose([nn.Upsample(scale_factor=2), nn.Sequential(nn.Identity(), nn.Hardtanh())])
    assert made(2 * torch.ones(1, 3, 2, 2)).eq(1).all()
    assert per_image(made)(torch.ones(2, 3, 2, 2)).shape == (2, 3, 4, 4)


def test_no_draw_waits_for_a_gpu_in_a_step():
    made = [*standard_transforms, *(made for made in EVERY if made != random_crop((6, 8)))]
    fused = Fused([*made, random_crop(9), *map(per_image, made)], lambda own: (20, 20))
    # A tensor without data cannot be looked at: the chain one by one has to, in order to crop.
    image = torch.empty(2, 3, 24, 24, device="meta")
    assert fused(image).shape == (2, 3, 20, 20)
    with pytest.raises(NotImplementedError, match="no data"):
        compose(standard_transforms)(image)
