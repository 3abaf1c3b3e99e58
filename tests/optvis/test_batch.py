"""`render_many`: each picture is that of its objective alone, whatever is rendered beside it."""

from __future__ import annotations

import gc
import logging
import weakref

import numpy as np
import pytest
import tiny
import torch
from torch import nn

from lucent.errors import DivergenceError, InputError, LayerError
from lucent.hooks import Activations
from lucent.optvis import _memory, objectives, param, transform
from lucent.optvis.batch import render_many
from lucent.optvis.objectives import Acts, Objective, Term
from lucent.optvis.render import render_vis
from lucent.util import set_seed

#: Channels of the last layer of `tiny.textured` that are alive on a grey image, and a dead one.
UNITS = ["3:0", "3:2", "3:4", "3:1"]
SEEDS = [3, 1, 4, 1]
QUIET = {"progress": False, "show_image": False}


def small():
    return param.image(12)


class Last:
    """Keeps the last image of each run in the precision that it has."""

    def __init__(self, steps):
        self.steps, self.images = steps, []

    def __call__(self, run):
        if run.step == self.steps:
            self.images.extend(run.snapshot().unbind())


class Sizes:
    """Keeps the number of rows of each run."""

    def __init__(self):
        self.sizes = []

    def __call__(self, run):
        if run.step == 0:
            self.sizes.append(len(run.snapshot()))


def many(model=None, units=UNITS, param_f=small, **options):
    """Return the results in the order of the objectives."""
    options = {"thresholds": (3,), "seed": 0, "preprocess": False, **options}
    results = render_many(model or tiny.textured(), units, param_f, **options)
    return sorted(results, key=lambda result: result.index)


def alone(unit, seed, model=None, param_f=small, **options):
    options = {"thresholds": (3,), "preprocess": False, **options}
    return render_vis(model or tiny.textured(), unit, param_f, seed=seed, **QUIET, **options)


def compare(units, param_f=small, *, steps=20, batch_size, **options):
    """Return the largest difference between rows and pictures of objectives alone, in float64."""
    model = tiny.textured(torch.float64)
    rows, options = Last(steps), {"thresholds": (steps,), **options}
    seeds = SEEDS[: len(units)]
    results = many(
        model, units, param_f, seed=seeds, batch_size=batch_size, callbacks=[rows], **options
    )
    worst = 0.0
    for unit, seed, row, result in zip(units, seeds, rows.images, results, strict=True):
        own = Last(steps)
        pictures = alone(unit, seed, model, param_f, callbacks=[own], **options)
        worst = max(worst, (own.images[0] - row).abs().max().item())
        np.testing.assert_allclose(result.history.loss, pictures.history.loss, 0, 1e-9)
        assert np.array_equal(result.images[-1], row.movedim(0, -1).float().numpy())
        assert result.history.steps == pictures.history.steps
        assert result.history.terms.keys() == pictures.history.terms.keys()
    return worst


# A picture does not depend on its neighbours


@pytest.mark.parametrize("batch_size", [1, 3, 4, "auto"])
def test_a_picture_does_not_depend_on_the_batch_it_is_made_in(batch_size):
    assert compare(UNITS, batch_size=batch_size) < 1e-9


@pytest.mark.parametrize(
    "options",
    [
        {"draws": 3},
        {"relu_override": False},
        {"transforms": []},
        {"transforms": [transform.random_rotate([-9, 0, 9]), transform.pad(2, "constant", 0.5)]},
        {"fixed_image_size": 15},
        {"optimizer": lambda params: torch.optim.SGD(params, lr=2.0, momentum=0.9)},
        {"optimizer": lambda params: torch.optim.Adagrad(params, lr=0.1)},
    ],
    ids=["draws", "relu", "none", "rotation", "size", "SGD", "Adagrad"],
)
def test_a_picture_does_not_depend_on_its_neighbours_with_any_option(options):
    assert compare(UNITS[:3], steps=6, batch_size=3, **options) < 1e-9


def pair():
    pixels = torch.rand(1, 3, 12, 12, dtype=torch.float64).requires_grad_()
    return [pixels], lambda: pixels.sigmoid()


def clouds():
    return param.to_valid_rgb(
        param.summed([param.fft_image((1, 3, 12, 12)), param.rand_fft_image((1, 3, 12, 12), 0.5)])
    )


