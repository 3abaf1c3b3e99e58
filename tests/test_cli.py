"""The command line, as a process: what it writes where, and its exit codes."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import struct
import subprocess
import sys
import termios
from contextlib import suppress

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from process import environment, run_python

import lucent
from lucent import cli, modelzoo
from lucent.cli import _render
from lucent.hooks import Activations
from lucent.optvis import loop, render


@pytest.fixture
def process(tmp_path):
    """Run a command in an empty folder, as a process of its own."""
    return lambda *arguments, **options: run_python(
        "-m", "lucent", *arguments, cwd=tmp_path, **options
    )


@pytest.fixture
def command(tmp_path, monkeypatch, capsys):
    """Run a command in an empty folder, in this process, which is faster."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        code = cli.main([str(argument) for argument in arguments])
        return subprocess.CompletedProcess(arguments, code, *capsys.readouterr())

    return run


def pixels(path):
    return np.asarray(Image.open(path)).astype(float)


def assert_fails(done, *words):
    """Check for exit code 1 and one line on stderr that holds the words."""
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("lucent: error: ")
    assert done.stderr.count("\n") == 1
    assert [word for word in words if word not in done.stderr] == []


def test_render_without_arguments_writes_a_picture_and_says_where(process, tmp_path):
    done = process("render", "--steps", 3)
    assert (done.returncode, done.stdout, done.stderr) == (0, "lucent.png\n", "")
    assert os.listdir(tmp_path) == ["lucent.png"]
    assert pixels(tmp_path / "lucent.png").std() > 1


def test_rendering_maximises_the_unit(command, tmp_path):
    command(
        "render", "conv2:5", "--steps", 30, "--size", 64, "--no-transforms", "--out", "unit.png"
    )
    model = modelzoo.load("synthnet")

    def activation(image):
        batch = torch.as_tensor(image / 255, dtype=torch.float32).permute(2, 0, 1)[None]
        with Activations(model, ["conv2"]) as T, torch.no_grad():
            T.run(modelzoo.spec_of(model).preprocess(batch))
            return T("conv2")[0, 5].mean()

    found = pixels(tmp_path / "unit.png")
    noise = np.random.default_rng(0).integers(0, 256, found.shape).astype(float)
    assert activation(found) > activation(noise) + 0.1


