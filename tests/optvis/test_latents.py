"""Latents of encoders: what they are worth, how they start, and that the encoder is left alone."""

from __future__ import annotations

import copy
import pickle
from dataclasses import dataclass

import numpy as np
import pytest
import tiny
import torch
from reference import normal, seeded
from reference_scores import Pass
from torch import Tensor, nn
from torch.nn import functional as F

from lucent.encoders import FrozenEncoder, encoded
from lucent.encoders._fitted import NonNegative
from lucent.errors import InputError
from lucent.hooks import Activations
from lucent.misc.channel_reducer import ChannelReducer
from lucent.optvis.batch import render_many
from lucent.optvis.loop import Run, RunSettings
from lucent.optvis.objectives import Objective, latent, latent_neuron
from lucent.optvis.render import render_vis

CPU = torch.device("cpu")
ROWS = {"batch": [None] * 4, "one": [1] * 4, "each": [0, 2, -1, 1], "mixed": [None, 2, None, -3]}


class SparseCoder(nn.Module):
    """Latents relu(W x + b) of vectors (M, 4), and how often it was asked for them."""

    def __init__(self, n_latents=5, width=4, bias=0.0):
        super().__init__()
        self.W_enc = nn.Parameter(normal(width, n_latents, seed=11))
        self.bias = nn.Parameter(torch.full((n_latents,), bias, dtype=torch.float64))
        self.calls = 0
        self.counter = [self]  # a copy counts here, too

    def __deepcopy__(self, memo):
        made = type(self).__new__(type(self))
        nn.Module.__init__(made)
        made.W_enc, made.bias = (copy.deepcopy(p, memo) for p in (self.W_enc, self.bias))
        made.counter = self.counter
        return made

    def encode(self, x):
        self.counter[0].calls += 1
        return F.relu(x @ self.W_enc + self.bias)


class Pair(SparseCoder):
    """The two best of the latents, after what came before, as overcomplete returns them."""

    def encode(self, x):
        before = x @ self.W_enc + self.bias
        best = before.topk(2)
        return before, torch.zeros_like(before).scatter(1, best.indices, best.values.relu())


@dataclass
class Result:
    h_x: Tensor
    f_x: Tensor


def twin(acts, coder):
    """(B, K, *spatial), position by position."""
    weight, bias = coder.W_enc.detach().numpy(), coder.bias.detach().numpy()
    vectors = np.moveaxis(acts.detach().numpy(), 1, -1)
    return np.moveaxis(np.maximum(vectors @ weight + bias, 0), -1, 1)


def passed(draws=1):
    acts = {
        "conv": normal(3 * draws, 4, 5, 8),
        "fc": normal(3 * draws, 4, seed=1),
        "video": normal(3 * draws, 4, 2, 3, 5, seed=3),
    }
    T = Pass(**{name: values.requires_grad_() for name, values in acts.items()})
    T.draws = draws
    return T


# Values


@pytest.mark.parametrize("layer", ["conv", "fc", "video"])
@pytest.mark.parametrize("reduce", ["mean", "max"])
def test_latent_is_the_mean_or_the_largest_over_the_positions(layer, reduce):
    coder, T = SparseCoder(), passed()
    expected = twin(T(layer), coder)[:, 3].reshape(3, -1)
    expected = expected.max(1) if reduce == "max" else expected.mean(1)
    found = [-latent(layer, coder, 3, b, reduce=reduce)(T).item() for b in (0, 1, 2, None)]
    assert found == pytest.approx([*expected, expected.mean()], abs=1e-14)


@pytest.mark.parametrize(
    ("x", "y", "place"), [(7, 1, (1, 7)), (None, None, (2, 4)), (0, 4, (4, 0))]
)
def test_latent_neuron_is_at_a_column_and_a_row(x, y, place):
    coder, T = SparseCoder(), passed()
    expected = twin(T("conv"), coder)[:, 2, place[0], place[1]]
    assert -latent_neuron("conv", coder, 2, x, y)(T).item() == pytest.approx(expected.mean())
    assert -latent_neuron("conv", coder, 2, x, y, batch=1)(T).item() == pytest.approx(expected[1])


