"""PyTorch's layers through files, modules and state_dicts, against PyTorch itself."""

from __future__ import annotations

import itertools
import operator
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gru
from cases import assert_same_bits
from reference import Array

torch = pytest.importorskip("torch")
F = torch.nn.functional

TOLERANCE = {torch.float64: 1e-12}
DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
LAYERS = {
    "GRU": torch.nn.GRU,
    "LSTM": torch.nn.LSTM,
    "RNN": torch.nn.RNN,
    "relu": lambda *sizes, **of: torch.nn.RNN(*sizes, nonlinearity="relu", **of),
}
CELLS = {"GRU": torch.nn.GRUCell, "LSTM": torch.nn.LSTMCell, "RNN": torch.nn.RNNCell}
FUNCTION = {"RNN": "tanh", "relu": "relu"}


def randomised(module: Any, seed: int = 0) -> Any:
    """Every number drawn, biases too: fresh ones of some cells are zero and would hide errors."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    return module


def save(kind: str, state: Any, folder: Path) -> Path:
    if kind == "pt":
        torch.save(state, folder / "net.pt")
        return folder / "net.pt"
    safetensors = pytest.importorskip("safetensors.torch")
    safetensors.save_file(dict(state), folder / "net.safetensors")
    return folder / "net.safetensors"


def assert_same_function(net: Any, layer: Any) -> None:
    """Outputs and final states, from a random initial state; the net may be in half precision."""
    dtype = torch.float64 if layer.dtype == "float64" else torch.float32
    net = net.to(dtype)
    rng = np.random.default_rng(1)
    rows = layer.num_layers * (2 if layer.bidirectional else 1)
    x = rng.normal(size=(3, 7, layer.input_size)).astype(layer.dtype)
    states = [
        rng.normal(size=(3, rows, layer.hidden_size)).astype(layer.dtype)
        for _ in range(2 if isinstance(layer, gru.LSTM) else 1)
    ]
    given = [torch.from_numpy(np.swapaxes(state, 0, 1).copy()) for state in states]
    steps = torch.from_numpy(np.swapaxes(x, 0, 1).copy())
    with torch.no_grad():
        y, final = net(steps, tuple(given) if len(given) == 2 else given[0])
    own, last = layer(x, tuple(states) if len(states) == 2 else states[0])
    near = {"rtol": 0, "atol": TOLERANCE.get(dtype, 1e-6)}
    np.testing.assert_allclose(own, y.numpy().swapaxes(0, 1), **near)
    pairs = zip(final, last, strict=True) if len(states) == 2 else [(final, last)]
    for theirs, ours in pairs:
        np.testing.assert_allclose(ours, theirs.numpy().swapaxes(0, 1), **near)


def own(tensor: Any) -> Array:
    """A tensor as NumPy has it."""
    return tensor.float().numpy() if tensor.dtype == torch.bfloat16 else tensor.numpy()


MATRIX = list(itertools.product(LAYERS, (1, 3), (False, True), (False, True), DTYPES))


@pytest.mark.parametrize(("cell", "layers", "both", "bias", "dtype"), MATRIX)
def test_every_layer_opens(
    cell: str, layers: int, both: bool, bias: bool, dtype: Any, tmp_path: Path
) -> None:
    net = LAYERS[cell](4, 5, layers, bidirectional=both, bias=bias, dtype=dtype)
    state = randomised(net).state_dict()
    for file in ("pt", "safetensors"):
        path = save(file, state, tmp_path)
        layer = gru.load_torch(path, "", nonlinearity=FUNCTION.get(cell))
        assert layer.dtype == ("float64" if dtype == torch.float64 else "float32")
        assert (layer.bias, layer.bidirectional, layer.num_layers) == (bias, both, layers)
        assert list(layer.parameters) == list(state)
        for name, tensor in state.items():
            assert_same_bits(layer.parameters[name], own(tensor).astype(layer.dtype), name)
    assert_same_function(net, layer)


@pytest.mark.parametrize(("cell", "bias"), list(itertools.product(CELLS, (False, True))))
def test_every_cell_opens(cell: str, bias: bool, tmp_path: Path) -> None:
    net = randomised(CELLS[cell](4, 5, bias=bias, dtype=torch.float64))
    path = save("pt", net.state_dict(), tmp_path)
    for layer in (gru.load_torch(path, "", nonlinearity=FUNCTION.get(cell)), gru.from_torch(net)):
        rng = np.random.default_rng(2)
        x, *states = (rng.normal(size=(3, n)) for n in (4, 5, 5))
        given = [torch.from_numpy(state) for state in states]
        one = cell != "LSTM"
        with torch.no_grad():
            theirs = net(torch.from_numpy(x), given[0] if one else tuple(given))
        mine = [state[:, None] for state in states]
        y, _ = layer(x[:, None], mine[0] if one else tuple(mine))
        np.testing.assert_allclose(y[:, 0], (theirs if one else theirs[0]).numpy(), atol=1e-12)


@pytest.mark.parametrize(("cell", "layers", "both", "bias", "dtype"), MATRIX)
def test_a_live_module_and_back(cell: str, layers: int, both: bool, bias: bool, dtype: Any) -> None:
    net = LAYERS[cell](
        4, 5, layers, bidirectional=both, bias=bias, dtype=dtype, dropout=0.25 * (layers > 1)
    )
    layer = gru.from_torch(randomised(net))
    assert layer.dropout == 0.25 * (layers > 1)
    assert_same_function(net.eval(), layer)
    again = LAYERS[cell](
        4, 5, layers, bidirectional=both, bias=bias, dtype=getattr(torch, layer.dtype)
    )
    tensors = {name: torch.from_numpy(array) for name, array in gru.to_torch(layer).items()}
    again.load_state_dict(tensors, strict=True)
    for name, tensor in net.state_dict().items():
        assert_same_bits(again.state_dict()[name].numpy(), own(tensor).astype(layer.dtype), name)


def test_the_other_update_gate_is_the_same_function_there() -> None:
    layer = gru.GRU(4, 5, 2, bidirectional=True, update_gate="new", seed=1, dtype="float64")
    net = torch.nn.GRU(4, 5, 2, bidirectional=True, dtype=torch.float64)
    state = {name: torch.from_numpy(array) for name, array in gru.to_torch(layer).items()}
    net.load_state_dict(state, strict=True)
    assert_same_function(net, layer)
    assert_same_bits(state["bias_hh_l1"].numpy()[5:10], -layer.parameters["bias_hh_l1"][5:10])
    assert not np.shares_memory(gru.to_torch(layer)["bias_hh_l1"], layer.parameters["bias_hh_l1"])


# --- whole models ---------------------------------------------------------------------------------


class Net(torch.nn.Module):  # type: ignore[misc]
    """What people write: an embedding, a stack, the last step, two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(11, 4)
        self.encoder = torch.nn.Module()
        self.encoder.rnn = torch.nn.GRU(4, 5, 2, batch_first=True)
        self.hidden = torch.nn.Linear(5, 6, bias=False)
        self.fc = torch.nn.Linear(6, 3)

    def forward(self, x: Any) -> Any:
        y, _ = self.encoder.rnn(self.embedding(x))
        return self.fc(torch.relu(self.hidden(y[:, -1])))