def test_the_seed_decides(command, tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        command("render", "--steps", 2, "--seed", seed, "--out", f"{name}.png")
    a, b, c = (pixels(tmp_path / f"{name}.png") for name in "abc")
    assert (a == b).all()
    assert (a != c).any()


def test_vision_transformers_are_rendered_with_their_preset(command, tmp_path, monkeypatch):
    names = []
    setup = render.setup
    monkeypatch.setattr(
        render,
        "setup",
        lambda *args, **options: names.append(options["preset"]) or setup(*args, **options),
    )
    unit = ("render", "blocks.1:3", "--model", "synthvit", "--steps", 1)
    for chosen in ((), ("--preset", "plain"), ("--no-transforms",)):
        assert command(*unit, *chosen).returncode == 0
    assert [preset.name for preset in names] == ["vit", "plain", "plain"]
    assert_fails(command(*unit, "--preset", "nothing"), "nothing", "plain", "vit")


def test_objectives_become_rows_of_a_sheet(command, tmp_path):
    def sheet(*arguments):
        command("render", *arguments, "--size", 32, "--no-transforms", "--grid", 3)
        return pixels(tmp_path / "lucent.png").reshape(2, 32, 3, 32, 3)

    both = sheet("conv1:0", "conv1:1", "--batch", 3, "--steps", 8)
    start = sheet("conv1:0", "conv1:1", "--batch", 3, "--steps", 1)
    second = sheet("conv1:1", "--batch", 6, "--steps", 8)
    # The start images are the same: where the objective is, too, only rounding may differ.
    assert np.abs(both[1] - second[1]).max() <= 1
    assert (np.abs(both[0] - second[0]).max(axis=(0, 2, 3)) > 10).all()
    assert (np.abs(both - start).max(axis=(1, 3, 4)) > 10).all()


@pytest.mark.parametrize(
    ("n_objectives", "batch", "columns"), [(1, 1, 1), (1, 4, 2), (5, 1, 3), (2, 3, 3), (3, 2, 2)]
)
def test_sheets_are_square_or_one_row_per_objective(n_objectives, batch, columns):
    assert _render._columns(n_objectives, batch) == columns


def test_other_picture_formats(command, tmp_path):
    done = command("render", "--steps", 1, "--out", "new/unit.jpg")
    assert done.stdout == f"{os.path.join('new', 'unit.jpg')}\n"
    assert Image.open(tmp_path / "new" / "unit.jpg").format == "JPEG"


def test_all_numbers_of_the_images_are_kept_on_demand(command, tmp_path):
    done = command("render", "--steps", 1, "--batch", 2, "--size", 32, "--out", "unit.npy")
    assert done.stdout == "unit.npy\n"
    images = np.load(tmp_path / "unit.npy")
    assert images.shape == (2, 32, 32, 3)
    assert 0 < images.std() < 1


def test_a_weight_file_replaces_the_weights(process, tmp_path):
    weights = modelzoo.load("synthnet").state_dict()
    torch.save({key: torch.zeros_like(value) for key, value in weights.items()}, tmp_path / "0.pth")
    done = process("render", "--steps", 2, "--weights", "0.pth")
    # A network of zeros has no gradient, which is a warning, and in one line.
    assert done.returncode == 0
    assert done.stderr.startswith("lucent: warning: The gradient is zero")
    assert done.stderr.count("\n") == 1


def test_a_bad_layer_is_one_line_that_helps(process):
    assert_fails(process("render", "mixed4c:0"), "mixed4c", "mixed4a", "mixed4b")


def test_a_bad_file_is_one_line_that_helps(process, tmp_path):
    (tmp_path / "bad.pth").write_bytes(b"not weights")
    assert_fails(process("render", "--weights", "bad.pth"), "bad.pth", "torch.save")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["render", "mixed4a"], ["'mixed4a'", "layer:channel"]),
        (["render", "mixed4a:100000"], ["100000", "channels"]),
        (["render", "labels:poodle"], ["poodle"]),
        (["render", "--weights", "missing.pth"], ["missing.pth"]),
        (["render", "fc:1", "--model", "resnet51"], ["resnet51", "resnet50"]),
        (["render", "--model", "resnet50"], ["lucent layers --model resnet50"]),
        (["render", "--device", "toaster"], ["toaster", "--device cpu"]),
        (["render", "--steps", "1", "--out", "file/unit.png"], ["file"]),
        (["layers", "--model", "resnet51"], ["resnet51", "resnet50"]),
        (["models", "resnet52x"], ["resnet52x", "lucent models", "hf/OWNER/NAME"]),
        (["layers", "--model", "net.py:build"], ["net.py", "FILE.py:FUNCTION"]),
        (["layers", "--model", "timm/resnet10tt"], ["resnet10tt", "'resnet10t'"]),
    ],
)
def test_other_errors_are_one_line_that_helps(command, tmp_path, arguments, words):
    (tmp_path / "file").touch()
    assert_fails(command(*arguments), *words)


def test_debug_shows_the_traceback(process):
    done = process("render", "mixed4c:0", "--debug")
    assert done.returncode == 1
    assert done.stderr.startswith("Traceback")
    assert "LayerError" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("paint",),
        ("render", "--steps", "0"),
        ("render", "--size", "x"),
        ("render", "--out", "unit.doc"),
    ],
)
def test_wrong_commands_are_usage_errors(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(arguments)
    streams = capsys.readouterr()
    assert (stopped.value.code, streams.out) == (2, "")
    assert "usage: lucent" in streams.err


def test_the_bar_is_shown_on_a_terminal_only(process):
    ours, terminal = os.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("4H", 24, 80, 0, 0))
    done = process("render", "--steps", 3, stderr=terminal)
    os.close(terminal)
    assert "3/3" in screen(ours)
    assert done.stdout == "lucent.png\n"


def screen(terminal):
    """Return what a terminal that is closed at its other end was sent."""
    shown = b""
    with suppress(OSError):  # the end of a terminal is an error on Linux
        while part := os.read(terminal, 4096):
            shown += part
    os.close(terminal)
    return shown.decode()


def test_a_reader_that_goes_away_is_no_error(tmp_path):
    command = [sys.executable, "-m", "lucent", "models"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, cwd=tmp_path, env=environment(), **pipes) as process:
        process.stdout.close()
        said = process.stderr.read()
    assert (process.returncode, said) == (128 + signal.SIGPIPE, b"")