def test_a_known_latent_is_found_by_its_colour():
    # Latent 0 answers to red without green, latent 1 to green without red, of a Chain's (r, -g).
    probe = nn.Linear(2, 2, bias=False)
    probe.weight.data = torch.tensor([[1.0, 1.0], [-1.0, -1.0]])
    for index, best in ((0, [True, False]), (1, [False, True])):
        image = render_vis(
            tiny.Chain(),
            latent("conv1", probe, index),
            lambda: tiny.Pixels(tiny.colour(0.5, 0.5, 0.5)),
            optimizer=lambda params: torch.optim.SGD(params, lr=0.5),
            transforms=[],
            thresholds=(8,),
            preprocess=False,
            progress=False,
            show_image=False,
        )[0]
        assert [image[..., n].mean() > 0.6 for n in (0, 1)] == best
        assert [image[..., n].mean() < 0.4 for n in (1, 0)] == best
        assert np.allclose(image[..., 2], 0.5)


class Tokens(nn.Module):
    """A vision transformer of one block: a class token, then patches of 2 pixels, (B, N, C)."""

    spec = tiny.PLAIN

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 2, stride=2)
        self.cls_token = nn.Parameter(torch.ones(1, 1, 8))
        self.block = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)

    def forward(self, x):
        patches = self.patches(x).flatten(2).transpose(1, 2)
        return self.block(torch.cat([self.cls_token.expand(len(x), -1, -1), patches], dim=1))


def test_latents_of_tokens_are_those_of_the_patches_and_of_the_class_token():
    model, coder = Tokens().double().eval(), SparseCoder(5, 8)
    image = torch.rand(2, 3, 6, 8, dtype=torch.float64, generator=seeded(2))
    tokens = F.relu(model(image) @ coder.W_enc).detach()
    wanted = {
        latent("block", coder, 3): tokens[:, 1:, 3].mean(),
        latent("block", coder, 3, reduce="max"): tokens[:, 1:, 3].amax(1).mean(),
        latent("block@cls", coder, 3): tokens[:, 0, 3].mean(),
        latent_neuron("block", coder, 3, x=1, y=2): tokens[:, 1 + 2 * 4 + 1, 3].mean(),
    }
    with torch.no_grad(), Activations(model, ["block"]) as T:
        T.run(image)
        for objective, value in wanted.items():
            assert -objective(T).item() == pytest.approx(value.item(), abs=1e-12)


# Many at once


@pytest.mark.parametrize("draws", [1, 2])
@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize(
    "make",
    [
        lambda coder, n, b: latent("conv", coder, n, b),
        lambda coder, n, b: latent("conv", coder, n, b, reduce="max"),
        lambda coder, n, b: latent("fc", coder, n, b),
        lambda coder, n, b: latent("fc", coder, n, b, reduce="max"),
        lambda coder, n, b: latent("video", coder, n, b),
        lambda coder, n, b: latent_neuron("conv", coder, n, batch=b),
        lambda coder, n, b: latent_neuron("conv", coder, n, x=n, y=4 - n, batch=b),
        lambda coder, n, b: latent_neuron("fc", coder, n, batch=b),
    ],
)
def test_terms_together_equal_terms_one_by_one_with_one_pass_of_the_encoder(make, rows, draws):
    coder, T = SparseCoder(), passed(draws)
    made = Objective.sum(make(coder, n, b) for n, b in enumerate(ROWS[rows]))
    expected = made.values(T)
    wanted = torch.autograd.grad(expected.sum(), [*T.acts.values()], materialize_grads=True)
    placed = made.to(CPU)
    placed(T)
    coder.calls = 0
    found = placed.values(T)
    assert coder.calls == (2 if rows == "mixed" else 1)  # images, and the mean over the batch
    assert torch.allclose(found, expected, rtol=0, atol=1e-14)
    gradients = torch.autograd.grad(found.sum(), [*T.acts.values()], materialize_grads=True)
    for own, other in zip(gradients, wanted, strict=True):
        assert torch.allclose(own, other, rtol=0, atol=1e-14)


def test_two_encoders_of_a_layer_are_not_mixed_up():
    one, two, T = SparseCoder(), SparseCoder(bias=1.0), passed()
    made = Objective.sum(latent("conv", coder, n) for n in range(2) for coder in (one, two))
    assert torch.allclose(made.to(CPU).values(T), made.values(T), rtol=0, atol=1e-14)


