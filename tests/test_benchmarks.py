from __future__ import annotations

import copy
import functools
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn
from torchvision.models import ResNet, VisionTransformer
from torchvision.models.resnet import Bottleneck

# At the end of the path: the lucent under test is the one installed.
sys.path.append(str(Path(__file__).parents[1]))

from benchmarks import contenders, processes, speed
from benchmarks.contenders import Sample, Setup, measure_render, measure_run, open_run
from benchmarks.floor import Floor, FourierPicture, truncated
from benchmarks.naive import IndexedReLU, Naive
from benchmarks.worker import Worker, forget_peak, peak_megabytes
from benchmarks.workloads import WORKLOADS, Workload
from lucent.modelzoo.spec import ModelSpec
from lucent.optvis.loop import Run, RunSettings

CPU = torch.device("cpu")
SYNTHNET = "synthnet mixed4a"


def tiny_resnet():
    model = ResNet(Bottleneck, [2, 1, 1, 1], num_classes=5)
    model.spec = ModelSpec("tiny", (40, 40), mean=(0.4, 0.5, 0.6), std=(0.3,) * 3)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight, module.running_var):
                nn.init.uniform_(tensor, 0.5, 1.5)
            for tensor in (module.bias, module.running_mean):
                nn.init.normal_(tensor)
    return model.eval()


def tiny_transformer():
    model = VisionTransformer(48, 16, 3, 2, 32, 64, num_classes=5)
    model.spec = ModelSpec("tiny", (48, 48), fixed_size=True, mean=(0.4,) * 3, std=(0.3,) * 3)
    return model.eval()


#: Every architecture at sizes that take milliseconds; an odd number of positions among them.
SMALL = {
    "inceptionv1": replace(WORKLOADS["inceptionv1 mixed4a"], size=32, seen=68),
    "resnet": Workload(tiny_resnet, "layer2", 3, size=32, seen=40),
    "transformer": Workload(tiny_transformer, "encoder.layers.encoder_layer_1", 3, 32, 48, True),
    "synthnet": replace(WORKLOADS[SYNTHNET], size=32, seen=32),
}


@functools.cache
def small_model(name):
    torch.manual_seed(0)
    return SMALL[name].build().double()


def small(name, *, batch=1, same_size=False):
    workload = SMALL[name]
    if same_size:
        workload = replace(workload, size=workload.seen)
    return Setup(workload, small_model(name), batch)


def losses(step, n=3):
    return torch.stack([step() for _ in range(n)])


def losses_of_run(run, start, n=3):
    with run, torch.no_grad():
        (spectrum,) = run.image.trainable()
        spectrum.copy_(start)
        with torch.enable_grad():
            for _ in range(n):
                next(run)
    return torch.tensor([float(loss) for loss in run.history.loss], dtype=torch.float64)