@pytest.mark.parametrize(
    "param_f",
    [
        lambda: param.image(12, pyramid=2),
        lambda: param.image(12, squash="clip"),
        lambda: param.cppn(12, num_hidden_channels=4, num_layers=3),
        pair,
        clouds,
    ],
    ids=["pyramid", "clip", "cppn", "pair", "random parts"],
)
def test_a_picture_does_not_depend_on_its_neighbours_with_any_image(param_f):
    assert compare(UNITS[:3], param_f, steps=6, batch_size=3) < 1e-9


def test_an_optimizer_with_a_state_from_the_start_serves_several_images():
    adagrad = {"optimizer": lambda params: torch.optim.Adagrad(params, lr=0.1)}
    assert compare(UNITS[:3], pair, steps=6, batch_size=3, **adagrad) < 1e-9


def test_options_of_parameter_groups_reach_each_of_several_images():
    def optimizer(params):
        first, *others = params
        return torch.optim.Adam([{"params": [first], "lr": 0.3}, {"params": others, "lr": 0.01}])

    def two():
        tensors = [torch.randn(1, 3, 12, 12, dtype=torch.float64) for _ in range(2)]
        tensors = [tensor.requires_grad_() for tensor in tensors]
        return tensors, lambda: sum(tensors).sigmoid()

    assert compare(UNITS[:3], two, steps=6, batch_size=3, optimizer=optimizer) < 1e-9


def mixed():
    """Objectives with several terms, a constant, a schedule, a state, and a plain function."""
    return [
        objectives.channel("3", 0) - 0.1 * objectives.total_variation() + 2.0,
        objectives.neuron("3", 2).scheduled(lambda step: 1 / (1 + step)),
        lambda T: -T("3")[:, 4].mean() + T("0").square().mean(),
        objectives.direction("1", torch.arange(8.0).double()),
    ]


@pytest.mark.parametrize("draws", [1, 2])
def test_any_objective_can_be_a_row(draws):
    units, seeds, sizes = mixed() * 2, range(8), Sizes()
    options = {"draws": draws, "batch_size": 4, "callbacks": [sizes]}
    results = many(tiny.textured(torch.float64), units, seed=seeds, **options)
    assert sizes.sizes == [4, 2, 2]
    for unit, seed, result in zip(units, seeds, results, strict=True):
        pictures = alone(unit, seed, tiny.textured(torch.float64), draws=draws)
        np.testing.assert_allclose(result.images[0], pictures[0][0], 0, 1e-6)
        np.testing.assert_allclose(result.history.loss, pictures.history.loss, 0, 1e-9)
        for (caption, values), (name, own) in zip(
            result.history.terms.items(), pictures.history.terms.items(), strict=True
        ):
            assert caption == name
            np.testing.assert_allclose(values, own, 0, 1e-9)


# Seeds


def test_one_seed_is_that_of_every_objective():
    results = many(units=["3:0", "3:2", "3:0"], seed=5)
    assert [result.seed for result in results] == [5, 5, 5]
    assert np.array_equal(results[0].images[0], results[2].images[0])
    assert not np.array_equal(results[0].images[0], results[1].images[0])


def test_an_objective_with_several_seeds_gives_several_pictures():
    first, second = many(units=["3:0"] * 2, seed=range(2))
    assert not np.array_equal(first.images[0], second.images[0])


def test_without_a_seed_each_result_says_the_one_it_had():
    set_seed(11)
    results = many(units=["3:0"] * 2, seed=None)
    set_seed(11)
    again = many(units=["3:0"] * 2, seed=None)
    assert len({result.seed for result in results}) == 2
    for result, other in zip(results, again, strict=True):
        assert np.array_equal(result.images[0], other.images[0])
        np.testing.assert_allclose(alone("3:0", result.seed)[0][0], result.images[0], 0, 1e-6)


@pytest.mark.parametrize("param_f", [small, clouds], ids=["fixed", "random parts"])
def test_the_global_generators_stay_as_they_were(param_f):
    model = tiny.textured()
    state = torch.get_rng_state()
    many(model, param_f=param_f, seed=3)
    assert torch.equal(torch.get_rng_state(), state)


# What comes back


