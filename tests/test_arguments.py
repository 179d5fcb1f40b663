"""Arguments that Python itself checks: each error names one, what is expected and what came."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gru

X = np.zeros((4, 3, 2), np.float32)
Y = np.array([0, 1, 0, 1])
BOTH = {"lengths": [1, 1], "mask": np.ones((2, 3), bool)}
PAIR = r"validation must be a pair \(X, y\), got "
SEED = "seed must be None or an integer of at least 0, got "


def layer(**options: Any) -> gru.GRU:
    return gru.GRU(2, 4, seed=0, **options)


def model() -> gru.Sequential:
    return gru.Sequential([layer(), gru.Last(), gru.Linear(4, 2, seed=0)])


def fit(**change: Any) -> gru.History:
    call = {"model": model(), "X": X, "y": Y, "epochs": 1, "verbose": False, **change}
    return gru.fit(**call)


def noted(notes: Any) -> gru.Sequential:
    made = model()
    made.metadata = notes
    return made


def function_tape() -> Any:
    return gru.rnn_forward_train(np.zeros((1, 2, 3)), np.zeros((4, 3)), np.zeros((4, 4)))[2]


Case = tuple[Callable[[], Any], type[Exception], str]

TAPES: list[Case] = [
    (
        lambda: gru.gru_backward(layer().forward(X)[2], None),
        TypeError,
        "tape must be one of gru_forward_train, got Tape",
    ),
    (lambda: layer().backward(None, None), TypeError, "tape must be one that forward .*got None"),
    (
        lambda: layer().backward(function_tape(), None),
        TypeError,
        "tape must be one .*got FunctionTape",
    ),
    (lambda: gru.Linear(2, 3).backward(3, X), TypeError, "tape must be one that .*got 3"),
    (lambda: model().backward("a", X), TypeError, "tape must be one that .*got 'a'"),
]
FIT: list[Case] = [
    (lambda: fit(model=layer()), TypeError, r"model must be a gru\.Sequential, got GRU"),
    (lambda: fit(optimizer="adam"), TypeError, r"optimizer must be .*gru\.Adam.*, got 'adam'"),
    (lambda: fit(optimizer=gru.Adam), TypeError, "optimizer must be .*, got type"),
    (lambda: fit(validation=(X,)), ValueError, PAIR + "1 value"),
    (lambda: fit(validation=(X, Y, Y)), ValueError, PAIR + "3 values"),
    (lambda: fit(validation=0.2), TypeError, PAIR + "0.2"),
    (lambda: fit(validation=(X, Y[:3])), ValueError, "in validation, y must have .*4, got 3"),
    (lambda: fit(validation=(X, ["a"] * 4)), TypeError, "in validation, y must hold numbers"),
    (lambda: fit(validation=(X[:0], Y[:0])), ValueError, "in validation, X must hold at least one"),
    (lambda: fit(X=X[:0], y=Y[:0]), ValueError, "X must hold at least one sequence, got none"),
    (lambda: fit(X=[], y=[]), ValueError, "X must hold at least one sequence, got none"),
    (lambda: fit(X=None), TypeError, r"X must be an array \(B, T, I\) or a list .*, got None"),
    (lambda: fit(X=3), TypeError, "X must be an array .*, got 3"),
    (lambda: fit(X="abcd"), TypeError, "X must be an array .*, got 'abcd'"),
    (lambda: fit(X=X.astype(complex)), TypeError, "X must hold numbers, got complex128"),
    (lambda: fit(X=[object()] * 4), TypeError, r"X\[0\] must hold numbers, got object"),
    (lambda: fit(X=[[[1, 2], [3]]] * 4), ValueError, r"X\[0\] must be an array, got list"),
    (lambda: fit(y=1), TypeError, "y must be .*one entry a sequence, got 1"),
    (lambda: fit(y=["a"] * 4), TypeError, "y must hold numbers, got <U1"),
    (lambda: fit(y=[[1, 2], [3], [4], [5]]), ValueError, "y must be an array, got list"),
    (lambda: fit(epochs=-1), ValueError, "epochs must be an integer of at least 0, got -1"),
    (lambda: fit(epochs=1.5), TypeError, "epochs must be an integer of at least 0, got 1.5"),
    (lambda: fit(batch_size=0), ValueError, "batch_size must be .* at least 1, got 0"),
    (lambda: fit(batch_size="8"), TypeError, "batch_size must be .* at least 1, got '8'"),
    (lambda: fit(clip_norm=-1), ValueError, "clip_norm must be above 0 or None, got -1"),
    (lambda: fit(clip_norm=float("nan")), ValueError, "clip_norm must be above 0 .*, got nan"),
    (lambda: fit(clip_norm="1"), TypeError, "clip_norm must be a number, got '1'"),
    (lambda: fit(seed=-1), ValueError, SEED + "-1"),
    (lambda: fit(seed="a"), TypeError, SEED + "'a'"),
    (lambda: fit(loss=3), TypeError, "loss must be one of 'mse'.* or a function, got 3"),
    (lambda: fit(loss=None), TypeError, "loss must be one of 'mse'.* or a function, got None"),
    (lambda: fit(metric=3), TypeError, "metric must be one of .* or a function, got 3"),
    (lambda: fit(**{**BOTH, "X": X[:2], "y": Y[:2]}), ValueError, "give lengths or mask, not both"),
    (lambda: model().predict(X, batch_size=0), ValueError, "batch_size must be .*, got 0"),
    (lambda: model().predict(X, lengths="a"), TypeError, "lengths must hold numbers, got <U1"),
]
MAKING: list[Case] = [
    (lambda: gru.GRU(2, 4, seed=-1), ValueError, SEED + "-1"),
    (lambda: gru.GRU(2, 4, seed="a"), TypeError, SEED + "'a'"),
    (lambda: gru.GRU(2, 4, seed=True), TypeError, SEED + "True"),
    (lambda: gru.Embedding(2, 4, seed=-1), ValueError, SEED + "-1"),
    (lambda: gru.Dropout(seed=1.5), TypeError, SEED + "1.5"),
    (lambda: gru.Sequential([gru.Last()], seed=-1), ValueError, SEED + "-1"),
    (lambda: model().forward(X, seed=-1), ValueError, "seed must be an integer from 0 to .*got -1"),
    (
        lambda: gru.GRU(3, 2**70),
        ValueError,
        f"hidden_size must be an integer from 1 to {2**24}, got {2**70}",
    ),
    (lambda: gru.GRU(3.0, 4), TypeError, "input_size must be an integer from 1 .*, got 3.0"),
    (lambda: gru.GRU(3, 4, 2000), ValueError, "num_layers must be .* from 1 to 1024, got 2000"),
    (lambda: gru.Linear(0, 4), ValueError, "in_features must be .*, got 0"),
    (lambda: gru.Linear(3, "4"), TypeError, "out_features must be .*, got '4'"),
    (lambda: gru.Embedding(-1, 4), ValueError, "num_embeddings must be .*, got -1"),
    (lambda: gru.Embedding(3, None), TypeError, "embedding_dim must be .*, got None"),
    (lambda: gru.GRU(3, 4, bias="no"), TypeError, "bias must be True or False, got 'no'"),
    (lambda: gru.GRU(3, 4, bidirectional=1), TypeError, "bidirectional must be .*, got 1"),
    (lambda: gru.GRU(3, 4, reset_after=None), TypeError, "reset_after must be .*, got None"),
    (lambda: gru.Linear(3, 4, bias=2), TypeError, "bias must be True or False, got 2"),
    (lambda: gru.Last(bidirectional="a"), TypeError, "bidirectional must be .*, got 'a'"),
    (lambda: gru.GRU(3, 4, init=[]), TypeError, "init must be a string, got list"),
    (lambda: gru.GRU(3, 4, dtype=X), ValueError, "dtype must be float32 or float64, got"),
    (lambda: gru.Activation("elu"), ValueError, "nonlinearity must be one of .*, got 'elu'"),
    (lambda: gru.Dropout(2), ValueError, "rate must be from 0 to 1, got 2"),
    (lambda: gru.Dropout("a"), TypeError, "rate must be a number, got 'a'"),
    (lambda: gru.Sequential(3), TypeError, "layers must be an iterable of gru layers, got 3"),
    (lambda: gru.Sequential([3]), TypeError, r"layers\[0\] must be a gru layer, got 3"),
    (lambda: gru.Adam("a"), TypeError, "lr must be a number, got 'a'"),
    (lambda: gru.Adam(betas=0.9), TypeError, "betas must be a pair of numbers, got 0.9"),
    (lambda: gru.SGD().step({"w": X}, {"w": 3}), TypeError, "w must be an array, got 3"),
    (lambda: gru.clip_grad_norm({"w": X}, None), TypeError, "max_norm must be a number, got None"),
]
ELSEWHERE: list[Case] = [
    (lambda: layer().stream(1.5), TypeError, "batch must be an integer from 1 .*, got 1.5"),
    (lambda: model().stream("2"), TypeError, "batch must be an integer from 1 .*, got '2'"),
    (lambda: model().stream(2**70), ValueError, "batch must be an integer from 1 .*, got 1180"),
    (
        lambda: setattr(layer().stream(), "state", None),
        TypeError,
        "state must be an array .*, got None",
    ),
    (
        lambda: setattr(model().stream(), "state", None),
        TypeError,
        "state must be a list, one entry a recurrent layer, got None",
    ),
    (
        lambda: setattr(gru.Linear(2, 3).stream(), "state", [X]),
        ValueError,
        "state must hold 0 entries.*, got 1",
    ),
    (lambda: gru.set_isa(None), TypeError, "name must be a string, got None"),
    (lambda: gru.set_num_threads("2"), TypeError, "n must be an integer from 1 .*, got '2'"),
    (lambda: gru.set_num_threads(2**70), ValueError, "n must be an integer from 1 .*, got 1180"),
    (lambda: model().save(3), TypeError, "path must be a string or a path, got 3"),
    (lambda: model().save("a\0b"), ValueError, "path must not hold a null character"),
    (lambda: gru.load(3), TypeError, "path must be a string or a path, got 3"),
    (lambda: gru.load(None), TypeError, "path must be a string or a path, got None"),
    (lambda: gru.load("\ud800"), ValueError, "path must be a name of a file, got"),
    (lambda: gru.load("/no/such"), OSError, "/no/such"),
    (lambda: noted({"n": 3}).save("/no"), TypeError, r"metadata\['n'\] must be a string, got 3"),
    (lambda: noted({3: "n"}).save("/no"), TypeError, "a key of metadata must be a string, got 3"),
    (lambda: noted({"n": "\ud800"}).save("/no"), ValueError, r"metadata\['n'\] must be .*Unicode"),
    (lambda: noted([]).save("/no"), TypeError, "metadata must be a dict of strings, got list"),
    (lambda: gru.losses.mse(None, X), TypeError, "prediction must be a float32 .*, got None"),
    (lambda: gru.losses.mae(X[0] > 0, X[0]), TypeError, "prediction must be a float.*, got bool"),
    (lambda: gru.losses.mse(X, "a"), TypeError, "target must hold numbers, got <U1"),
    (lambda: gru.losses.mse(X, X, weight="a"), TypeError, "weight must hold numbers, got <U1"),
    (lambda: gru.losses.huber(X, X, delta="a"), TypeError, "delta must be a number, got 'a'"),
    (
        lambda: gru.losses.mse(X, X, lengths=[1.0] * 4),
        TypeError,
        "lengths must hold integers, got dtype float64",
    ),
    (
        lambda: gru.losses.mse(X, X, lengths=[1, 4, 3, 3]),
        ValueError,
        r"lengths\[1\] must be from 0 to 3, got 4",
    ),
    (lambda: gru.losses.mse(X, X, mask=np.ones((4, 3))), TypeError, "mask must hold booleans"),
    (
        lambda: gru.gru_forward(X, [[1, 2], [3]], X[0]),
        ValueError,
        "weight_ih must be an array, got list",
    ),
    (
        lambda: gru.gru_forward(X, *np.zeros((2, 6, 2), np.float32), reverse="no"),
        TypeError,
        "reverse must be True or False, got 'no'",
    ),
    (
        lambda: layer().parameters.update(bias_ih_l0=[[1], [1, 2]]),
        ValueError,
        "bias_ih_l0 must be an array, got list",
    ),
]


@pytest.mark.parametrize(("call", "error", "message"), TAPES + FIT + MAKING + ELSEWHERE)
def test_the_argument_is_named(
    call: Callable[[], Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("name", ["mse", "mae", "huber", "cross_entropy", "binary_cross_entropy"])
def test_losses_refuse_lengths_and_mask_together_as_layers_do(name: str) -> None:
    prediction = np.zeros((2, 3, 2), np.float32)
    target = np.zeros((2, 3), int) if name == "cross_entropy" else prediction
    for call in (
        lambda: getattr(gru.losses, name)(prediction, target, **BOTH),
        lambda: layer()(prediction, **BOTH),
    ):
        with pytest.raises(ValueError, match=r"\Agive lengths or mask, not both\Z"):
            call()


def test_lengths_and_mask_are_given_by_name() -> None:
    cell, whole, last = layer(), model(), gru.Last()
    for call in (cell, cell.forward):
        with pytest.raises(TypeError, match="positional"):
            call(X, None, [3] * 4)  # type: ignore[misc]
    for call in (whole, whole.forward, last, last.forward):
        with pytest.raises(TypeError, match="positional"):
            call(X, [3] * 4)  # type: ignore[misc]


def test_no_epochs_give_an_empty_history() -> None:
    made = model()
    before = made.predict(X)
    assert len(fit(model=made, epochs=0)) == 0
    assert np.array_equal(made.predict(X), before)


@pytest.mark.parametrize("kind", [gru.GRU, gru.LSTM, gru.RNN])
def test_dropout_in_one_layer_warns(kind: Any) -> None:
    with pytest.warns(UserWarning, match="between stacked layers and num_layers is 1") as caught:
        kind(3, 4, dropout=0.5)
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        kind(3, 4, 2, dropout=0.5)
        kind(3, 4)


def test_a_loaded_layer_does_not_warn_again(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="num_layers is 1"):
        made = gru.Sequential([gru.GRU(2, 4, dropout=0.5)])
    made.save(tmp_path / "model")
    assert gru.load(tmp_path / "model").layers[0].dropout == 0.5


def test_a_layer_without_a_state_streams_without_one() -> None:
    made, x = gru.Linear(2, 3, seed=0), np.ones((1, 2), np.float32)
    for stream in (made.stream(), gru.Sequential([made, gru.Last()]).stream()):
        assert stream.state == []
        stream.state = []
        assert np.array_equal(stream.step(x), made(x))
        stream.reset()
        assert stream.state == []


@pytest.mark.parametrize("made", [gru.Last(), gru.Activation("relu"), gru.Dropout()])
def test_a_layer_of_no_width_has_no_stream(made: Any) -> None:
    with pytest.raises(ValueError, match="a stream needs a layer that says how many features"):
        made.stream()


def test_numbers_of_numpy_become_pythons() -> None:
    made = gru.GRU(
        np.int64(3), np.int32(4), np.uint8(2), bias=np.True_, bidirectional=np.False_,
        dropout=np.float64(0.5), seed=np.int64(7),
    )  # fmt: skip
    assert repr(made) == "GRU(3, 4, num_layers=2, dropout=0.5)"
    assert [type(made.spec[name]) for name in ("hidden_size", "bias", "dropout")] == [
        int,
        bool,
        float,
    ]
    twin = gru.GRU(3, 4, 2, dropout=0.5, seed=7)
    for name, value in twin.parameters.items():
        assert np.array_equal(made.parameters[name], value)
    assert repr(gru.Linear(np.int64(3), np.int8(2), bias=np.False_)) == "Linear(3, 2, bias=False)"
    assert repr(gru.Embedding(np.int64(9), np.int64(2))) == "Embedding(9, 2)"
    assert repr(gru.Dropout(np.float64(0.25))) == "Dropout(rate=0.25)"
    assert repr(gru.Last(bidirectional=np.True_)) == "Last(bidirectional=True)"
    fit(epochs=np.int64(1), batch_size=np.int32(2), clip_norm=np.float32(1), seed=np.int64(3))
    model().predict(X, np.int64(3))
    assert layer().stream(np.int64(2)).batch == 2


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_call_refuses_what_predict_casts(dtype: str) -> None:
    made = gru.Sequential([layer(dtype=dtype), gru.Last()])
    other = X.astype("float64" if dtype == "float32" else "float32")
    with pytest.raises(TypeError, match=f"x must have dtype {dtype}"):
        made(other)
    assert made.predict(other).dtype == dtype
    for method in (gru.Sequential.__call__, gru.Sequential.predict):
        assert "cast" in str(method.__doc__)


def test_help_on_a_step_shows_shapes() -> None:
    step = layer().stream().step
    assert "(B, I)" in str(inspect.getdoc(step))
    assert list(inspect.signature(step).parameters) == ["x", "out"]


def test_the_documentation_names_the_traps() -> None:
    assert "assignment destination is read-only" in str(gru.GRU.freeze.__doc__)
    assert "assignment destination is read-only" in str(gru.Sequential.freeze.__doc__)
    assert "B equals N*D" in str(gru.GRU.__call__.__doc__)


def test_a_path_may_hold_any_bytes(tmp_path: Path) -> None:
    for name in ("gewöhnlich", b"\xff".decode("utf-8", "surrogateescape")):
        model().save(tmp_path / name)
        assert gru.load(str(tmp_path / name)).num_parameters == model().num_parameters