def test_render_many_makes_the_picture_of_each_latent_alone():
    model, coder = tiny.textured(), SparseCoder(4, 8).float()
    given = {"transforms": [], "thresholds": (6,), "seed": 1, "preprocess": False}
    wanted = [latent("3", coder, n) for n in range(4)]
    coder.calls = 0
    results = [*render_many(model, wanted, tiny_image, **given, batch_size=4)]
    assert coder.calls == 4 + 6  # each term by itself once, then once in a step
    for n, result in enumerate(results):
        alone = render_vis(model, wanted[n], tiny_image, **given, progress=False, show_image=False)
        assert np.allclose(result.images[0], alone[0][0], atol=1e-5)


def tiny_image():
    return tiny.Pixels(torch.full((1, 3, 12, 12), 0.5) + 0.01 * torch.rand(1, 3, 12, 12))


# The encoder is left alone


class Strict(nn.Module):
    """An encoder with batch norm and dropout, in train mode but for a part, a layer frozen."""

    def __init__(self):
        super().__init__()
        self.linear, self.norm = nn.Linear(8, 3), nn.BatchNorm1d(3)
        self.drop, self.relu = nn.Dropout(0.5), nn.ReLU()
        self.norm.running_mean.fill_(0.25)
        self.linear.bias.requires_grad_(False)
        self.train()
        self.relu.eval()

    def forward(self, x):
        return self.relu(self.drop(self.norm(self.linear(x))))


def test_the_encoder_comes_back_as_it_was_and_only_the_image_gets_a_gradient():
    model, coder = tiny.textured(), Strict()
    coder.linear.weight.grad = torch.ones(3, 8)
    before, of_model = tiny.condition(coder), tiny.condition(model)
    image = tiny.Pixels(torch.rand(1, 3, 12, 12, generator=seeded(0)))
    objective = latent("3", coder, 1) + latent_neuron("3", coder, 0)
    with Run(model, objective, image, settings=RunSettings(steps=3, preprocess=False)) as run:
        run.iterate()
    assert tiny.condition(coder) == before
    assert tiny.condition(model) == of_model
    assert image.pixels.grad is not None


def test_the_encoder_is_in_eval_mode_for_the_run():
    coder = Strict()
    acts = normal(2, 8, 3, 3).float()
    expected = copy.deepcopy(coder).eval()(acts.movedim(1, -1).reshape(-1, 8))
    found = encoded(coder, acts).movedim(1, -1).reshape(-1, 3)
    assert torch.allclose(found, expected, rtol=0, atol=1e-6)
    assert not found.requires_grad


def test_what_an_encoder_counts_outside_of_its_buffers_stays_as_it_was():
    class Counting(nn.Linear):
        def forward(self, x):
            self.seen += len(x)
            return super().forward(x)

    encoder, acts = Counting(4, 3), normal(2, 4, 3, 2).float().requires_grad_()
    encoder.seen = torch.zeros(())
    latent("a", encoder, 1)(lambda _: acts).backward()
    assert encoder.seen == 0


def test_the_frozen_copy_shares_the_memory_of_the_dictionary():
    coder = nn.Linear(8, 3)
    frozen = FrozenEncoder(coder, CPU)
    assert frozen._module.weight.data_ptr() == coder.weight.data_ptr()
    assert not frozen._module.weight.requires_grad


@pytest.mark.parametrize(
    ("own", "acts", "result"),
    [
        (torch.float32, torch.float64, torch.float64),
        (torch.bfloat16, torch.float32, torch.float32),
        (torch.float32, torch.float16, torch.float32),
        (torch.float64, torch.float32, torch.float64),
    ],
)
def test_encoder_and_activations_meet_in_the_wider_type(own, acts, result):
    coder = nn.Linear(4, 3).to(own)
    found = encoded(coder, normal(2, 4, 3, 3).to(acts))
    assert found.dtype == result
    assert coder.weight.dtype == own


def test_a_latent_has_the_gradient_that_it_says_in_double_precision():
    coder, acts = SparseCoder(bias=0.3), normal(2, 4, 3, 2).requires_grad_()
    for make in (latent("a", coder, 1), latent("a", coder, 1, reduce="max")):
        assert torch.autograd.gradcheck(lambda x, made=make: made(lambda _: x), (acts,))


# Silent latents


