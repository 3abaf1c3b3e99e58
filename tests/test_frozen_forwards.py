"""What a run does to compute a frozen network faster: the same values, the same gradients."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from lucent.optvis import param
from lucent.optvis.loop import Run, RunSettings
from lucent.optvis.objectives import channel
from lucent.overrides import frozen_forwards
from lucent.overrides._frozen import BlockConvolution
from lucent.util import frozen_eval, set_seed

KINDS = [
    (nn.BatchNorm1d, (4, 5)),
    (nn.BatchNorm1d, (4, 5, 7)),
    (nn.BatchNorm2d, (4, 5, 6, 7)),
    (nn.BatchNorm3d, (4, 5, 3, 6, 7)),
]


def trained(norm):
    """A norm with statistics and parameters that are not those of a new one."""
    set_seed(0)
    for name in ("running_mean", "weight", "bias"):
        if getattr(norm, name) is not None:
            nn.init.normal_(getattr(norm, name))
    if norm.running_var is not None:
        nn.init.uniform_(norm.running_var, 0.1, 4.0)
    return norm.eval()


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize(("kind", "shape"), KINDS)
def test_values_and_gradients_are_those_of_the_norm(kind, shape, affine):
    norm = trained(kind(5, eps=0.01, affine=affine).double())
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    upstream = torch.randn(shape, dtype=torch.float64)
    expected = norm(x)
    (gradient,) = torch.autograd.grad(expected, x, upstream)
    with frozen_eval(norm), frozen_forwards(norm):
        got = norm(x)
        assert "NativeBatchNorm" not in type(got.grad_fn).__name__
        torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(
            torch.autograd.grad(got, x, upstream)[0], gradient, rtol=1e-12, atol=1e-12
        )
    assert torch.equal(norm(x), expected)


CONVOLUTIONS = [
    (nn.Conv2d(3, 8, 7, 2, 3), [(224, 224), (33, 32), (32, 31), (9, 15), (1, 2)]),
    (nn.Conv2d(3, 8, 7, 2), [(32, 32), (7, 8), (9, 15)]),
    (nn.Conv2d(3, 8, 3, 2, 1, bias=False), [(32, 32), (33, 32)]),
    (nn.Conv2d(1, 8, (4, 5), 2, (0, 2)), [(12, 12), (13, 11)]),
    (nn.Conv2d(4, 8, 2, 2), [(8, 8), (9, 9)]),
    (nn.Conv2d(2, 8, 1, 2, 1), [(8, 8), (9, 9)]),
]


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(
    ("conv", "size"), [(conv, size) for conv, sizes in CONVOLUTIONS for size in sizes]
)
def test_a_convolution_of_few_channels_is_that_of_its_weights(conv, size, layout):
    conv = copy.deepcopy(conv).double()
    x = torch.randn(2, conv.in_channels, *size, dtype=torch.float64)
    x = x.contiguous(memory_format=layout).requires_grad_()
    expected = conv(x)
    upstream = torch.randn_like(expected)
    with frozen_eval(conv), frozen_forwards(conv):
        got = conv(x)
        assert isinstance(vars(conv)["forward"], BlockConvolution)
        if conv.in_channels > 1:  # else an image has both formats
            assert got.is_contiguous(memory_format=layout)
        torch.testing.assert_close(got, expected, rtol=0, atol=1e-13)
        torch.testing.assert_close(
            torch.autograd.grad(got, x, upstream),
            torch.autograd.grad(expected, x, upstream),
            rtol=0,
            atol=1e-13,
        )
    assert "forward" not in vars(conv)


def test_an_image_of_one_channel_stays_in_ordinary_memory():
    conv = nn.Conv2d(1, 8, 3, 2)
    with frozen_eval(conv), frozen_forwards(conv):
        assert conv(torch.rand(2, 1, 9, 9)).is_contiguous()


@pytest.mark.parametrize(
    "conv",
    [
        nn.Conv2d(8, 8, 3, 2),
        nn.Conv2d(3, 8, 3, 1),
        nn.Conv2d(3, 8, 3, 2, dilation=2),
        nn.Conv2d(3, 6, 3, 2, groups=3),
        nn.Conv2d(3, 8, 3, 2, 1, padding_mode="reflect"),
        nn.Conv2d(3, 8, 4, 4),
        nn.Conv2d(3, 8, 3, 2).bfloat16(),
        nn.Conv2d(3, 8, 3, 2, device="meta"),
    ],
)
def test_other_convolutions_are_left_alone(conv):
    with frozen_forwards(conv):
        assert "forward" not in vars(conv)


def test_an_image_that_does_not_fit_gets_the_words_of_the_convolution():
    conv = nn.Conv2d(3, 8, 3, 2)
    with frozen_forwards(conv), pytest.raises(RuntimeError, match="to have 3 channels, but got 4"):
        conv(torch.rand(1, 4, 8, 8))
    with frozen_forwards(conv), pytest.raises(RuntimeError, match="3D .unbatched. or 4D"):
        conv(torch.rand(8, 8))
    with frozen_forwards(conv), pytest.raises(RuntimeError, match="can't be greater than actual"):
        conv(torch.rand(1, 3, 2, 8))


def test_hooks_of_the_norm_still_fire():
    norm, seen = trained(nn.BatchNorm2d(3)), []
    norm.register_forward_hook(lambda module, inputs, output: seen.append(output))
    with frozen_eval(norm), frozen_forwards(norm):
        out = norm(torch.rand(1, 3, 2, 2))
    assert seen[0] is out


class Doubled(nn.BatchNorm2d):
    def forward(self, x):
        return 2 * super().forward(x)


def replaced():
    norm = trained(nn.BatchNorm2d(3))
    norm.forward = lambda x: x * 7
    return norm


@pytest.mark.parametrize(
    "norm",
    [
        Doubled(3).eval(),
        nn.BatchNorm2d(3, track_running_stats=False).eval(),
        nn.BatchNorm2d(3),
        replaced(),
        trained(nn.BatchNorm2d(3)).bfloat16(),
    ],
)
def test_norms_that_are_not_affine_are_left_alone(norm):
    before = vars(norm).get("forward")
    with frozen_forwards(norm):
        assert vars(norm).get("forward") is before


@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated")
@pytest.mark.parametrize("layer", [nn.Conv2d(3, 8, 3, 2), trained(nn.BatchNorm2d(3))])
@pytest.mark.parametrize("name", ["weight_norm", "spectral_norm"])
def test_a_weight_that_a_hook_makes_is_read_when_it_is_made(layer, name):
    if name == "spectral_norm" and isinstance(layer, nn.BatchNorm2d):
        pytest.skip("a vector has no spectral norm")
    layer = getattr(nn.utils, name)(copy.deepcopy(layer)).eval()
    state = {key: value + 1 for key, value in layer.state_dict().items()}
    layer.load_state_dict(state)  # `layer.weight` is still the one of before
    x = torch.rand(1, 3, 8, 8)
    with frozen_eval(layer), frozen_forwards(layer):
        got = layer(x)
    assert torch.equal(got, layer(x))


@pytest.mark.parametrize("parametrization", ["weight_norm", "spectral_norm"])
def test_a_parametrized_weight_is_the_parametrized_one(parametrization):
    conv = getattr(nn.utils.parametrizations, parametrization)(nn.Conv2d(3, 8, 3, 2)).eval()
    x = torch.rand(1, 3, 8, 8)
    expected = conv(x)
    with frozen_eval(conv), frozen_forwards(conv):
        torch.testing.assert_close(conv(x), expected)


@pytest.mark.parametrize(
    ("norm", "shape"),
    [
        (nn.BatchNorm2d(3), (2, 3, 5)),
        (nn.BatchNorm1d(3), (2, 3, 5, 5)),
        (nn.BatchNorm2d(1), (2, 4, 5, 5)),
        (nn.BatchNorm2d(4), (2, 1, 5, 5)),
    ],
)
def test_an_input_that_does_not_fit_gets_the_words_of_the_norm(norm, shape):
    norm, x = norm.eval(), torch.rand(shape)
    with pytest.raises((RuntimeError, ValueError)) as expected:
        norm(x)
    with frozen_forwards(norm), pytest.raises(expected.type) as got:
        norm(x)
    assert str(got.value) == str(expected.value)


def test_an_input_of_another_type_gets_the_norm_itself():
    norm = trained(nn.BatchNorm2d(3))
    x = torch.rand(2, 3, 4, 4).bfloat16()
    expected = norm(x)
    with frozen_forwards(norm):
        assert torch.equal(norm(x), expected)
        assert norm(x).dtype == torch.bfloat16


def test_a_run_computes_norms_so_and_leaves_the_model_as_it_was():
    set_seed(0)
    norm = trained(nn.BatchNorm2d(8))
    model = nn.Sequential(nn.Conv2d(3, 8, 3), norm, nn.ReLU(), nn.Conv2d(8, 4, 3)).train()
    kinds = []

    def look(run):
        kinds.append("forward" in vars(norm))

    settings = RunSettings(steps=3, seed=0, preprocess=False)
    with Run(model, channel("3", 1), param.image(12), settings=settings) as run:
        run.iterate([look])
    assert kinds == [True] * 4
    assert "forward" not in vars(norm)
    assert norm.training


def test_in_bfloat16_a_run_leaves_norms_alone():
    model = nn.Sequential(nn.Conv2d(3, 8, 3), trained(nn.BatchNorm2d(8)))
    settings = RunSettings(steps=1, seed=0, preprocess=False, precision="bf16")
    with Run(model, channel("1", 1), param.image(12), settings=settings):
        assert "forward" not in vars(model[1])


def attention(**options):
    set_seed(0)
    made = nn.MultiheadAttention(12, 3, batch_first=True, dtype=torch.float64, **options)
    nn.init.normal_(made.out_proj.bias)
    if made.in_proj_bias is not None:
        nn.init.normal_(made.in_proj_bias)
    return made.eval()


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("batch", [1, 3])
def test_self_attention_is_that_of_its_weights(batch, bias):
    set_seed(1)
    module = (
        attention()
        if bias
        else nn.MultiheadAttention(12, 3, bias=False, batch_first=True, dtype=torch.float64).eval()
    )
    tokens = torch.randn(batch, 7, 12, dtype=torch.float64, requires_grad=True)
    upstream = torch.randn(batch, 7, 12, dtype=torch.float64)
    expected, _ = module(tokens, tokens, tokens, need_weights=False)
    with frozen_eval(module), frozen_forwards(module):
        got, weights = module(tokens, tokens, tokens, need_weights=False)
        (gradient,) = torch.autograd.grad(got, tokens, upstream)
    assert weights is None
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-14)
    (wanted,) = torch.autograd.grad(expected, tokens, upstream)
    torch.testing.assert_close(gradient, wanted, rtol=0, atol=1e-13)


QUESTIONS = [
    {},
    {"need_weights": True, "average_attn_weights": False},
    {"need_weights": False, "attn_mask": torch.ones(7, 7, dtype=torch.bool).triu(1)},
    {"need_weights": False, "key_padding_mask": torch.arange(7).expand(2, 7) > 4},
]


@pytest.mark.parametrize("options", QUESTIONS)
def test_other_questions_are_left_to_the_attention(options):
    module = attention()
    tokens = torch.randn(2, 7, 12, dtype=torch.float64)
    expected = module(tokens, tokens, tokens, **options)
    with frozen_eval(module), frozen_forwards(module):
        got = module(tokens, tokens, tokens, **options)
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-14)


def test_attention_to_others_is_left_to_the_attention():
    module = attention()
    tokens, others = torch.randn(2, 2, 7, 12, dtype=torch.float64)
    expected, _ = module(tokens, others, others, need_weights=False)
    with frozen_eval(module), frozen_forwards(module):
        got, _ = module(tokens, others, others, need_weights=False)
        alone, _ = module(tokens[0], tokens[0], tokens[0], need_weights=False)
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-14)
    assert alone.shape == (7, 12)


@pytest.mark.parametrize(
    "module",
    [
        nn.MultiheadAttention(12, 3).eval(),
        nn.MultiheadAttention(12, 3, batch_first=True),
        attention(kdim=5),
        attention(add_bias_kv=True),
        attention(add_zero_attn=True),
    ],
)
def test_other_attentions_are_left_alone(module):
    with frozen_forwards(module):
        assert "forward" not in vars(module)