def test_results_say_what_they_are():
    results = many(thresholds=(0, 2, 3), batch_size=2)
    assert [str(result.objective.terms[0].arguments) for result in results] == [
        str(objectives.as_objective(unit).terms[0].arguments) for unit in UNITS
    ]
    for result in results:
        assert [(image.shape, image.dtype) for image in result.images] == [
            ((12, 12, 3), np.float32)
        ] * 3
        assert result.history.steps == [0, 2, 3]
        assert len(result.history.loss) == 3
        assert result.error is None


def test_volumes_come_with_the_channels_last():
    class Volumes(nn.Sequential):
        spec = tiny.PLAIN

    model = Volumes(nn.Conv3d(3, 2, 1))
    results = many(model, ["0:0", "0:1"], lambda: param.image(5, 4, depth=3), transforms=[])
    assert [result.images[0].shape for result in results] == [(3, 4, 5, 3)] * 2


def test_batches_are_of_equal_size():
    sizes = Sizes()
    many(units=["3:0"] * 5, batch_size=4, callbacks=[sizes])
    assert sizes.sizes == [3, 2]


def test_results_come_as_soon_as_their_batch_is_done():
    sizes = Sizes()
    results = render_many(
        tiny.textured(), UNITS, small, thresholds=(1,), batch_size=2, callbacks=[sizes]
    )
    assert sizes.sizes == []
    next(results)
    assert sizes.sizes == [2]
    assert len(list(results)) == 3
    assert sizes.sizes == [2, 2]


def test_no_pass_goes_further_than_its_batch_needs():
    model, sizes = tiny.textured(), Sizes()
    units = ["0:1", "3:0", "0:2", objectives.channel("0", 3) - objectives.total_variation()]
    calls = tiny.count_calls(model)
    results = render_many(
        model, units, small, thresholds=(4,), batch_size=4, preprocess=False, callbacks=[sizes]
    )
    assert [result.index for result in results] == [0, 2, 3, 1]
    assert sizes.sizes == [3, 1]
    # Without a gradient: to find the order of the layers, and which axis of a ReLU is which.
    plans, followed = 1, 1
    assert (calls["0"], calls["3"]) == (2 * (4 + plans) + followed, 4 + 2 * plans + followed)


def test_nothing_to_render_gives_no_result():
    assert many(units=[]) == []


def test_progress_counts_the_steps_of_all_objectives(capsys):
    many(progress=True, batch_size=3)
    assert "12/12" in capsys.readouterr().err


# How many at a time


@pytest.mark.parametrize(("images", "expected"), [(5, [2, 2, 2]), (7, [3, 3]), (1, [1] * 6)])
def test_a_cpu_gets_as_many_rows_as_keep_so_many_bytes(images, expected, monkeypatch):
    sizes = Sizes()
    model = tiny.Calling(nn.Conv2d(3, 8, 1))
    # The sigmoid keeps its result, the convolution the same in the memory order of its own.
    monkeypatch.setattr(_memory, "_BYTES_ON_CPU", images * 3 * 16 * 16 * 4)
    many(
        model,
        ["function:0"] * 6,
        lambda: param.image(16, fft=False, decorrelate=False),
        transforms=[],
        callbacks=[sizes],
    )
    assert sizes.sizes == expected


def test_measuring_a_row_says_nothing_about_it(recwarn):
    many(tiny.Dead(), ["relu:0"] * 2)
    assert [str(warning.message) for warning in recwarn] == []


def test_a_cpu_gets_sixteen_rows_at_most():
    sizes = Sizes()
    many(units=["3:0"] * 40, thresholds=(1,), callbacks=[sizes])
    assert sizes.sizes == [14, 13, 13]


class Cramped(nn.Module):
    """Has memory for two images."""

    spec = tiny.PLAIN

    def __init__(self, most):
        super().__init__()
        self.net, self.most = tiny.textured(), most

    def forward(self, x):
        if len(x) > self.most:
            raise torch.OutOfMemoryError("out of memory")
        return self.net(x)