PARTS = ["embedding", "encoder.rnn", gru.Last(), "hidden", gru.Activation("relu"), "fc"]


def wrapped(net: Any, how: str) -> Any:
    state = net.state_dict()
    return {
        "plain": state,
        "module": {"module." + k: v for k, v in state.items()},
        "compiled": {"_orig_mod.module." + k: v for k, v in state.items()},
        "checkpoint": {"epoch": 3, "lr": [0.1], "state_dict": state, "optimizer": {"state": {}}},
        "deep": {"a": {"model": {"module." + k: v for k, v in state.items()}, "best": 0.5}},
    }[how]


@pytest.mark.parametrize("how", ["plain", "module", "compiled", "checkpoint", "deep"])
def test_a_model_by_its_parts(how: str, tmp_path: Path) -> None:
    net = randomised(Net())
    path = save("pt", wrapped(net, how), tmp_path)
    x = np.random.default_rng(0).integers(0, 11, (4, 9))
    with torch.no_grad():
        wanted = net(torch.from_numpy(x)).numpy()
    model = gru.load_torch(path, PARTS)
    np.testing.assert_allclose(model(x), wanted, rtol=0, atol=1e-6)
    assert '"torch"' in model.metadata["source"]
    np.testing.assert_array_equal(gru.from_torch(wrapped(net, how), PARTS)(x), model(x))
    assert repr(gru.load_torch(path, "encoder.rnn.")) == "GRU(4, 5, num_layers=2)"
    names = ["embedding", "encoder.rnn", "hidden", "fc"]
    again = Net()
    tensors = {k: torch.from_numpy(v) for k, v in gru.to_torch(model, names).items()}
    again.load_state_dict(tensors, strict=True)
    listed = torch.nn.ModuleList(
        [
            net.embedding,
            net.encoder.rnn,
            torch.nn.Identity(),
            net.hidden,
            torch.nn.Identity(),
            net.fc,
        ]
    )
    listed.load_state_dict({k: torch.from_numpy(v) for k, v in gru.to_torch(model).items()})
    for name, tensor in net.state_dict().items():
        assert_same_bits(again.state_dict()[name].numpy(), tensor.numpy(), name)


