"""Seeds, devices, and the context managers that leave everything as it was."""

from __future__ import annotations

import os
import random
import stat

import numpy as np
import pytest
import tiny
import torch
from torch import nn

from lucent import util
from lucent.errors import InputError, MissingExtra
from lucent.util import atomic_write, device_of, dtype_of, forked_rng, frozen_eval, set_seed


def draws():
    return random.random(), np.random.rand(), torch.rand(1).item()


def states():
    return random.getstate(), str(np.random.get_state()), torch.get_rng_state().tolist()


def test_set_seed_seeds_all_three_generators():
    set_seed(3)
    first = draws()
    assert all(a != b for a, b in zip(first, draws(), strict=True))
    set_seed(3)
    assert draws() == first
    set_seed(4)
    assert all(a != b for a, b in zip(first, draws(), strict=True))


def test_set_seed_takes_seeds_of_more_than_32_bits():
    set_seed(2**40 + 1)
    assert draws()[:2] == (random.Random(2**40 + 1).random(), np.random.RandomState(1).rand())


def test_forked_generators_repeat_inside_and_are_untouched_outside():
    before, inside = states(), []
    for _ in range(2):
        with forked_rng(5):
            inside.append(draws())
    assert inside[0] == inside[1]
    assert states() == before


def test_forked_generators_come_back_after_an_exception():
    before = states()
    with pytest.raises(KeyboardInterrupt), forked_rng(5):
        draws()
        raise KeyboardInterrupt
    assert states() == before


def test_without_a_seed_the_global_generators_go_on():
    set_seed(0)
    with forked_rng(None):
        first = draws()
    set_seed(0)
    assert draws() == first


def test_device_and_dtype_are_those_of_the_first_floating_tensor():
    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
            self.register_buffer("mean", torch.zeros((), dtype=torch.bfloat16, device="meta"))

    assert dtype_of(Counting()) == torch.bfloat16
    assert device_of(Counting()) == torch.device("meta")
    assert dtype_of(tiny.Chain().double()) == torch.float64
    assert (device_of(nn.ReLU()), dtype_of(nn.ReLU())) == (torch.device("cpu"), torch.float32)


def test_frozen_eval_freezes_inside_and_restores_each_module_and_parameter():
    model = tiny.Normed()
    before = tiny.condition(model)
    with frozen_eval(model):
        assert not any(module.training for module in model.modules())
        assert not any(parameter.requires_grad for parameter in model.parameters())
        model(torch.rand(4, 3, 4, 4))
    assert tiny.condition(model) == before
    assert len(set(before["modes"].values())) == 2
    assert len(set(before["trainable"].values())) == 2


def test_frozen_eval_restores_after_an_exception():
    model = tiny.Normed()
    before = tiny.condition(model)
    with pytest.raises(KeyboardInterrupt), frozen_eval(model):
        raise KeyboardInterrupt
    assert tiny.condition(model) == before


def test_atomic_write_replaces_the_file_when_the_block_ends_well(tmp_path):
    target = tmp_path / "new" / "file.txt"
    for text in ("one", "two"):
        with atomic_write(target) as temporary:
            assert temporary.suffix == ".txt"
            assert temporary != target
            temporary.write_text(text)
        assert target.read_text() == text
        assert os.listdir(target.parent) == ["file.txt"]


def test_atomic_write_leaves_the_old_file_when_the_block_fails(tmp_path):
    target = tmp_path / "file.txt"
    target.write_text("old")
    with pytest.raises(KeyboardInterrupt), atomic_write(target) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["file.txt"]


def test_atomic_write_to_a_folder(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    told = pytest.raises(InputError, match=r"pictures' is a folder: name a file in it")
    with told, atomic_write(folder):
        pass
    assert os.listdir(tmp_path) == ["pictures"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
def test_atomic_write_gives_the_permissions_of_any_new_file(tmp_path):
    with atomic_write(tmp_path / "ours") as temporary:
        temporary.write_text("")
    (tmp_path / "ordinary").touch()
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("ours", "ordinary")]
    assert modes[0] == modes[1]


def test_a_missing_optional_package_is_named_with_its_extra():
    with pytest.raises(MissingExtra, match=r"'nowhere'.* pip install \"torch-lucent\[reduce\]\""):
        util.optional("nowhere.inside", "reduce")
    assert util.optional("os.path", "reduce") is os.path


def test_a_constant_is_made_once_for_a_dtype_and_a_device():
    like = torch.zeros(1)
    made = util.constant([[1, 2.5]], like)
    assert made.tolist() == [[1.0, 2.5]]
    assert util.constant(((1, 2.5),), like) is made
    assert util.constant(np.array([[1, 2.5]]), nn.Parameter(like)) is made
    assert util.constant([[1, 2.5]], like.double()).dtype == torch.float64
    assert util.constant([[1, 2.5]], like.to("meta")).device.type == "meta"


def test_a_large_array_is_no_constant_that_is_kept():
    array = np.arange(100.0)
    made = util.constant(array, torch.zeros(1))
    assert made.tolist() == array.tolist()
    assert util.constant(array, torch.zeros(1)) is not made


def test_a_constant_made_where_gradients_are_unknown_can_be_used_where_they_are_not():
    with torch.inference_mode():
        factor = util.constant(0.123, torch.zeros(1))
    x = torch.ones(2, requires_grad=True)
    assert torch.autograd.grad((x * factor).sum(), x)[0].tolist() == pytest.approx([0.123] * 2)


def test_a_default_device_of_the_user_does_not_decide_about_constants():
    like = torch.zeros(1)
    with torch.device("meta"):
        assert util.constant(0.456, like).item() == pytest.approx(0.456)