@pytest.fixture
def ctrl_c():
    """Python's answer to Ctrl-C, which a shell may have switched off for what it starts."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c")
def test_an_interrupted_run_still_writes_its_picture(tmp_path, monkeypatch, capsys):
    step = loop.Run.__next__

    def interrupt(run):
        if run.step == 3:
            signal.raise_signal(signal.SIGINT)
        return step(run)

    monkeypatch.setattr(loop.Run, "__next__", interrupt)
    monkeypatch.chdir(tmp_path)
    assert cli.main(["render", "--steps", "50"]) == 128 + signal.SIGINT
    assert capsys.readouterr().out == "lucent.png\n"
    assert pixels("lucent.png").std() > 1


def test_layers_lists_names_types_shapes_and_channels(command):
    rows = [
        line.split() for line in command("layers", "--model", "squeezenet1_0").stdout.splitlines()
    ]
    assert rows[0] == ["layer", "type", "output", "channels"]
    assert ["features.0", "Conv2d", "96x109x109", "96"] in rows
    assert ["classifier.3", "AdaptiveAvgPool2d", "1000x1x1", "1000"] in rows


def test_layers_of_the_embedded_network_can_be_rendered(capsys):
    assert cli.main(["layers"]) == 0
    names = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert {"conv1", "mixed3a", "mixed4b", "head"} <= set(names)


def test_channels_of_tokens_and_of_images_with_channels_last_are_counted(command):
    done = command("layers", "--model", "timm/test_vit")
    rows = [line.split() for line in done.stdout.splitlines()]
    assert ["blocks.0", "Block", "101x64", "64"] in rows
    assert ["blocks.0.attn.qkv", "Linear", "101x192", "192"] in rows
    assert ["blocks.0.mlp.act", "GELU", "101x192", "192"] in rows
    done = command("layers", "--model", "timm/swin_tiny_patch4_window7_224")
    rows = [line.split() for line in done.stdout.splitlines()]
    assert ["layers.1", "SwinTransformerStage", "28x28x192", "192"] in rows


NETWORK = """
from torch import nn
def volumes():
    return nn.Sequential(nn.Conv3d(2, 5, 3), nn.ReLU())
def half():
    return nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU()).bfloat16()
def double():
    return nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU()).double()
"""


@pytest.mark.filterwarnings("ignore::lucent.errors.LucentWarning")
def test_layers_of_a_network_in_a_file_of_the_user(command, tmp_path):
    (tmp_path / "net.py").write_text(NETWORK)
    done = command("layers", "--model", "net.py:volumes", "--size", 8)
    assert [line.split() for line in done.stdout.splitlines()][1] == ["0", "Conv3d", "5x6x6x6", "5"]
    done = command("layers", "--model", "net.py:volumes")
    assert "5x62x62x62" in done.stdout  # as the image that is rendered when no size is given
    for name in ("half", "double"):
        done = command("layers", "--model", f"net.py:{name}", "--size", 8)
        assert [*map(str.split, done.stdout.splitlines())][1] == ["0", "Conv2d", "5x6x6", "5"]


def test_a_network_in_a_folder_of_transformers_is_rendered(command, tmp_path, capsys):
    labels = {0: "cat", 1: "dog"}
    config = transformers.ViTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        image_size=16, patch_size=8, id2label=labels, label2id={"cat": 0, "dog": 1},
    )  # fmt: skip
    transformers.ViTForImageClassification(config).save_pretrained(tmp_path / "net")
    stored = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    (tmp_path / "net" / "preprocessor_config.json").write_text(json.dumps(stored))
    capsys.readouterr()
    options = ("--model", "hf/net", "--steps", 2)
    assert command("render", "labels:dog", *options, "--out", "a.png").stdout == "a.png\n"
    unit = "vit.layers.0.mlp:3" if hasattr(transformers.ViTModel(config), "layers") else "labels:0"
    assert command("render", unit, *options, "--out", "b.png").stdout == "b.png\n"
    assert (pixels(tmp_path / "a.png") != pixels(tmp_path / "b.png")).any()


def test_a_pickle_is_run_with_trust_only(command, tmp_path):
    torch.save(modelzoo.load("synthnet"), tmp_path / "whole.pth")
    options = ("render", "--steps", 1, "--weights", "whole.pth")
    assert_fails(command(*options), "whole.pth", "--trust")
    assert command(*options, "--trust").stdout == "lucent.png\n"


def test_models_are_listed_by_pattern(capsys):
    assert cli.main(["models", "squeezenet1"]) == 0
    assert capsys.readouterr().out == "squeezenet1_0\nsqueezenet1_1\n"
    assert cli.main(["models", "timm/test_vit*"]) == 0
    assert "timm/test_vit\n" in capsys.readouterr().out


def test_the_list_of_all_models_says_what_is_not_in_it(capsys):
    assert cli.main(["models"]) == 0
    streams = capsys.readouterr()
    expected = {"synthnet", "inceptionv1", "resnet50", "timm/resnet10t", "open_clip/ViT-B-32"}
    assert expected <= set(streams.out.split())
    assert "hf/OWNER/NAME" in streams.err
    assert streams.err.count("\n") == 1


def test_the_version_is_that_of_the_package(capsys):
    with pytest.raises(SystemExit, match=r"^0$"):
        cli.main(["--version"])
    assert capsys.readouterr().out == f"lucent {lucent.__version__}\n"