def test_a_sequential_module() -> None:
    nn = torch.nn
    net = nn.Sequential(
        nn.Embedding(7, 4, padding_idx=0),
        nn.Linear(4, 5, bias=False),
        nn.Identity(),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Sequential(nn.Linear(5, 3), nn.Tanh(), nn.Sigmoid()),
        nn.Softmax(dim=-1),
    ).eval()
    x = np.random.default_rng(0).integers(0, 7, (2, 6))
    model = gru.from_torch(randomised(net))
    with torch.no_grad():
        np.testing.assert_allclose(model(x), net(torch.from_numpy(x)).numpy(), rtol=0, atol=1e-6)


def test_one_layer_and_nothing_else(tmp_path: Path) -> None:
    net = randomised(torch.nn.GRU(4, 5))
    path = save("pt", {"model": net.state_dict()}, tmp_path)
    model = gru.load_torch(path)
    assert repr(model) == "Sequential([GRU(4, 5)])"
    assert repr(gru.load(path)) == repr(model)
    two = save("pt", Net().state_dict(), tmp_path)
    with pytest.raises(
        ValueError, match=r"net\.pt: .*encoder\.rnn\.: GRU\(4, 5, num_layers=2\)"
    ) as e:
        gru.load(two)
    assert "gru.load_torch(path, ['embedding', 'encoder.rnn', 'hidden', 'fc'])" in str(e.value)


def test_names_of_ones_own(tmp_path: Path) -> None:
    net = randomised(torch.nn.GRU(4, 5))
    ends = {"weight_ih_l0": "w", "weight_hh_l0": "u", "bias_ih_l0": "b", "bias_hh_l0": "c"}
    renamed = {f"enc/{ends[k]}": v for k, v in net.state_dict().items()}
    path = save("pt", renamed, tmp_path)
    back = {f"enc/{short}": f"enc.{name}" for name, short in ends.items()}
    for rename in (back, back.get, lambda name: back[name]):
        assert_same_function(net, gru.load_torch(path, "enc", rename=rename))


