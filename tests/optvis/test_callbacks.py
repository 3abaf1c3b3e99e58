"""Callbacks: each does its one thing at its steps, and nothing else to the run."""

from __future__ import annotations

import os

import numpy as np
import pytest
import tiny
import torch
from PIL import Image

from lucent.errors import DivergenceError, InputError, WeightsError
from lucent.optvis import callbacks, param, transform
from lucent.optvis.callbacks import (
    Checkpoint,
    Importance,
    Progress,
    Report,
    Save,
    Show,
    Snapshots,
    StopWhenFlat,
    tensor_to_img_array,
)
from lucent.optvis.loop import Run, RunSettings
from lucent.optvis.objectives import Objective, channel


def by_one(params):
    """Plain descent that moves the red of `RED` by exactly 1/4 of the learning rate per step."""
    return torch.optim.SGD(params, lr=0.25)


def standing(params):
    return torch.optim.SGD(params, lr=0)


RED = tiny.colour(0.25, 0.5, 0.75)


def iterated(*others, steps=4, objective=None, image=None, optimizer=by_one):
    """A finished run of a picture whose red grows by 1/16 per step."""
    run = Run(
        tiny.Chain(),
        objective or channel("conv1", 0),
        image or tiny.Pixels(RED),
        optimizer=optimizer,
        settings=RunSettings(steps=steps, relu_override=False),
    )
    with run:
        run.iterate(others)
    return run


def red(step):
    return 0.25 + step / 16


# Snapshots


def test_snapshots_are_the_image_after_so_many_steps():
    snapshots = Snapshots([4, 0, 1, 9])
    run = iterated(snapshots)
    assert run.history.steps == [0, 1, 4]
    for step, image in zip(run.history.steps, snapshots.images, strict=True):
        assert (image.shape, image.dtype) == ((1, 2, 2, 3), np.float32)
        np.testing.assert_array_equal(image[0, 1, 0], [red(step), 0.5, 0.75])


def test_snapshots_do_not_change_when_the_run_goes_on():
    snapshots = Snapshots([1])
    copies = []
    iterated(snapshots, lambda run: copies.append([image.copy() for image in snapshots.images]))
    np.testing.assert_array_equal(copies[1][0], snapshots.images[0])


def test_img_arrays_have_the_channels_last():
    tensor = torch.arange(24.0, requires_grad=True).view(1, 2, 3, 4)
    array = tensor_to_img_array(tensor)
    assert (array.shape, array.dtype) == ((1, 3, 4, 2), np.float32)
    assert array[0, 2, 1].tolist() == [9, 21]


# Importance


def test_importance_is_the_sum_of_gradients_by_pixel():
    importance = Importance()
    weights = torch.tensor([[1.0, 2.0], [3.0, 0.0]])
    iterated(importance, objective=Objective(lambda T: -(T("conv1")[:, 0] * weights).sum()))
    np.testing.assert_array_equal(importance.total, 4 * weights[None])
    np.testing.assert_allclose(importance.alpha(100)[0, ..., 0], weights / 3)
    np.testing.assert_allclose(importance.alpha(0)[0, ..., 0], [[1, 1], [1, 0]])


def test_importance_of_colours_that_pull_apart_does_not_cancel():
    importance = Importance()
    iterated(importance, objective=Objective(lambda T: (T("input")[:, 0] - T("input")[:, 1]).sum()))
    np.testing.assert_array_equal(importance.total, np.full((1, 2, 2), 8))


@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_pixels_above_the_percentile_are_opaque_also_where_most_do_not_matter(scale):
    importance = Importance()
    importance.total = scale * torch.tensor([[[0.0, 0.0], [0.0, 2.0]], [[1.0, 1.0], [1.0, 4.0]]])
    alpha = importance.alpha(50)
    assert (alpha.dtype, alpha.shape) == (np.float32, (2, 2, 2, 1))
    assert alpha[0].ravel().tolist() == [0, 0, 0, 1]
    assert alpha[1].ravel().tolist() == [1, 1, 1, 1]
    np.testing.assert_allclose(importance.alpha(100)[1].ravel(), [0.25, 0.25, 0.25, 1])


def test_importance_of_nothing():
    with pytest.raises(InputError, match="give the callback to a run first"):
        Importance().alpha()
    importance = Importance()
    iterated(importance)
    with pytest.raises(InputError, match="percentile=101 has to be between 0 and 100"):
        importance.alpha(101)


def test_importance_is_of_one_run():
    importance = Importance()
    iterated(importance)
    with pytest.raises(InputError, match="has seen another run.*make a new one"):
        iterated(importance)


# Progress