def test_a_batch_that_does_not_fit_into_memory_is_halved(caplog):
    sizes = Sizes()
    with caplog.at_level(logging.INFO, "lucent"):
        results = many(Cramped(2), ["net.3:0"] * 6, batch_size=4, callbacks=[sizes])
    # Of equal size where it can be: two times three are tried before one at a time.
    assert sizes.sizes == [3, 1, 1, 1, 1, 1, 1]
    assert [result.error for result in results] == [None] * 6
    assert "3 rows failed, 1 are tried: out of memory" in caplog.text


def test_the_batches_after_one_that_did_not_fit_are_smaller_from_the_start():
    sizes = Sizes()
    assert len(many(Cramped(2), ["net.3:0"] * 8, batch_size=8, callbacks=[sizes])) == 8
    assert sizes.sizes == [8, 4, 2, 2, 2, 2]


class OneImage(nn.Module):
    """Is written for one image at a time."""

    spec = tiny.PLAIN

    def __init__(self):
        super().__init__()
        self.net = tiny.textured()

    def forward(self, x):
        x = self.net[0](x)
        return self.net[1:](x.view(1, -1, *x.shape[2:]))


def test_a_network_for_one_image_gets_one_at_a_time():
    sizes = Sizes()
    results = many(OneImage(), ["net.3:0", "net.3:2"] * 2, batch_size=4, callbacks=[sizes])
    assert sizes.sizes == [4, 2, 1, 1, 1, 1]
    assert [result.error for result in results] == [None] * 4
    np.testing.assert_allclose(results[1].images[0], alone("3:2", 0)[0][0], 0, 1e-6)


def test_the_bar_is_right_after_a_batch_that_failed(capsys):
    many(units=["3:0", "3:2", nan_at(1), stops], batch_size=4, progress=True)
    assert "12/12" in capsys.readouterr().err


def test_one_image_that_does_not_fit_into_memory_is_an_error():
    with pytest.raises(torch.OutOfMemoryError):
        many(Cramped(0), ["net.3:0"] * 2, batch_size=2)


def lbfgs(params):
    return torch.optim.LBFGS(params, lr=0.1, max_iter=2)


class Sampling(param.Image):
    """Draws what an objective may read."""

    def __init__(self):
        super().__init__()
        self.pixels = nn.Parameter(torch.zeros(1, 3, 12, 12))

    def draw(self, generator=None):
        self.sample = torch.rand(4, generator=generator)

    def forward(self):
        return self.pixels.sigmoid()


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"optimizer": lbfgs}, "the optimizer LBFGS may couple the rows of a batch"),
        ({"param_f": Sampling}, "the Sampling draws what objectives may read"),
    ],
    ids=["LBFGS", "sample"],
)
def test_what_cannot_be_a_row_is_rendered_alone(options, reason, caplog):
    sizes = Sizes()
    with caplog.at_level(logging.INFO, "lucent"):
        results = many(callbacks=[sizes], transforms=[], **options)
    assert sizes.sizes == [1, 1, 1, 1]
    assert f"Objectives are rendered one at a time, because {reason}." in caplog.text
    for unit, result in zip(UNITS, results, strict=True):
        assert np.array_equal(result.images[0], alone(unit, 0, transforms=[], **options)[0][0])


# What goes wrong


def failing(acts: Acts, T: Activations, step: int) -> torch.Tensor:
    """Become NaN at a step."""
    return acts[:, 0].mean() * (float("nan") if T.step >= step else 1.0)


def edge(acts: Acts) -> torch.Tensor:
    """Return 0, with an infinite slope."""
    return (acts[:, 0].mean() * 0).sqrt()


def nan_at(step):
    return Objective.of([Term(failing, (("acts", "3"), ("step", step)))])


def stops(T):
    """Refuse the third step."""
    if T.step == 2:
        raise InputError("no third step")
    return -T("3")[:, 0].mean()


def test_a_row_that_fails_late_keeps_what_was_measured_before():
    fine, broken = many(units=["3:0", stops], thresholds=(0, 1, 3))
    assert str(broken.error) == "no third step"
    assert broken.history.steps == [0, 1]
    np.testing.assert_allclose(broken.images[1], alone("3:0", 0, thresholds=(1,))[0][0], 0, 1e-6)
    np.testing.assert_allclose(broken.history.loss, fine.history.loss[:2], 0, 1e-6)
    assert fine.history.steps == [0, 1, 3]