def test_a_matrix_alone(tmp_path: Path) -> None:
    """Widths tell an embedding from a Linear without a bias, or the caller does."""
    state = {"a.weight": torch.randn(6, 4), "b.weight": torch.randn(4, 4)}
    state |= {f"r.{k}": v for k, v in torch.nn.GRU(4, 5).state_dict().items()}
    path = save("pt", state, tmp_path)
    assert "Embedding(6, 4)" in repr(gru.load_torch(path, ["a", "r"]))
    assert "Linear(4, 4, bias=False)" in repr(gru.load_torch(path, [("b", gru.Linear), "r"]))
    assert "Embedding(4, 4)" in repr(gru.load_torch(path, [("b", gru.Embedding), "r"]))
    for prefix in (["b", "r"], "a", ["a"]):
        with pytest.raises(ValueError, match=r"give \('[ab]', gru.Embedding\) or \('[ab]', gru.Li"):
            gru.load_torch(path, prefix)
    assert repr(gru.load_torch(path, ("a", gru.Linear))) == "Linear(4, 6, bias=False)"


def test_the_first_module_may_follow_a_mask(tmp_path: Path) -> None:
    """A square table is as ambiguous after a layer without numbers."""
    state = {"a.weight": torch.randn(4, 4), "b.weight": torch.randn(6, 4)}
    state |= {f"r.{k}": v for k, v in torch.nn.GRU(4, 5).state_dict().items()}
    path = save("pt", state, tmp_path)
    with pytest.raises(ValueError, match=r"give \('a', gru.Embedding\) or"):
        gru.load_torch(path, [gru.Masking(0.0), "a", "r"])
    assert "Embedding(6, 4)" in repr(gru.load_torch(path, [gru.Masking(0.0), "b", "r"]))


def test_no_recurrent_layer_of_a_model_is_left_unread(tmp_path: Path) -> None:
    state = {f"encoder.{k}": v for k, v in torch.nn.GRU(4, 5).state_dict().items()}
    state |= {f"ema.decoder.{k}": v for k, v in torch.nn.LSTM(4, 5).state_dict().items()}
    state |= {f"fc.{k}": v for k, v in torch.nn.Linear(5, 2).state_dict().items()}
    path, parts = save("pt", state, tmp_path), ["encoder", gru.Last(), "fc"]
    for read in (lambda **more: gru.load_torch(path, parts, **more),
                 lambda **more: gru.load(path, prefix=parts, **more),
                 lambda **more: gru.from_torch(state, parts, **more)):  # fmt: skip
        with pytest.raises(
            ValueError, match=r"ema\.decoder\.: LSTM\(4, 5\) would be left unread.*l"
        ):
            read()
        with pytest.raises(ValueError, match=r"leave: no recurrent layer that is left has.*'fc'"):
            read(leave=["ema", "fc"])
        for leave in ("ema", ["ema.decoder."], ""):
            assert repr(read(leave=leave).layers[0]) == "GRU(4, 5)"
    source = gru.load_torch(path, parts, leave="ema").metadata["source"]
    assert "left aside: ema.decoder.: LSTM(4, 5)" in source
    assert repr(gru.load_torch(path, "encoder")) == "GRU(4, 5)"
    assert "left aside: ema" in gru.load(path, prefix="encoder").metadata["source"]
    with pytest.raises(ValueError, match="leave is for a list"):
        gru.load_torch(path, "encoder", leave="ema")


def test_parametrized_modules_give_what_they_compute() -> None:
    net = randomised(torch.nn.GRU(4, 5))
    torch.nn.utils.parametrizations.weight_norm(net, "weight_hh_l0")
    assert_same_function(net, gru.from_torch(net))
    with pytest.raises(ValueError, match="weight_hh_l0' is missing"):
        gru.from_torch(net.state_dict(), "")


def test_views_and_shared_storages(tmp_path: Path) -> None:
    """As from a GPU, where all weights of a layer lie in one storage, and transposed ones."""
    net = randomised(torch.nn.GRU(4, 5, bidirectional=True))
    flat = torch.cat([p.detach().reshape(-1) for p in net.parameters()])
    state, at = {}, 0
    for name, tensor in net.state_dict().items():
        state[name] = flat[at : at + tensor.numel()].reshape(tensor.shape)
        at += tensor.numel()
    state["weight_hh_l0"] = state["weight_hh_l0"].T.contiguous().T
    path = save("pt", state, tmp_path)
    assert path.stat().st_size < 2 * 4 * flat.numel() + 4000
    assert_same_function(net, gru.load_torch(path, ""))