class Bar:
    """Notes what a progress bar is told."""

    made = ()

    def __init__(self, total, initial, **options):
        self.total, self.n, self.moves, self.closed, self.texts = total, initial, [], False, []
        Bar.made = (*Bar.made, self)

    def update(self, n):
        assert not self.closed
        self.n += n
        self.moves.append(n)

    def set_postfix(self, **texts):
        self.texts.append((self.n, texts["loss"]))

    def close(self):
        self.closed = True


@pytest.fixture
def bars(monkeypatch):
    monkeypatch.setattr(Bar, "made", ())
    monkeypatch.setattr(callbacks, "tqdm", Bar)
    return lambda: Bar.made


def test_progress_shows_every_step_and_ends(bars):
    run = iterated(Progress(), steps=70)
    (bar,) = bars()
    assert (bar.total, bar.n, bar.closed) == (70, 70, True)
    assert sum(bar.moves) == 70
    # The loss is read when the loop has just waited for the device anyway.
    assert bar.texts == [(n, f"{run.history.loss[n - 1]:.3f}") for n in (32, 64)]


def test_progress_takes_a_total_for_a_run_without_end(bars):
    iterated(Progress(9), lambda run: run.step < 3 or run.stop(), steps=None)
    (bar,) = bars()
    assert (bar.total, bar.n, bar.closed) == (9, 3, True)


def test_progress_begins_where_the_run_is(bars):
    run = Run(tiny.Chain(), channel("conv1", 0), param.image(4), settings=RunSettings(steps=5))
    with run:
        next(run)
        next(run)
        run.iterate([Progress()])
    (bar,) = bars()
    assert (bar.n, sum(bar.moves)) == (5, 3)


def test_progress_is_closed_after_an_exception(bars):
    def fail(run):
        if run.step == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        iterated(Progress(), fail)
    (bar,) = bars()
    assert (bar.n, bar.closed) == (2, True)


def test_progress_serves_a_second_run(bars):
    progress = Progress()
    iterated(progress)
    iterated(progress, steps=2)
    assert [(bar.total, bar.n, bar.closed) for bar in bars()] == [(4, 4, True), (2, 2, True)]


# Report and Show


def test_report_writes_the_losses_to_stdout(capsys):
    run = iterated(Report([0, 2, 4]))
    assert run.history.loss == [-red(step) for step in range(4)]
    out, err = capsys.readouterr()
    assert out == "Initial loss: -0.250\nLoss at step 2: -0.312\nLoss at step 4: -0.438\n"
    assert err == ""


def test_show_shows_the_image_at_its_steps(monkeypatch):
    shown = []
    monkeypatch.setattr(callbacks, "show", lambda array, channels: shown.append(array[0, 0, 0, 0]))
    iterated(Show([0, 3]))
    assert shown == [red(0), red(3)]


# Save


def pixels(path):
    return np.asarray(Image.open(path))


def test_save_writes_a_picture_every_so_many_steps(tmp_path):
    iterated(Save(tmp_path / "new" / "{step:03d}.png", every=2), steps=5)
    assert sorted(os.listdir(tmp_path / "new")) == ["000.png", "002.png", "004.png"]
    expected = np.rint(np.array([red(2), 0.5, 0.75]) * 255)
    assert (pixels(tmp_path / "new" / "002.png") == expected).all()


def test_save_puts_the_batch_in_a_row_and_overwrites(tmp_path):
    batch = torch.cat([RED, tiny.colour(0, 0, 0)])
    iterated(Save(str(tmp_path / "now.png")), image=tiny.Pixels(batch), optimizer=standing)
    assert os.listdir(tmp_path) == ["now.png"]
    picture = pixels(tmp_path / "now.png")
    assert picture.shape == (2, 4, 3)
    assert picture[:, 2:].max() == 0
    assert picture[0, 0].tolist() == [64, 128, 191]


@pytest.mark.parametrize("kind", [Save, Checkpoint])
@pytest.mark.parametrize("every", [0, -1])
def test_every_is_at_least_one(kind, every):
    with pytest.raises(InputError, match=f"every={every}.* at least 1"):
        kind("file.png", every)


# Checkpoint


def random_run(steps, *others, seed=3):
    torch.manual_seed(seed)
    run = Run(
        tiny.textured(),
        channel("3", 2),
        param.image(16),
        transforms=transform.jitter(3),
        settings=RunSettings(steps=steps, seed=seed),
    )
    with run:
        run.iterate(others)
    return run


@pytest.mark.parametrize("name", ["run.pt", "run", "new/.run"])
def test_a_run_goes_on_from_its_checkpoint(tmp_path, name):
    whole, seen = random_run(20), []

    def crash(run):
        if run.step == 13:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        random_run(20, Checkpoint(tmp_path / name, every=5, resume=True), crash)
    assert len(os.listdir((tmp_path / name).parent)) == 1
    resumed = random_run(
        20,
        Checkpoint(tmp_path / name, every=5, resume=True),
        lambda run: seen.append(run.step),
        seed=4,
    )
    assert seen == list(range(10, 21))
    assert torch.equal(resumed.snapshot(), whole.snapshot())
    assert resumed.history.loss == whole.history.loss


