"""Fetching, reading and matching weight files, by local addresses only."""

from __future__ import annotations

import hashlib
import http.server
import os
import pickle
import sys
import threading

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from lucent.errors import WeightsError
from lucent.files import checkpoint_folder, fetch
from lucent.util import forked_rng
from lucent.weights import digest, load_weights, read_state_dict

CONTENT = bytes(range(256)) * 9000  # more than two chunks


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """torch.hub's folder for weights, which does not exist yet."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    return tmp_path / "hub" / "checkpoints"


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "source" / "net.pth"
    path.parent.mkdir()
    path.write_bytes(CONTENT)
    return path


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves CONTENT; under /half it breaks off, anything else but /net.pth is missing."""

    def do_GET(self):
        if self.path not in ("/net.pth", "/half/net.pth"):
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        half = self.path.startswith("/half")
        self.wfile.write(CONTENT[: len(CONTENT) // 2] if half else CONTENT)

    def log_message(self, *args):
        pass


@pytest.fixture
def server(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


# --- fetch ---


def test_a_file_is_fetched_once(hub, server, source):
    path = fetch(f"{server}/net.pth", progress=False)
    assert path == hub / "net.pth" == checkpoint_folder() / "net.pth"
    assert path.read_bytes() == CONTENT
    path.write_bytes(b"changed since")
    assert fetch(f"{server}/net.pth").read_bytes() == b"changed since"
    assert os.listdir(hub) == ["net.pth"]


def test_a_file_address_and_another_name(hub, source):
    path = fetch(source.as_uri(), file_name="mine.pth", progress=False)
    assert (path.name, path.read_bytes()) == ("mine.pth", CONTENT)


def test_a_bar_is_shown_only_if_wanted_and_on_a_terminal(hub, source, capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    fetch(source.as_uri(), file_name="a.pth", progress=False)
    assert capsys.readouterr() == ("", "")
    fetch(source.as_uri(), file_name="b.pth")
    assert "2.30M/2.30M" in capsys.readouterr().err
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False)
    fetch(source.as_uri(), file_name="c.pth")
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("url", ["https://host.invalid/", "https://host.invalid", "net.pth/.."])
def test_an_address_without_a_file_is_refused(hub, url):
    hub.mkdir(parents=True)
    with pytest.raises(WeightsError, match=f"{url} names no file.*weights=FILE"):
        fetch(url)


@pytest.mark.parametrize("digits", [8, 64])
def test_a_hash_that_fits_is_accepted_by_its_first_digits(hub, source, digits):
    digest = hashlib.sha256(CONTENT).hexdigest()[:digits].upper()
    assert fetch(source.as_uri(), sha256=digest, progress=False).read_bytes() == CONTENT


def test_a_wrong_hash_is_an_error_and_leaves_nothing(hub, source):
    with pytest.raises(WeightsError, match=r"has the SHA-256 [0-9a-f]{64}, expected was 1234abcd"):
        fetch(source.as_uri(), sha256="1234abcd", progress=False)
    assert os.listdir(hub) == []


def test_a_damaged_file_in_the_folder_is_fetched_anew(hub, source, caplog):
    hub.mkdir(parents=True)
    (hub / "net.pth").write_bytes(CONTENT[:100])
    digest = hashlib.sha256(CONTENT).hexdigest()
    assert fetch(source.as_uri(), sha256=digest, progress=False).read_bytes() == CONTENT
    assert "is damaged" in caplog.text


def test_an_interrupted_download_is_an_error_and_leaves_nothing(hub, server):
    with pytest.raises(WeightsError, match=r"ended after 1152000 of 2304000 bytes"):
        fetch(f"{server}/half/net.pth", progress=False)
    assert os.listdir(hub) == []


def test_ctrl_c_leaves_nothing(hub, source, monkeypatch):
    def interrupted(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fetch(source.as_uri(), progress=False)
    assert os.listdir(hub) == []


@pytest.mark.parametrize(
    "make_url",
    [
        lambda server: f"{server}/missing/net.pth",
        lambda server: "http://127.0.0.1:1/net.pth",
        lambda server: "http://no.such.host.invalid/net.pth",
        lambda server: "file:///no/such/net.pth",
        lambda server: "nonsense/net.pth",
    ],
    ids=["404", "refused", "offline", "file", "no address"],
)
def test_a_failed_download_names_the_file_the_address_and_the_folder(hub, server, make_url):
    url = make_url(server)
    with pytest.raises(WeightsError) as caught:
        fetch(url, progress=False)
    text = str(caught.value)
    assert text.startswith(f"net.pth could not be downloaded from {url} (")
    assert f"put it into {hub}" in text
    assert os.listdir(hub) == []


# --- reading ---


def test_a_state_dict_is_read_onto_the_cpu(tmp_path):
    state = nn.Linear(2, 3).state_dict()
    torch.save(state, tmp_path / "a.pth")
    read = read_state_dict(tmp_path / "a.pth")
    assert all(torch.equal(read[name], value) for name, value in state.items())


class Malicious:
    """Would create a file when unpickled without care."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_code_in_a_file_is_not_run(tmp_path):
    for name, save in (("torch.pth", torch.save), ("plain.pth", dump)):
        save({"weight": Malicious(tmp_path / "harm")}, tmp_path / name)
        with pytest.raises(WeightsError, match="could not be read as weights"):
            read_state_dict(tmp_path / name)
    assert not (tmp_path / "harm").exists()


def dump(value, path):
    path.write_bytes(pickle.dumps(value, protocol=2))


def test_code_in_a_trusted_file_is_run(tmp_path):
    torch.save({"weight": Malicious(tmp_path / "done")}, tmp_path / "a.pth")
    with pytest.raises(WeightsError, match=r"holds the keys \['weight'\]"):
        read_state_dict(tmp_path / "a.pth", trust=True)
    assert (tmp_path / "done").exists()


def test_an_untrusted_pickle_tells_how_to_trust_it(tmp_path):
    torch.save({"weight": Malicious(tmp_path / "harm")}, tmp_path / "a.pth")
    with pytest.raises(WeightsError, match=r"trust=True \(on the command line --trust\)"):
        read_state_dict(tmp_path / "a.pth")


def test_a_trusted_model_gives_its_state_dict(tmp_path):
    source = nn.Linear(2, 3)
    torch.save(source, tmp_path / "a.pth")
    assert torch.equal(read_state_dict(tmp_path / "a.pth", trust=True)["bias"], source.bias)


def test_safetensors_are_read(tmp_path):
    state = nn.Linear(2, 3).state_dict()
    save_file(state, tmp_path / "a.safetensors")
    read = read_state_dict(tmp_path / "a.safetensors")
    assert {name: value.tolist() for name, value in read.items()} == {
        name: value.tolist() for name, value in state.items()
    }
    (tmp_path / "bad.safetensors").write_bytes(b"not weights")
    with pytest.raises(WeightsError, match=r"bad\.safetensors could not be read as weights"):
        read_state_dict(tmp_path / "bad.safetensors")


@pytest.mark.parametrize("key", ["state_dict", "model_state_dict", "model"])
def test_the_state_dict_in_a_checkpoint_is_found(tmp_path, key):
    source = nn.Linear(2, 3)
    torch.save({"epoch": 3, key: source.state_dict(), "optimizer": {}}, tmp_path / "a.pth")
    assert torch.equal(read_state_dict(tmp_path / "a.pth")["weight"], source.weight)


def test_a_parameter_named_like_the_key_of_a_checkpoint_is_a_parameter(tmp_path):
    torch.save({"model": torch.ones(3)}, tmp_path / "a.pth")
    assert read_state_dict(tmp_path / "a.pth")["model"].tolist() == [1.0] * 3


@pytest.mark.parametrize("keep", [0, 1, 100, 0.5, -1])
def test_a_damaged_file_is_an_error_that_names_it(tmp_path, keep):
    path = tmp_path / "a.pth"
    torch.save(nn.Linear(20, 30).state_dict(), path)
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content)) if isinstance(keep, float) else keep])
    with pytest.raises(WeightsError, match=r"a\.pth could not be read as weights"):
        read_state_dict(path)


@pytest.mark.parametrize(
    "content", [b"<html>not found</html>", b"PK\x03\x04 not a zip", b"\x80\x02."]
)
def test_a_file_of_another_kind_is_an_error_that_names_it(tmp_path, content):
    (tmp_path / "a.pth").write_bytes(content)
    with pytest.raises(WeightsError, match=r"a\.pth could not be read as weights"):
        read_state_dict(tmp_path / "a.pth")


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ({"epoch": 3, "state_dict": {}}, r"the keys \['epoch', 'state_dict'\]"),
        ({}, r"the keys \[\]"),  # timm would fetch the published ones instead
        ({0: torch.zeros(1)}, r"the keys \[0\]"),
        ([1, 2], r"list"),
        (torch.zeros(2), r"Tensor"),
    ],
)
def test_other_content_is_an_error_that_tells_what_to_save(tmp_path, content, text):
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(WeightsError, match=rf"{text}.*torch\.save\(model\.state_dict\(\), file\)"):
        read_state_dict(tmp_path / "a.pth")


def test_a_missing_file_is_an_error_that_names_it(tmp_path):
    with pytest.raises(WeightsError, match=r"no weight file .*gone\.pth"):
        read_state_dict(tmp_path / "gone.pth")
    with pytest.raises(WeightsError, match="no weight file"):
        read_state_dict(tmp_path)


# --- matching ---


def test_weights_take_the_dtype_of_the_model(tmp_path):
    source = nn.Linear(2, 3)
    torch.save({k: v.half() for k, v in source.state_dict().items()}, tmp_path / "a.pth")
    model = nn.Linear(2, 3).double()
    load_weights(model, tmp_path / "a.pth")
    assert model.weight.dtype == torch.float64
    assert torch.equal(model.weight, source.weight.half().double())


def test_names_lose_what_wrappers_put_before_them_unless_the_model_has_it(tmp_path):
    source = nn.Linear(2, 3)
    state = {f"module.{name}": value for name, value in source.state_dict().items()}
    torch.save(state, tmp_path / "a.pth")
    plain, wrapped = nn.Linear(2, 3), nn.DataParallel(nn.Linear(2, 3))
    for model in (plain, wrapped):
        load_weights(model, tmp_path / "a.pth")
    assert torch.equal(plain.weight, source.weight)
    assert torch.equal(wrapped.module.weight, source.weight)


def test_batch_norms_older_than_their_counter_are_accepted(tmp_path):
    state = nn.BatchNorm2d(3).state_dict()
    del state["num_batches_tracked"]
    state._metadata[""]["version"] = 1
    torch.save(state, tmp_path / "a.pth")
    model = nn.BatchNorm2d(3)
    with torch.no_grad():
        model.weight.zero_()
    load_weights(model, tmp_path / "a.pth")
    assert model.weight.tolist() == [1.0] * 3


def test_misfits_are_an_error_that_names_the_file_and_the_first_three(tmp_path):
    torch.save(nn.Sequential(*[nn.Linear(2, 2)] * 4).state_dict(), tmp_path / "a.pth")
    with pytest.raises(WeightsError) as caught:
        load_weights(nn.Sequential(nn.Linear(2, 2)), tmp_path / "a.pth")
    text = str(caught.value)
    assert "a.pth does not fit Sequential: 1.weight is unknown to the model; 1.bias is" in text
    assert "(and 3 more)" in text
    with pytest.raises(WeightsError, match=r"4\.weight is missing; 4\.bias is missing"):
        load_weights(nn.Sequential(*[nn.Linear(2, 2)] * 5), tmp_path / "a.pth")
    with pytest.raises(WeightsError, match=r"size mismatch for 0\.weight.*\[2, 2\].*\[3, 2\]"):
        load_weights(nn.Sequential(nn.Linear(2, 3)), tmp_path / "a.pth")


def test_a_digest_tells_networks_apart():
    model = tiny_network()
    own = digest(model)
    assert len(own) == 16
    assert digest(tiny_network()) == own
    assert digest(model.half()) != own
    other = tiny_network()
    with torch.no_grad():
        next(other.parameters()).view(-1)[0] += 1
    assert digest(other) != own
    # Equal bytes of another type, or in another shape, are other numbers.
    zeros = [torch.zeros(4), torch.zeros(4, dtype=torch.int32), torch.zeros(2, 2)]
    assert len({digest(with_buffer(each)) for each in zeros}) == 3


def with_buffer(values):
    model = torch.nn.Identity()
    model.register_buffer("values", values)
    return model


def tiny_network():
    with forked_rng(0):
        return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