# --- what is refused ------------------------------------------------------------------------------


def without(state: Any, *names: str) -> dict[str, Any]:
    return {k: v for k, v in state.items() if k not in names}


def broken_states() -> dict[str, tuple[dict[str, Any], str]]:
    one = torch.nn.GRU(4, 5).state_dict()
    two = torch.nn.GRU(4, 5, 2, bidirectional=True).state_dict()
    second = {k for k in two if "_l1" in k}
    first = {k for k in two if k not in second}
    return {
        "half a bias": (without(one, "bias_hh_l0"), "bias_hh_l0' is missing"),
        "no input": (without(one, "weight_ih_l0"), "weight_ih_l0' is missing"),
        "half a direction": (without(two, "weight_hh_l1_reverse"), "weight_hh_l1_reverse' is miss"),
        "one direction above": (
            without(two, *(k for k in second if "rev" in k)),
            "_l1_reverse' is",
        ),
        "no first layer": (without(two, *first), "weights of layer 1, but none of layer 0"),
        "an extra tensor": ({**one, "h0": torch.zeros(5)}, "no place for 'h0'"),
        "an odd number": ({**one, "weight_hh_l00": torch.zeros(5)}, "no place for 'weight_hh_l00'"),
        "a cell and a layer": (
            {**one, "weight_hh": torch.zeros(15, 5)},
            "no place for 'weight_hh'",
        ),
        "projection": (torch.nn.LSTM(4, 5, proj_size=3).state_dict(), "proj_size"),
        "gates": ({**one, "weight_hh_l0": torch.zeros(10, 5)}, "weight_hh must have 3\\*H rows"),
        "rows": (
            {**one, "weight_ih_l0": torch.zeros(12, 4)},
            r"weight_ih_l0 must have .*\(15, 4\)",
        ),
        "width above": ({**two, "weight_ih_l1": torch.zeros(15, 5)}, r"weight_ih_l1 .*\(15, 10\)"),
        "integers": ({**one, "bias_ih_l0": torch.zeros(15, dtype=torch.int32)}, "int32"),
        "two dtypes": ({**one, "bias_ih_l0": torch.zeros(15, dtype=torch.float64)}, "one dtype"),
        "vast": ({**one, "weight_ih_l0": torch.zeros(0, 2**24)}, "weight_ih_l0 must have shape"),
    }


@pytest.mark.parametrize("name", broken_states())
def test_what_does_not_add_up_is_refused(name: str, tmp_path: Path) -> None:
    state, message = broken_states()[name]
    path = save("pt", {"enc." + k: v for k, v in state.items()}, tmp_path)
    message = message.replace("'h0", "'enc.h0").replace("'weight_hh'", "'enc.weight_hh'")
    message = message.replace("for 'weight_hh_l00'", "for 'enc.weight_hh_l00'")
    with pytest.raises(ValueError, match=message) as caught:
        gru.load_torch(path, "enc")
    assert str(path) in str(caught.value)


def test_wrong_prefixes_list_what_is_there(tmp_path: Path) -> None:
    path = save("pt", {"model": Net().state_dict(), "ema": Net().state_dict()}, tmp_path)
    for prefix in ("encoder.gru", "encoder", "nothing."):
        with pytest.raises(ValueError, match=r"recurrent prefixes are .*ema\.encoder\.rnn\.: GRU"):
            gru.load_torch(path, prefix)
    with pytest.raises(ValueError, match=r"means several: .*model\.encoder.rnn|ema\.encoder\.rnn"):
        gru.load_torch(path, "encoder.rnn")
    assert repr(gru.load_torch(path, "ema.encoder.rnn")) == "GRU(4, 5, num_layers=2)"
    path = save("pt", torch.nn.Linear(3, 4).state_dict(), tmp_path)
    with pytest.raises(ValueError, match=r"no layer in it is recurrent: .*Linear\(3, 4\)"):
        gru.load_torch(path)
    with pytest.raises(ValueError, match="no tensors by name"):
        gru.load_torch(save("pt", {"epoch": 3}, tmp_path))