@pytest.mark.filterwarnings("ignore:The gradient is zero")
@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("name", SMALL)
def test_the_floor_runs_the_race_of_the_library(name, batch):
    setup = small(name, batch=batch)
    floor = Floor(setup.workload, setup.model, batch)
    start = floor.picture.spectrum.detach().clone()
    expected = losses_of_run(open_run(setup), start)
    assert expected.abs().min() > 0
    assert expected.unique().numel() == 3
    # The constants of a library image are float32: its colours and its spectrum.
    torch.testing.assert_close(losses(floor.step), expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("name", SMALL)
def test_the_naive_way_runs_the_race_of_the_library_where_no_transform_differs(name):
    setup = small(name, same_size=True)
    naive = Naive(setup.workload, setup.model, transforms=False)
    start = naive.picture.spectrum.detach().clone()
    settings = RunSettings(seed=0)
    image = setup.workload.image(setup.model, 1)
    run = Run(setup.model, setup.workload.objective, image, settings=settings)
    # The gradient that its ReLU lets through in InceptionV1 is another one.
    n = 1 if name == "inceptionv1" else 3
    expected = losses_of_run(run, start, n)
    torch.testing.assert_close(losses(naive.step, n), expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("name", SMALL)
def test_floor_and_naive_way_take_the_same_steps_without_transforms(name):
    setup = small(name, same_size=True)
    ways = [kind(setup.workload, setup.model, 2, transforms=False) for kind in (Floor, Naive)]
    n = 1 if name == "inceptionv1" else 3
    floor, naive = (losses(way.step, n) for way in ways)
    torch.testing.assert_close(floor, naive, rtol=1e-10, atol=0)


def test_the_transforms_of_the_naive_way_move_the_picture_a_little():
    setup = small("synthnet")
    naive = Naive(setup.workload, setup.model)
    position = torch.linspace(0, 1, 32, dtype=torch.float64).expand(1, 3, 32, 32)
    seen = naive._transformed(position)
    assert seen.shape == (1, 3, 32, 32)
    # 32 of 56 pixels are the picture; the middle of it stays within a jitter of 4 + 2 pixels.
    assert (seen[..., 16, 16] - 0.5).abs().max() < 7 / 32 + 0.05
    assert (seen[0, 0] - naive._transformed(position)[0, 0]).abs().max() > 0.01


def test_the_floor_stops_at_its_layer():
    setup = replace(small("resnet"), model=copy.deepcopy(small_model("resnet")))
    for later in ("layer3", "fc"):
        setattr(setup.model, later, nn.Module())  # which cannot be called
    assert Floor(setup.workload, setup.model).step().isfinite()


def test_the_floor_leaves_the_network_alone_and_wants_no_gradient_of_it():
    setup = small("resnet")
    before = {key: value.clone() for key, value in setup.model.state_dict().items()}
    floor = Floor(setup.workload, setup.model)
    floor.step()
    assert all(p.requires_grad and p.grad is None for p in setup.model.parameters())
    assert not any(p.requires_grad for p in floor._model.parameters())
    for key, value in setup.model.state_dict().items():
        assert torch.equal(value, before[key])
        assert value.stride() == before[key].stride()


@pytest.mark.parametrize("name", ["inceptionv1", "resnet"])
def test_folded_and_handwritten_layers_compute_what_the_network_does(name):
    setup = small(name)
    image = torch.randn(2, 3, 68, 68, dtype=torch.float64)
    outputs = []
    layer = setup.model.get_submodule(setup.workload.layer)
    with torch.no_grad():
        handle = layer.register_forward_hook(lambda *args: outputs.append(args[-1].clone()))
        setup.model(image)
        handle.remove()
        found = truncated(setup.model, setup.workload.layer)(image)
    torch.testing.assert_close(found, outputs[0], rtol=1e-9, atol=1e-9)


def test_the_naive_way_runs_the_whole_network_and_takes_the_gradients_of_its_weights():
    setup = small("resnet")
    naive = Naive(setup.workload, setup.model)
    naive.step()
    assert naive._outputs["fc"].shape == (1, 5)
    assert naive._outputs.keys() == {name for name, _ in setup.model.named_modules()}
    assert naive._model.conv1.weight.grad.abs().sum() > 0
    assert setup.model.conv1.weight.grad is None


def test_the_relu_of_the_naive_way_leaks_a_tenth():
    x = torch.tensor([-2.0, 0.0, 3.0], requires_grad=True)
    y = IndexedReLU.apply(x)
    y.backward(torch.tensor([10.0, 20.0, 30.0]))
    assert y.tolist() == [0, 0, 3]
    assert x.grad.tolist() == [1, 20, 30]


def test_the_start_image_of_the_floor_is_the_same_every_time():
    spec = ModelSpec("any")
    first, second = (FourierPicture(spec, 16, 2, torch.zeros(1)) for _ in range(2))
    assert torch.equal(first(), second())
    assert first().shape == (2, 3, 16, 16)
    assert first().min() > 0
    assert first().max() < 1


@pytest.mark.parametrize("way", [measure_render, measure_run])
def test_only_the_steps_after_the_discarded_ones_are_timed(monkeypatch, way):
    done = []
    step = Run.__next__

    def counted(run):
        done.append(run.step)
        return step(run)

    monkeypatch.setattr(Run, "__next__", counted)
    monkeypatch.setattr(contenders.time, "process_time", lambda: 2.0 * len(done))
    monkeypatch.setattr(contenders.time, "perf_counter", lambda: 3.0 * len(done))
    setup = Setup(SMALL["synthnet"], SMALL["synthnet"].build(), 1)
    assert way(setup, 4) == Sample(cpu=2.0, wall=3.0)
    assert done[:7] == [*range(7)]  # another call may find the end


def test_the_ways_take_turns_and_each_is_first():
    turns = []

    def way(name):
        return lambda steps: turns.append((name, steps)) or Sample(1.0, 1.0)

    samples = speed.race({name: way(name) for name in "abc"}, steps=5, repeats=3)
    assert [name for name, steps in turns if steps == 5] == [*"abc", *"bca", *"cab"]
    assert [name for name, steps in turns if steps == 1] == [*"abc"]
    assert {name: len(own) for name, own in samples.items()} == {"a": 3, "b": 3, "c": 3}


def result(*seconds):
    return speed.Result([Sample(s, 2 * s) for s in seconds], 500.2)


def test_ratios_are_of_the_same_turn():
    # A minute in which the machine was ten times slower changes nothing.
    floor, other = result(0.1, 1.0, 0.1), result(0.12, 1.2, 0.12)
    assert other.relative_to(floor, "cpu") == pytest.approx(1.2, rel=1e-12)
    assert other.relative_to(floor, "wall") == pytest.approx(1.2, rel=1e-12)


def test_a_line_of_the_table():
    results = {"render_vis": result(0.012, 0.011, 0.02)}
    results |= {"floor": result(0.01, 0.01, 0.01), "naive": result(0.024, 0.024, 0.024)}
    lines = speed.rows("net", 16, results)
    assert lines[0] == [
        *("net", "16", "render_vis", "12.0 (11.0-20.0)", "24.0 (22.0-40.0)"),
        *("1.20", "1.20", "0.50", "500"),
    ]
    assert {len(line) for line in lines} == {len(speed.HEADER)}


def test_tables_as_text_and_as_markdown():
    lines = [["long name", "1"], ["b", "22"]]
    assert speed.table(["a", "n"], lines, markdown=False).split("\n") == [
        "a          n",
        "long name  1",
        "b          22",
    ]
    assert speed.table(["a", "n"], lines, markdown=True).split("\n") == [
        "| a | n |",
        "| --- | --- |",
        "| long name | 1 |",
        "| b | 22 |",
    ]


def test_command_line():
    options = speed.parse(["--workloads", "resnet50 layer1", "--batch", "1", "16"])
    assert (options.workloads, options.batch) == (["resnet50 layer1"], [1, 16])
    assert speed.parse([]).workloads == list(WORKLOADS)
    assert speed.parse(["--many"]).many == 16
    quick = speed.parse(["--quick"])
    assert (quick.workloads, quick.repeats) == ([SYNTHNET], 2)
    with pytest.raises(SystemExit):
        speed.parse(["--workloads", "alexnet"])


@pytest.fixture
def own_threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.slow
@pytest.mark.usefixtures("own_threads")
def test_a_quick_run_prints_every_way(capsys):
    speed.main(["--quick", "--steps", "1", "--markdown"])
    printed = capsys.readouterr().out
    ways = re.findall(r"^\| synthnet mixed4a \| 1 \| (.+?) \| \d", printed, flags=re.MULTILINE)
    assert ways == ["render_vis", "Run", "floor", "naive"]
    assert torch.__version__ in printed


@pytest.mark.usefixtures("own_threads")
def test_the_profile_names_operations(capsys):
    speed.main(["--quick", "--steps", "1", "--profile"])
    printed = capsys.readouterr().out
    # The longest; which of the short ones are among the first differs from run to run.
    assert "convolution_backward" in printed
    assert printed.count("aten::") > 10


@pytest.mark.filterwarnings("ignore:The gradient is zero")  # as it is for some of the units
def test_many_units_against_one_by_one(monkeypatch):
    done = []
    step = Run.__next__
    monkeypatch.setattr(Run, "__next__", lambda run: done.append(run) or step(run))
    for clock in ("process_time", "perf_counter"):
        monkeypatch.setattr(contenders.time, clock, lambda: 2.0 * len(done))
    options = speed.parse(["--quick", "--steps", "1", "--many", "2"])
    # A step of two seconds is one of each of two pictures, or of one.
    assert speed.many(SYNTHNET, options) == [
        SYNTHNET,
        "1000.0 (1000.0-1000.0)",
        "2000.0 (2000.0-2000.0)",
        "0.50",
        "0.50",
    ]


def test_imports_are_compared_within_a_repeat():
    seconds = {name: [1.0, 5.0, 1.0] for name in processes.IMPORTS}
    seconds["import torch, lucent"] = [1.25, 5.25, 1.25]
    assert processes.beyond_torch(seconds) == {
        "import torch, lucent": 0.25,
        "the names of a script": 0.0,
    }


def test_memory_is_printed_at_the_steps_asked_for(capsys):
    processes.print_memory_at(1, 2)
    first, second = map(float, capsys.readouterr().out.split())
    assert 50 < first < 1e5
    assert second == pytest.approx(first, rel=0.5)


def test_resident_memory_is_in_megabytes():
    before = processes.resident_megabytes()
    # More than an allocator keeps in store.
    kept = torch.ones(400, 2**18)
    assert processes.resident_megabytes() - before == pytest.approx(400, abs=100)
    assert kept.all()


def test_a_worker_says_what_went_wrong():
    unknown = Worker("unknown way", SYNTHNET, 1, device="cpu", threads=1)
    with (
        unknown,
        pytest.raises(RuntimeError, match="worker unknown way synthnet mixed4a 1 .* ended"),
    ):
        unknown(1)


def test_peak_memory_is_that_of_the_time_since():
    gone = torch.ones(800, 2**18)
    del gone
    forget_peak(CPU)
    before = peak_megabytes(CPU)
    gone = torch.ones(400, 2**18)
    del gone
    assert peak_megabytes(CPU) - before == pytest.approx(400, abs=60)


@pytest.mark.slow
def test_the_memory_of_a_worker_grows_with_the_batch():
    peaks = []
    for batch in (1, 16):
        with Worker("floor", SYNTHNET, batch, device="cpu", threads=1) as worker:
            assert worker(2).wall > 0
            peaks.append(worker.peak())
    assert peaks[1] > peaks[0] + 50


@pytest.mark.slow
@pytest.mark.parametrize("name", WORKLOADS)
def test_signals_neither_vanish_nor_become_denormal(name):
    setup = Setup.of(name, 1, CPU)
    floor = Floor(setup.workload, setup.model)
    with torch.no_grad():
        image = floor.picture() - 0.5
        image = torch.nn.functional.interpolate(image, setup.workload.seen, mode="bilinear")
        acts = floor._forward(torch.addcmul(floor._shift, image, floor._gain))
    assert setup.workload.score(acts).abs() > 0.01
    assert not ((acts != 0) & (acts.abs() < torch.finfo(torch.float32).tiny)).any()
    floor.step()
    assert floor.picture.spectrum.grad.abs().max() > 1e-10
