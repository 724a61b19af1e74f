"""Files of weights: written, read, refused."""

from __future__ import annotations

import os

import numpy as np
import pytest

from sleepfm_jax.errors import WeightsError
from sleepfm_jax.interop.files import read_weights, write_weights

SD = {
    "fc.weight": np.arange(6, dtype=np.float32).reshape(2, 3),
    "bn.num_batches_tracked": np.array(4, np.int64),
}
ABOUT = {"kind": "set_transformer", "options": {"heads": 4}, "log_scale": 0.5}


def same(read):
    return sorted(read) == sorted(SD) and all(
        np.array_equal(read[k], v) and read[k].dtype == v.dtype and read[k].shape == v.shape
        for k, v in SD.items()
    )


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch", reason="SKIPPED FOR WANT OF TORCH: the extra `torch`")


def test_safetensors_there_and_back(tmp_path):
    path = tmp_path / "weights.safetensors"
    write_weights(path, SD, ABOUT)
    read, about = read_weights(path)
    assert same(read) and about == ABOUT


def test_pytorch_there_and_back(tmp_path, torch):
    path = tmp_path / "weights.pt"
    write_weights(path, SD, ABOUT)
    read, about = read_weights(path)
    assert same(read) and about == ABOUT
    loaded = torch.load(path, weights_only=True)
    assert loaded["temperature"] == 0.5
    linear = torch.nn.ModuleDict({"fc": torch.nn.Linear(3, 2, bias=False)})
    linear.load_state_dict({"fc.weight": loaded["state_dict"]["fc.weight"]})


def test_a_training_script_s_file_is_read(tmp_path, torch):
    """The published scripts save optimiser and counters beside the weights."""
    model = torch.nn.Linear(3, 2)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    model(torch.ones(1, 3)).sum().backward()
    optimiser.step()
    path = tmp_path / "best.pt"
    scale = torch.nn.Parameter(torch.tensor(1.5))
    saved = {"epoch": 3, "state_dict": model.state_dict(), "temperature": scale}
    torch.save(saved | {"optim_dict": optimiser.state_dict(), "best_loss": 0.1}, path)
    read, about = read_weights(path)
    assert sorted(read) == ["bias", "weight"] and about == {"log_scale": 1.5}
    half = {"weight": torch.ones(2, dtype=torch.bfloat16)}
    torch.save(half, path)
    assert read_weights(path)[0]["weight"].dtype == np.float32


class Malice:
    """Unpickling this runs a command."""

    def __reduce__(self):
        return os.system, ("touch was_run",)


def test_code_in_a_file_is_refused_and_not_run(tmp_path, torch, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": {"weight": torch.ones(2)}, "surprise": Malice()}, "best.pt")
    with pytest.raises(
        WeightsError, match=r"best\.pt: refused, because .* calls for posix\.system\)"
    ):
        read_weights("best.pt")
    assert [p.name for p in tmp_path.iterdir()] == ["best.pt"]


def test_what_is_no_file_of_weights_is_told(tmp_path, torch):
    text = b"subject,age\n1,63\n"
    for name, told in (
        ("a.pt", "not a PyTorch file|refused"),
        ("a.safetensors", "not a safetensors file"),
        ("a.csv", r"expected a file named \.pt"),
    ):
        (tmp_path / name).write_bytes(text)
        with pytest.raises(WeightsError, match=told):
            read_weights(tmp_path / name)
    with pytest.raises(WeightsError, match=r"no\.pt: no such file"):
        read_weights(tmp_path / "no.pt")
    torch.save(torch.ones(3), tmp_path / "a.pt")
    with pytest.raises(WeightsError, match="holds a Tensor; expected a state dict"):
        read_weights(tmp_path / "a.pt")
    torch.save({"weight": torch.ones(3), "note": "hello"}, tmp_path / "a.pt")
    with pytest.raises(WeightsError, match="note are no tensors"):
        read_weights(tmp_path / "a.pt")
    with pytest.raises(WeightsError, match="expected a file named"):
        write_weights(tmp_path / "a.npz", SD, {})