def test_a_plain_rnn_must_be_told() -> None:
    state = torch.nn.RNN(4, 5, nonlinearity="relu").state_dict()
    with pytest.raises(ValueError, match="give nonlinearity='tanh'"):
        gru.from_torch(state, "")
    with pytest.raises(ValueError, match="nonlinearity is for an RNN, but this is a GRU"):
        gru.from_torch(torch.nn.GRU(4, 5).state_dict(), "", nonlinearity="tanh")
    with pytest.raises(ValueError, match="nonlinearity must be"):
        gru.from_torch(state, "", nonlinearity="sigmoid")


class Doubled(torch.nn.GRU):  # type: ignore[misc]
    def forward(self, x: Any) -> Any:
        return super().forward(2 * x)


def hooked() -> Any:
    net = torch.nn.GRU(4, 5)
    net.register_forward_hook(lambda *_: None)
    return net


def changed(inner: int, **attributes: Any) -> Any:
    """A chain of chains: the outermost, the inner one or its layer has something of its own."""
    net = torch.nn.Sequential(torch.nn.Sequential(torch.nn.Linear(2, 3)))
    module = (net, net[0], net[0][0])[inner]
    for name, value in attributes.items():
        if name.startswith("register"):
            getattr(module, name)(value)
        else:
            setattr(module, name, value)
    return net


class Called(torch.nn.Linear):  # type: ignore[misc]
    def __call__(self, x: Any) -> Any:
        return 2 * super().__call__(x)


def hook(*_: Any) -> None:
    return None


HOOKED = [
    (lambda i=i, name=name: changed(i, **{name: hook}), ValueError, f"{kind} has {message}")
    for i, kind in enumerate(["Sequential", "Sequential", "Linear"])
    for name, message in (
        ("register_forward_hook", "hooks"),
        ("register_forward_pre_hook", "hooks"),
        ("forward", "a forward of its own"),
    )
]
REFUSED = [
    *HOOKED,
    (lambda: Called(2, 3), ValueError, "Called is no module"),
    (lambda: torch.nn.GRU(4, 5, device="meta"), ValueError, "GRU has no numbers.*'meta'"),
    (lambda: torch.nn.LSTM(4, 5, proj_size=3), ValueError, "proj_size=3"),
    (lambda: torch.nn.Embedding(4, 5, max_norm=1.0), ValueError, "max_norm=1.0"),
    (lambda: torch.nn.Softmax(dim=1), ValueError, "dim=1"),
    (Net, ValueError, "Net is no module that gru knows"),
    (lambda: Doubled(4, 5), ValueError, "Doubled is no module"),
    (hooked, ValueError, "hooks"),
    (lambda: torch.nn.Sequential(torch.nn.Conv1d(1, 1, 1)), ValueError, "Conv1d is no module"),
    (lambda: 3, TypeError, "source must be a PyTorch module"),
    (lambda: "net.pt", TypeError, "source must be a PyTorch module"),
]