@pytest.mark.parametrize("kind", [SparseCoder, Pair])
def test_a_latent_that_is_silent_in_all_of_an_image_gets_the_gradient_from_before(kind):
    coder, acts = kind(bias=-50.0), normal(2, 4, 3, 2).requires_grad_()
    loss = latent("a", coder, 1)(lambda _: acts)
    assert loss == 0
    (gradient,) = torch.autograd.grad(loss, acts)
    expected = -coder.W_enc.detach()[:, 1].view(1, 4, 1, 1).expand_as(acts) / acts[:, 0].numel()
    assert torch.allclose(gradient, expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("wrap", [torch.compile, lambda module: module], ids=["compiled", "plain"])
def test_the_last_relu_of_a_module_is_looked_through(wrap):
    linear = nn.Linear(4, 3)
    linear.bias.data.fill_(-50)
    acts = normal(2, 4, 3, 2).float().requires_grad_()
    encoder = wrap(nn.Sequential(linear, nn.ReLU()))
    (gradient,) = torch.autograd.grad(latent("a", encoder, 1)(lambda _: acts), acts)
    expected = -linear.weight.detach()[1].view(1, 4, 1, 1).expand_as(acts) / 12
    assert torch.allclose(gradient, expected, rtol=0, atol=1e-7)


def test_the_last_relu_may_be_in_place():
    linear = nn.Linear(4, 3, dtype=torch.float64)
    acts, found = normal(2, 4, 3, 2).requires_grad_(), []
    for bias in (-50, 0):
        linear.bias.data.fill_(bias)
        for in_place in (True, False):
            loss = latent("a", nn.Sequential(linear, nn.ReLU(in_place)), 1)(lambda _: acts)
            found.append((loss.item(), *torch.autograd.grad(loss, acts)))
    for one, other in ((0, 1), (2, 3)):
        assert found[one][0] == found[other][0]
        assert torch.equal(found[one][1], found[other][1])
        assert found[one][1].any()


def test_a_latent_that_is_active_somewhere_keeps_its_plain_gradient():
    coder, acts = SparseCoder(), normal(2, 4, 3, 2).requires_grad_()
    active = torch.tensor(twin(acts, coder)[:, 1] > 0)
    assert active.flatten(1).any(1).all()
    assert not active.all()
    (gradient,) = torch.autograd.grad(latent("a", coder, 1)(lambda _: acts), acts)
    assert torch.equal(gradient.ne(0).any(1), active)


def test_each_image_is_silent_by_itself():
    coder, acts = SparseCoder(2, bias=-1.0), torch.zeros(2, 4, 1, 2, dtype=torch.float64)
    direction = coder.W_enc.detach()[:, 0]
    acts[0, :, 0, 1] = 9 * direction / direction.square().sum()  # latent 0 of image 0, at column 1
    acts.requires_grad_()
    (gradient,) = torch.autograd.grad(latent("a", coder, 0)(lambda _: acts), acts)
    assert gradient.ne(0).any(1)[:, 0].tolist() == [[False, True], [True, True]]


def test_a_silent_latent_is_not_pushed_further_into_silence():
    coder, acts = SparseCoder(bias=-50.0), normal(1, 4, 3, 2).requires_grad_()
    (gradient,) = torch.autograd.grad((-latent("a", coder, 1))(lambda _: acts), acts)
    assert not gradient.any()


def test_a_silent_latent_starts_and_grows():
    model = tiny.textured()
    coder = nn.Sequential(nn.Linear(8, 3), nn.ReLU())
    coder[0].weight.data = normal(3, 8, seed=2).float()
    coder[0].bias.data.fill_(-1.0)
    image = tiny.Pixels(torch.full((1, 3, 12, 12), 0.5))
    images = render_vis(
        model, latent("3", coder, 0), lambda: image, transforms=[], preprocess=False,
        thresholds=(60,), progress=False, show_image=False,
    )  # fmt: skip
    assert images.history.loss[0] == 0
    assert images.history.loss[-1] < -0.01


# Results of encoders


@pytest.mark.parametrize(
    "wrap",
    [
        lambda codes: codes,
        lambda codes: (codes - 1, codes),
        lambda codes: (codes, {"k": 3}),
        lambda codes: Result(codes - 1, codes),
    ],
    ids=["tensor", "pair", "info", "dataclass"],
)
def test_the_last_tensor_that_an_encoder_returns_is_the_latents(wrap):
    coder, T = SparseCoder(), passed()
    expected = latent("conv", coder, 2)(T)
    assert latent("conv", lambda x: wrap(coder.encode(x)), 2)(T) == expected


def test_a_method_of_an_encoder_is_an_encoder():
    coder, T = SparseCoder(), passed()
    assert latent("conv", coder.encode, 2)(T) == latent("conv", coder, 2)(T)


@pytest.fixture
def overcomplete(monkeypatch):
    """The package, whose import needs a function that matplotlib no longer has."""
    matplotlib = pytest.importorskip("matplotlib")
    monkeypatch.setattr("matplotlib.cm.get_cmap", matplotlib.colormaps.get_cmap, raising=False)
    return pytest.importorskip("overcomplete.sae")


@pytest.mark.parametrize("kind", ["SAE", "TopKSAE", "JumpSAE", "BatchTopKSAE"])
def test_sparse_autoencoders_of_overcomplete(overcomplete, kind):
    options = {"top_k": 2} if "TopK" in kind else {}
    coder = getattr(overcomplete, kind)(4, 6, **options)
    acts = normal(2, 4, 3, 3).float()
    vectors = acts.movedim(1, -1).reshape(-1, 4)
    coder.train().encode(vectors)
    coder.eval()  # it keeps its dictionary, with what autograd knows of it
    expected = coder.encode(vectors)[1].detach().reshape(2, 3, 3, 6).movedim(-1, 1)
    coder.train()
    assert torch.allclose(encoded(coder, acts), expected, rtol=0, atol=1e-6)
    assert coder.training
    acts.requires_grad_()
    (gradient,) = torch.autograd.grad(latent("a", coder, 1)(lambda _: acts), acts)
    assert gradient.any()


# What was fitted elsewhere


ACTS = normal(40, 6, 4, 4, seed=5).abs().float()


PRECISE = {"NMF": {"tol": 1e-7, "max_iter": 2000}}


@pytest.mark.parametrize("algorithm", ["PCA", "FastICA", "TruncatedSVD", "FactorAnalysis", "NMF"])
def test_reducers_give_their_transform(algorithm):
    reducer = ChannelReducer(3, algorithm, random_state=0, **PRECISE.get(algorithm, {}))
    expected = reducer.fit_transform(ACTS)
    # scikit-learn ends its iterations early.
    tolerance = 2e-3 if algorithm == "NMF" else 1e-5 * expected.abs().max().item()
    assert torch.allclose(encoded(reducer, ACTS), reducer.transform(ACTS), rtol=0, atol=tolerance)
    assert -latent("a", reducer, 2)(lambda _: ACTS).item() == pytest.approx(
        expected[:, 2].mean().item(), abs=tolerance
    )


def test_nmf_weights_are_the_best_non_negative_ones_with_their_gradient():
    nnls = pytest.importorskip("scipy.optimize").nnls
    components = normal(3, 6, seed=8).abs()
    x = (normal(20, 6, seed=9)).requires_grad_()
    fit = NonNegative(components.numpy())
    _, weights = fit(x)
    assert (weights == 0).any()
    expected = [nnls(components.T.numpy(), row)[0] for row in x.detach().numpy()]
    assert np.allclose(weights.detach().numpy(), expected, rtol=0, atol=1e-9)
    assert torch.autograd.gradcheck(lambda x: fit(x)[1], (x,))


@pytest.mark.parametrize("spread", [1e-3, 0.0])
def test_nmf_weights_of_components_that_are_almost_the_same(spread):
    components = 1 + spread * normal(5, 6, seed=8).abs()
    x = (1 + normal(200, 6, seed=9).abs()).requires_grad_()
    _, weights = NonNegative(components.numpy())(x)
    assert (weights >= 0).all()
    shared = x.mean(1, keepdim=True).expand_as(x)  # the one direction that they have in common
    assert (x - weights @ components).norm() < 1.01 * (x - shared).norm()
    (gradient,) = torch.autograd.grad(weights.sum(), x)
    assert gradient.isfinite().all()
    assert gradient.abs().max() < 1e3


def test_linear_probes_of_scikit_learn():
    linear_model = pytest.importorskip("sklearn.linear_model")
    vectors = ACTS.movedim(1, -1).reshape(-1, 6).numpy()
    for n_classes in (2, 3):
        classes = (vectors[:, 0] * n_classes / vectors[:, 0].max() * 0.999).astype(int)
        probe = linear_model.LogisticRegression().fit(vectors, classes)
        expected = probe.decision_function(vectors).reshape(40, 4, 4, -1)
        found = encoded(probe, ACTS).movedim(1, -1).numpy()
        assert np.allclose(found, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("kind", [np.asarray, torch.as_tensor])
def test_directions_are_dot_products(kind):
    directions = normal(2, 6, seed=3).numpy()
    for given in (directions, directions[1]):
        expected = np.einsum("kc,bchw->bkhw", np.atleast_2d(given), ACTS.double().numpy())
        assert np.allclose(encoded(kind(given), ACTS).numpy(), expected, rtol=0, atol=1e-5)


# Objectives are values


def test_description_and_pickle():
    probe = nn.Linear(4, 3)
    made = latent("conv", probe, 2) + latent_neuron("conv", probe, 1, 3, 2, batch=1)
    assert made.description == (
        "Sum(Latent [conv, Linear, 2, mean, None] +\nLatent_Neuron [conv, Linear, 1, 3, 2, 1])"
    )
    T = Pass(conv=normal(3, 4, 5, 8).float())
    assert pickle.loads(pickle.dumps(made))(T) == made(T)
    assert made.layers == {"conv"}


def test_about_one_image():
    coder, T = SparseCoder(), passed()
    assert latent("conv", coder, 2).about(1)(T) == latent("conv", coder, 2, batch=1)(T)


# Errors


def failure(encoder, *, index=0, **options):
    with pytest.raises(InputError) as error:
        latent("conv", encoder, index, **options)(passed())
    return str(error.value)


def test_latent_that_does_not_exist():
    for index in (-1, 5):
        assert f"There is no latent {index}: SparseCoder has 5 latents, 0 to 4." in failure(
            SparseCoder(), index=index
        )
    assert "index=1.5 has to be a whole number" in failure(SparseCoder(), index=1.5)
    with pytest.raises(InputError, match="There is no latent 7: SparseCoder has 5 latents"):
        latent("conv", SparseCoder(), 7).to(CPU)(passed())


@pytest.mark.parametrize("encoder", [nn.Linear(7, 3).double(), SparseCoder(width=7)])
def test_encoder_for_another_width(encoder):
    assert "takes vectors of 7 numbers, but the layer has 4 channels: name" in failure(encoder)


def test_encoder_that_fails_otherwise_is_quoted():
    def odd(x):
        raise ValueError("no such thing")

    assert "on vectors of shape (120, 4), one of 4 channels for each position: no such" in failure(
        odd
    )


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        (lambda x: x.mean(), "returned shape () for 120 vectors; expected latents (120, K)"),
        (lambda x: x[:7], "returned shape (7, 4) for 120 vectors"),
        (lambda x: "codes", "returned a str for 120 vectors"),
        (lambda x: (), "returned nothing for 120 vectors"),
    ],
)
def test_encoder_that_returns_something_else(returned, said):
    message = failure(returned)
    assert said in message
    assert "encoder=lambda x: sae(x)[1]" in message


