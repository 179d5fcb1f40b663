"""Layers against PyTorch's, where PyTorch has the form: outputs, states and gradients."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from cases import Case, Data, as_state, as_tuple, cases, data, make_layer, options
from reference import Array, Spec

torch = pytest.importorskip("torch")

# PyTorch has reset after with "keep", LSTM and RNN; no masks with holes, no sequence of length 0.
CASES = [
    case
    for case in cases(600, seed=8, large=0.3)
    if case.spec.reset_after
    and case.spec.update_gate == "keep"
    and case.spec.direction != "reverse"
    and case.padding != "mask"
    and case.batch > 0
    and case.steps > 0
]
SIZES = Case(Spec("gru", 24, 64, 3, "both"), 16, 40, "lengths", True, seed=8001)
LARGE = [replace(SIZES, spec=replace(SIZES.spec, cell=cell)) for cell in ("gru", "lstm", "rnn")]


def torch_net(spec: Spec, d: Data) -> Any:
    net = {"gru": torch.nn.GRU, "lstm": torch.nn.LSTM, "rnn": torch.nn.RNN}[spec.cell](
        spec.input_size,
        spec.hidden_size,
        spec.num_layers,
        bias=spec.bias,
        batch_first=True,
        bidirectional=spec.direction == "both",
        dtype=getattr(torch, str(d.x.dtype)),
        **({} if spec.cell == "gru" else options(spec)),
    )
    net.load_state_dict({name: torch.from_numpy(v.copy()) for name, v in d.params.items()})
    return net


def swapped(a: Array) -> Any:
    """A state in PyTorch's axis order, as a leaf."""
    return torch.from_numpy(np.swapaxes(a, 0, 1).copy()).requires_grad_()


def torch_results(spec: Spec, d: Data, lengths: Array | None) -> tuple[Array, list[Array], Any]:
    """y, final states, and all gradients under the names of the engine."""
    net = torch_net(spec, d)
    x = torch.from_numpy(d.x.copy()).requires_grad_()
    states = None if d.state is None else [swapped(s) for s in d.state]
    given = None if states is None else as_state(tuple(states))
    if lengths is None:
        y, final = net(x, given)
    else:
        packed = torch.nn.utils.rnn.pack_padded_sequence(
            x, torch.from_numpy(lengths), batch_first=True, enforce_sorted=False
        )
        out, final = net(packed, given)
        y, _ = torch.nn.utils.rnn.pad_packed_sequence(
            out, batch_first=True, total_length=d.x.shape[1]
        )
    loss = (y * torch.from_numpy(d.dy.copy())).sum()
    for s, ds in zip(as_tuple(final), d.dstate, strict=True):
        loss = loss + (s * torch.from_numpy(np.swapaxes(ds, 0, 1).copy())).sum()
    loss.backward()
    grads = {name: p.grad.numpy() for name, p in net.named_parameters()}
    grads["x"] = x.grad.numpy()
    for i, s in enumerate(states or []):
        grads[f"state{i}"] = np.swapaxes(s.grad.numpy(), 0, 1)
    finals = [np.swapaxes(s.detach().numpy(), 0, 1) for s in as_tuple(final)]
    return y.detach().numpy(), finals, grads


def compare(case: Case, dtype: str, tolerance: float, gradient_tolerance: float) -> None:
    d, spec = data(case, dtype), case.spec
    lengths = None if d.lengths is None else np.maximum(d.lengths, 1)
    y_torch, finals, grads_torch = torch_results(spec, d, lengths)
    layer = make_layer(spec, d.params)
    y, state, tape = layer.forward(d.x, as_state(d.state), lengths=lengths)
    dx, dstate, grads = layer.backward(tape, d.dy, as_state(d.dstate))

    def assert_close(actual: Array, wanted: Array, limit: float, what: str) -> None:
        assert actual.shape == wanted.shape
        scale = max(1.0, float(np.abs(wanted).max(initial=0)))
        error = float(np.abs(actual - wanted).max(initial=0))
        assert error <= limit * scale, f"{what}: off by {error}, values up to {scale}"

    assert_close(y, y_torch, tolerance, "y")
    for s, s_torch in zip(as_tuple(state), finals, strict=True):
        assert_close(s, s_torch, tolerance, "state")
    found = {**grads, "x": dx, **{f"state{i}": s for i, s in enumerate(as_tuple(dstate))}}
    for name, wanted in grads_torch.items():
        assert_close(found[name], wanted, gradient_tolerance, name)


@pytest.mark.parametrize("case", CASES + LARGE, ids=str)
def test_float64(case: Case) -> None:
    compare(case, "float64", 1e-12, 1e-10)


@pytest.mark.parametrize("case", CASES + LARGE, ids=str)
def test_float32(case: Case) -> None:
    compare(case, "float32", 4e-6, 1e-4)


def test_default_weights_and_state_dict_by_name() -> None:
    """The README's promise: a state_dict copied name by name gives PyTorch's output."""
    import gru

    net = torch.nn.GRU(7, 12, num_layers=2, bidirectional=True, batch_first=True)
    layer = gru.GRU(7, 12, num_layers=2, bidirectional=True)
    weights = net.state_dict()
    assert list(layer.parameters) == list(weights)
    for name, value in weights.items():
        layer.parameters[name] = value.numpy()
    x = np.random.default_rng(0).normal(size=(5, 9, 7)).astype(np.float32)
    with torch.no_grad():
        y, h = net(torch.from_numpy(x))
    ours, state = layer(x)
    np.testing.assert_allclose(ours, y.numpy(), rtol=0, atol=2e-6)
    np.testing.assert_allclose(state, h.numpy().swapaxes(0, 1), rtol=0, atol=2e-6)
    bound = 12**-0.5
    fresh = gru.GRU(7, 12, seed=1).parameters
    for name, value in fresh.items():
        assert 0.5 * bound < np.abs(value).max() <= bound, name