@pytest.mark.parametrize(("make", "kind", "message"), REFUSED)
def test_modules_that_are_refused(make: Any, kind: Any, message: str) -> None:
    with pytest.raises(kind, match=message):
        gru.from_torch(make())
    with pytest.raises(ValueError, match="for a state_dict"):
        gru.from_torch(torch.nn.GRU(4, 5), "encoder")


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (gru.GRU(3, 4, reset_after=False), "reset_after=False"),
        (gru.GRU(3, 4, layer_norm=True), "layer_norm=True"),
        (gru.LSTM(3, 4, reverse=True), "direction='reverse'"),
        (gru.RNN(3, 4, zoneout=0.5), "zoneout=0.5"),
        (gru.Last(), "no module of PyTorch"),
        (gru.Sequential([gru.GRU(3, 4), gru.GRU(4, 4, reset_after=False)]), r"layers\[1\]"),
    ],
)
def test_what_torch_lacks_is_not_written(layer: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        gru.to_torch(layer)


def test_bad_calls(tmp_path: Path) -> None:
    path = save("pt", Net().state_dict(), tmp_path)
    for bad, kind in (
        (3, TypeError),
        ([3], TypeError),
        ([gru.GRU(3, 4)], ValueError),
        (("fc", gru.GRU), ValueError),
        (("fc",), ValueError),
    ):
        with pytest.raises(kind, match=r"prefix(\[0\])? must be"):
            gru.load_torch(path, bad)
    with pytest.raises(ValueError, match="given twice"):
        gru.load_torch(path, ["fc", "fc"])
    with pytest.raises(ValueError, match=r"net\.pt: .*expects 6 features"):
        gru.load_torch(path, ["encoder.rnn", "fc"])
    model = gru.load_torch(path, PARTS)
    for names in (["a"], ["a", "a", "b", "c"], "abcd"):
        with pytest.raises((TypeError, ValueError), match="prefix must be a list of different"):
            gru.to_torch(model, names)
    with pytest.raises(TypeError, match="model must be"):
        gru.to_torch({})  # type: ignore[arg-type]


# --- what torch itself writes ---------------------------------------------------------------------


def test_files_of_torch_that_are_refused(tmp_path: Path) -> None:
    net = torch.nn.GRU(4, 5)
    old, whole = tmp_path / "old.pt", tmp_path / "whole.pt"
    torch.save(net.state_dict(), old, _use_new_zipfile_serialization=False)
    torch.save(net, whole)
    made = {"optimizer": torch.optim.Adam(net.parameters()).state_dict(), "args": Path("a")}
    with pytest.raises(ValueError, match=r"before version 1\.6"):
        gru.load_torch(old)
    with pytest.raises(ValueError, match=r"torch\.nn\.modules\.rnn\.GRU; nothing was run"):
        gru.load_torch(whole)
    with pytest.raises(ValueError, match=r"pathlib\..*nothing was run"):
        gru.load_torch(save("pt", made | {"state_dict": net.state_dict()}, tmp_path))
    sparse = {**net.state_dict(), "x": torch.eye(3).to_sparse()}
    with pytest.raises(ValueError, match=r"torch\._utils\._rebuild_sparse_tensor"):
        gru.load_torch(save("pt", sparse, tmp_path))


def test_a_sign_that_is_yet_to_be_turned_is_refused(tmp_path: Path) -> None:
    """Such a tensor's numbers are stored as they were, with a note that they mean the opposite."""
    net = torch.nn.GRU(4, 5)
    state = net.state_dict() | {"weight_ih_l0": torch._neg_view(net.weight_ih_l0.detach())}
    with pytest.raises(gru.UnsupportedError, match="sign is yet to be turned"):
        gru.load(save("pt", state, tmp_path))
    assert_same_bits(
        gru.from_torch(state, "").parameters["weight_ih_l0"], -net.weight_ih_l0.detach().numpy()
    )


def test_a_whole_checkpoint(tmp_path: Path) -> None:
    """What a training script keeps beside the weights: optimiser, schedule, counters, options."""
    net = randomised(torch.nn.GRU(4, 5))
    optimizer = torch.optim.Adam(net.parameters())
    net(torch.zeros(2, 1, 4))[0].sum().backward()
    optimizer.step()
    kept = {
        "model": net.state_dict(),
        "optimizer": optimizer.state_dict(),
        "scheduler": torch.optim.lr_scheduler.StepLR(optimizer, 3).state_dict(),
        "vocabulary": {chr(97 + i): i for i in range(26)},
        "best": torch.tensor(0.5),
        "dtype": torch.float32,
        "device": torch.device("cpu"),
        "shape": torch.Size([3, 4]),
        "frozen": torch.nn.Parameter(torch.ones(2)),
    }
    for protocol in (2, 3, 4, 5):
        path = tmp_path / "net.pt"
        torch.save(kept, path, pickle_protocol=protocol)
        assert_same_function(net, gru.load_torch(path, "model"))


ASIDE: dict[str, Callable[[Any], Any]] = {
    "a list": lambda state: [state],
    "a dict by number": lambda state: {0: state},
    "a tuple in a list": lambda state: [(1, state)],
    "twenty dicts": lambda state: nested(state, 20),
}


def nested(state: Any, depth: int) -> Any:
    return nested({"a": state}, depth - 1) if depth else state


@pytest.mark.parametrize("where", ASIDE)
def test_a_recurrent_layer_is_found_wherever_it_lies(where: str, tmp_path: Path) -> None:
    net, other = torch.nn.GRU(4, 5), torch.nn.LSTM(3, 2)
    aside = ASIDE[where](other.state_dict())
    path = save("pt", {"model": net.state_dict(), "others": aside}, tmp_path)
    with pytest.raises(ValueError, match=r"more than one recurrent layer .*others.*: LSTM\(3, 2\)"):
        gru.load(path)
    with pytest.raises(ValueError, match=r"others.*: LSTM\(3, 2\) would be left unread"):
        gru.load_torch(path, ["model"])
    assert repr(gru.load_torch(path, "model")) == "GRU(4, 5)"


def test_a_list_of_state_dicts(tmp_path: Path) -> None:
    nets = [randomised(torch.nn.GRU(4, 5)), randomised(torch.nn.GRU(4, 5))]
    path = save("pt", [net.state_dict() for net in nets], tmp_path)
    with pytest.raises(ValueError, match=r"Name one, gru\.load_torch\(path, '\[\d\]'\)"):
        gru.load(path)
    for i, net in enumerate(nets):
        assert_same_function(net, gru.load_torch(path, f"[{i}]"))
        gru.load(path, prefix=f"[{i}]", verify=True)


@pytest.mark.filterwarnings("ignore")  # the older of the two is on its way out
@pytest.mark.parametrize("how", ["weight_norm", "parametrizations.weight_norm"])
def test_weights_that_are_computed_are_not_left_unread(how: str, tmp_path: Path) -> None:
    net = torch.nn.GRU(4, 5, bias=False)
    for name in ("weight_ih_l0", "weight_hh_l0"):
        operator.attrgetter(how)(torch.nn.utils)(net, name)
    whole = torch.nn.ModuleDict({"a": net, "b": torch.nn.GRU(4, 5)})
    path = save("pt", whole.state_dict(), tmp_path)
    with pytest.raises(
        ValueError, match=r"a\..*: recurrent weights that are computed .* left unread"
    ):
        gru.load_torch(path, ["b"])
    with pytest.raises(ValueError, match="recurrent weights that are computed from others"):
        gru.load_torch(path, "a")
    found = gru.load_torch(path, ["b"], leave="a")
    assert repr(found) == "Sequential([GRU(4, 5)])"


def test_long_keys_take_no_memory(tmp_path: Path) -> None:
    """Each name below a key would repeat it."""
    tensors = {f"a{i}.weight": torch.zeros(1) for i in range(1000)}
    path = save("pt", {"k" * 100_000: tensors}, tmp_path)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="nested deeper than 64, or have keys too long"):
            gru.load(path)
        taken = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert taken < 20_000_000


def test_a_file_without_checksums(tmp_path: Path) -> None:
    """PyTorch can leave them out, and then writes zeros."""
    net = randomised(torch.nn.GRU(4, 5))
    torch.serialization.set_crc32_options(False)
    path = save("pt", net.state_dict(), tmp_path)
    torch.serialization.set_crc32_options(True)
    assert_same_function(net, gru.load_torch(path, ""))