def test_the_error_of_a_row_holds_no_run():
    runs = []
    results = many(units=["3:0", stops], callbacks=[lambda run: runs.append(weakref.ref(run))])
    assert results[1].error is not None
    gc.collect()
    assert [run() for run in runs if run() is not None] == []


def test_one_row_that_fails_does_not_send_all_others_on_their_own():
    sizes = Sizes()
    many(units=["3:0"] * 7 + ["3:99"], batch_size=8, callbacks=[sizes])
    assert sizes.sizes == [8, 4, 4, 2, 2, 1, 1]


def test_a_row_that_diverges_leaves_its_neighbours_alone():
    model, sizes = tiny.textured(torch.float64), Sizes()
    units, seeds = ["3:0", nan_at(2), "3:2"], SEEDS[:3]
    options = {"thresholds": (2, 40)}
    results = many(model, units, batch_size=3, seed=seeds, callbacks=[sizes], **options)
    assert sizes.sizes == [3]
    for n in (0, 2):
        own = alone(units[n], seeds[n], model, **options)
        np.testing.assert_allclose(results[n].images[1], own[1][0], 0, 1e-6)
        assert results[n].error is None
    error = results[1].error
    assert isinstance(error, DivergenceError)
    assert "The loss became nan at step 2, in the term 'Failing [3, 2, None]'" in str(error)
    assert len(results[1].images) == 1
    assert results[1].history.steps == [2]


def test_a_row_whose_weight_becomes_nan_leaves_its_neighbours_alone():
    weight = objectives.channel("3", 4).scheduled(lambda step: float("nan") if step else 1.0)
    broken, fine = many(units=[weight, "3:0"], batch_size=2)
    assert "The loss became nan at step 1, by the weights of its terms" in str(broken.error)
    np.testing.assert_allclose(fine.images[0], alone("3:0", 0)[0][0], 0, 1e-6)


def test_a_row_whose_gradient_is_nan_is_named():
    units = ["3:0", Objective.of([Term(edge, (("acts", "3"),))])]
    fine, broken = many(units=units, thresholds=(1,), batch_size=2)
    assert fine.error is None
    np.testing.assert_allclose(fine.images[0], alone("3:0", 0, thresholds=(1,))[0][0], 0, 1e-6)
    assert isinstance(broken.error, DivergenceError)
    assert "The image of <Objective Edge [3, None]> became NaN or infinite by step 1" in str(
        broken.error
    )
    assert broken.images == []


def test_a_batch_of_rows_that_all_diverged_ends_early():
    results = many(units=[nan_at(0)] * 2, thresholds=(100,), batch_size=2)
    assert [len(result.history.loss) for result in results] == [32, 32]
    assert all(isinstance(result.error, DivergenceError) for result in results)


def test_a_row_that_fails_comes_with_its_error_and_its_neighbours_with_pictures():
    results = many(units=["3:0", "3:99", "3:2"], batch_size="auto")
    assert [result.error is None for result in results] == [True, False, True]
    assert isinstance(results[1].error, InputError)
    assert "99" in str(results[1].error)
    assert np.array_equal(results[2].images[0], many(units=["3:2"])[0].images[0])


def test_an_unknown_layer_is_an_error_before_anything_is_rendered():
    with pytest.raises(LayerError, match="nonsense"):
        render_many(tiny.textured(), ["3:0", "nonsense:0"])


@pytest.mark.parametrize("leave", ["close", "error"])
def test_leaving_early_leaves_the_model_as_it_was(leave):
    model = tiny.textured().train()
    before = tiny.condition(model)

    def interrupt(run):
        if run.step == 2 and leave == "error":
            raise KeyboardInterrupt

    results = render_many(model, UNITS, small, thresholds=(3,), batch_size=2, callbacks=[interrupt])
    if leave == "error":
        with pytest.raises(KeyboardInterrupt):
            next(results)
    else:
        next(results)
        assert tiny.condition(model) == before
        results.close()
    assert tiny.condition(model) == before


def same():
    return SAME