def test_without_resume_a_run_begins_anew(tmp_path):
    random_run(4, Checkpoint(tmp_path / "run.pt", every=2))
    seen = []
    random_run(1, Checkpoint(tmp_path / "run.pt"), lambda run: seen.append(run.step))
    assert seen == [0, 1]


def test_a_checkpoint_beyond_the_last_step_ends_the_run(tmp_path):
    random_run(6, Checkpoint(tmp_path / "run.pt", every=2))
    seen = []

    def guard(run):
        seen.append(run.step)
        assert run.step <= 6

    random_run(5, Checkpoint(tmp_path / "run.pt", resume=True), guard)
    assert seen == [6]


def test_a_checkpoint_is_replaced_only_by_a_complete_one(tmp_path, monkeypatch):
    path = tmp_path / "run.pt"
    random_run(2, Checkpoint(path, every=2))
    before = path.read_bytes()

    def half(state, file):
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", half)
    with pytest.raises(OSError, match="disk full"):
        random_run(2, Checkpoint(path, every=1))
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["run.pt"]


def test_a_diverged_state_is_not_written(tmp_path):
    def objective(T):
        return -T("conv1").mean() * (float("nan") if T.step == 1 else 1)

    with pytest.raises(DivergenceError):
        iterated(Checkpoint(tmp_path / "run.pt", every=2), objective=Objective(objective))
    assert os.listdir(tmp_path) == []


def garbage(path):
    path.write_bytes(b"no checkpoint at all")


def empty(path):
    path.write_bytes(b"")


def cut(path):
    random_run(1, Checkpoint(path, every=1))
    path.write_bytes(path.read_bytes()[:-100])


def foreign(path):
    torch.save({"weight": torch.zeros(3)}, path)


def of_another_image(path):
    with Run(tiny.textured(), channel("3", 2), param.image(8)) as run:
        torch.save(run.state_dict(), path)


def of_another_optimizer(path):
    def factory(params):
        return torch.optim.Adam([{"params": [p]} for p in [*params, torch.zeros(1)]])

    with Run(tiny.textured(), channel("3", 2), param.image(16), optimizer=factory) as run:
        torch.save(run.state_dict(), path)


@pytest.mark.parametrize(
    "spoil", [garbage, empty, cut, foreign, of_another_image, of_another_optimizer]
)
def test_a_checkpoint_that_cannot_be_used_is_named(tmp_path, spoil):
    path = tmp_path / "run.pt"
    spoil(path)
    with pytest.raises(WeightsError) as caught:
        random_run(1, Checkpoint(path, resume=True))
    assert str(path) in str(caught.value)
    assert "Delete" in str(caught.value)


# StopWhenFlat


def scheduled(loss_of_step):
    """A run of an image that stands still, whose loss is a function of the step."""

    def objective(T):
        # The red of the image is 1/4; its factor keeps the gradient from being zero.
        return T("conv1")[:, 0].mean() - 0.25 + loss_of_step(T.step)

    return {"objective": Objective(objective), "optimizer": standing, "steps": 192}


def test_a_run_stops_when_its_loss_no_longer_falls():
    run = iterated(StopWhenFlat(window=16), **scheduled(lambda step: -float(min(step, 100))))
    # It is looked for at every 32nd step; at step 128 one of the 32 losses is still from before.
    assert run.step == 160


@pytest.mark.parametrize("slope", [0.0, 0.01])
def test_a_run_stops_as_soon_as_there_are_two_windows_of_flat_or_rising_loss(slope):
    assert iterated(StopWhenFlat(window=32), **scheduled(lambda step: slope * step)).step == 64
    assert iterated(StopWhenFlat(window=33), **scheduled(lambda step: slope * step)).step == 96


def test_a_run_whose_loss_falls_goes_on():
    run = iterated(StopWhenFlat(window=8), **scheduled(lambda step: -1.0 - step))
    assert run.step == 192


def test_the_tolerance_is_a_share_of_the_loss():
    # In 16 steps the mean falls by .16, between 1 and 2 % of a loss of about -10.
    for tolerance, expected in ((0.01, 64), (0.02, 32)):
        stop = StopWhenFlat(window=16, tolerance=tolerance)
        options = {**scheduled(lambda step: -10 - 0.01 * step), "steps": 64}
        assert iterated(stop, **options).step == expected


def test_a_window_of_one_is_refused():
    with pytest.raises(InputError, match=r"window=1.* at least 2 steps"):
        StopWhenFlat(window=1)