def test_directions_of_too_many_axes():
    with pytest.raises(InputError, match=r"the shape \(3, 4, 1\), expected is \(C,\) .*\(K, C\)"):
        latent("a", torch.zeros(3, 4, 1), 0)(lambda _: normal(2, 4, 3, 2))


@pytest.mark.parametrize("thing", [3, "sae.pt", None, nn.Linear, {"sae": 1}])
def test_thing_that_is_no_encoder(thing):
    assert "is no encoder: give a module or a function from vectors (M, C)" in failure(thing)


def test_encoder_outside_of_autograd():
    assert "do not depend on the activations for autograd" in failure(lambda x: x.detach() * 2)


def test_reducer_that_has_learned_nothing():
    assert "has no components_ to encode with: fit it" in failure(ChannelReducer(2, "PCA"))


def test_decomposition_that_is_not_linear():
    class Bent:
        components_ = normal(2, 4).numpy()

        def transform(self, x):
            return np.sin(9 * x[:, :2])

    assert "computes neither a linear map nor a non-negative" in failure(Bent())


def test_unknown_reduction():
    assert "reduce='median' is unknown: it is 'mean' or 'max'" in failure(
        SparseCoder(), reduce="median"
    )


def test_module_that_cannot_be_copied():
    class Stubborn(nn.Linear):
        def __deepcopy__(self, memo):
            raise TypeError("cannot pickle a lock")

    assert "cannot be copied for the run: cannot pickle a lock. Give its method alone" in failure(
        Stubborn(4, 2).double()
    )