SAME = param.image(12)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"units": "3:0"}, r"takes a list of objectives, not '3:0': put it into a list"),
        ({"units": objectives.channel("3", 0)}, "takes a list of objectives"),
        ({"units": 5}, "takes a list of objectives, not 5"),
        ({"units": [objectives.channel("3", 0, batch=1)]}, "needs a rendering of its own"),
        ({"seed": [1, 2]}, "seed has 2 numbers for 4 objectives: give one for each"),
        ({"seed": 1.5}, r"seed=1\.5 has to be a whole number, or a list"),
        ({"seed": [0, 1, 2, 0.5]}, r"seed=\[0, 1, 2, 0\.5\] has to be a whole number, or a list"),
        ({"seed": "1234"}, "seed='1234' has to be a whole number, or a list"),
        ({"optimizer": torch.optim.Adam([torch.zeros(1)])}, "has to be a function that makes"),
        ({"batch_size": 0}, "batch_size=0 has to be 'auto' or a number of objectives"),
        ({"batch_size": "all"}, "batch_size='all' has to be 'auto'"),
        ({"batch_size": True}, "batch_size=True has to be 'auto'"),
        ({"thresholds": ()}, "whole numbers of steps"),
        ({"param_f": lambda: param.image(12, batch=2)}, "param_f gave 2 images.*batch=1"),
        ({"param_f": same}, "returned the same parameters twice.*new image in every"),
    ],
)
def test_what_cannot_be_used_is_refused(options, text):
    with pytest.raises(InputError, match=text):
        many(**options)


# Lists given to render_vis


def test_render_vis_gives_a_list_of_objectives_a_row_each():
    model = tiny.textured(torch.float64)
    images = alone(UNITS, SEEDS, model, thresholds=(1, 3))
    own = [alone(u, s, model, thresholds=(1, 3)) for u, s in zip(UNITS, SEEDS, strict=True)]
    assert [array.shape for array in images] == [(4, 12, 12, 3)] * 2
    for n, array in enumerate(images):
        np.testing.assert_allclose(array, np.concatenate([o[n] for o in own]), 0, 1e-6)
    assert images.history.steps == [1, 3]
    sums = np.sum([o.history.loss for o in own], axis=0)
    np.testing.assert_allclose(images.history.loss, sums, 0, 1e-9)
    assert len(images.history.terms) == 4


def test_render_vis_keeps_the_order_of_a_list_over_layers():
    images = alone(("3:0", "0:1", "3:2"), 0)[0]
    np.testing.assert_allclose(images[1], alone("0:1", 0)[0][0], 0, 1e-6)
    np.testing.assert_allclose(images[2], alone("3:2", 0)[0][0], 0, 1e-6)


def test_render_vis_raises_the_first_error_of_a_list_with_the_pictures_of_the_others():
    with pytest.raises(InputError, match="98") as caught:
        alone(["3:0", "3:98", "3:99", "3:2"], 0, thresholds=(1, 3))
    assert [array.shape for array in caught.value.images] == [(2, 12, 12, 3)] * 2


def test_an_objective_of_a_list_that_was_stopped_early_keeps_its_last_image():
    def stop_the_shallow(run):
        if run.step == 2 and run.objective.layers == {"0"}:
            run.stop()

    images = alone(["3:0", "0:1"], 0, thresholds=(1, 3, 4), callbacks=[stop_the_shallow])
    assert images.history.steps == [1, 3, 4]
    np.testing.assert_allclose(images[2][1], alone("0:1", 0, thresholds=(2,))[0][0], 0, 1e-6)
    np.testing.assert_allclose(images[2][0], alone("3:0", 0, thresholds=(4,))[0][0], 0, 1e-6)
    assert len(images.history.loss) == 2


def test_render_vis_saves_the_pictures_of_a_list(tmp_path):
    file = tmp_path / "units.png"
    images = alone(UNITS[:2], 0, save_image=True, image_name=str(file))
    assert file.exists()
    assert len(images[-1]) == 2


def test_the_seeds_of_a_list_may_be_an_array():
    images = alone(UNITS[:2], np.arange(2))
    assert np.array_equal(images[0], alone(UNITS[:2], [0, 1])[0])


@pytest.mark.parametrize(
    ("unit", "seed", "text"),
    [([], 0, "an empty list of objectives"), ("3:0", [1, 2], "one objective has one seed")],
)
def test_lists_that_render_vis_cannot_use_are_refused(unit, seed, text):
    with pytest.raises(InputError, match=text):
        alone(unit, seed)
