"""Streams and pools of them: blocks, forks, states kept and put back, sessions side by side."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
import sysconfig
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gru

CELLS = [
    ("GRU", {}),
    ("GRU", {"reset_after": False, "update_gate": "new"}),
    ("GRU", {"num_layers": 2, "layer_norm": True}),
    ("LSTM", {"num_layers": 2}),
    ("RNN", {}),
]
EVERY_CELL = pytest.mark.parametrize(("cell", "options"), CELLS)
EVERY_DTYPE = pytest.mark.parametrize("dtype", ["float32", "float64"])


def randomise(model: gru.Sequential, seed: int = 0) -> gru.Sequential:
    """Biases that are not zero: a swapped gate shows."""
    rng = np.random.default_rng(seed)
    for array in model.parameters.values():
        array[...] = rng.normal(size=array.shape) * 0.5
    return model


def model_of(cell: str, options: dict[str, Any], dtype: str, *after: gru.Layer) -> gru.Sequential:
    layer = getattr(gru, cell)(3, 10, dtype=dtype, **options)
    return randomise(gru.Sequential([layer, *after, gru.Linear(10, 4, dtype=dtype)]))


def numbers(shape: tuple[int, ...], dtype: str = "float32", seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


@EVERY_CELL
@EVERY_DTYPE
@pytest.mark.parametrize("batch", [1, 3])
def test_blocks_have_the_bits_of_the_whole(
    cell: str, options: dict[str, Any], dtype: str, batch: int
) -> None:
    model = model_of(cell, options, dtype)
    x = numbers((batch, 29, 3), dtype)
    y = model(x)
    for blocks in ([29], [1] * 29, [8, 0, 9, 12], [3, 26]):
        stream, at = model.stream(batch), 0
        for block in blocks:
            got = stream.run(x[:, at : at + block])
            np.testing.assert_array_equal(got, y[:, at : at + block], strict=True)
            at += block
    out = np.empty_like(y)
    assert model.stream(batch).run(x, out=out) is out
    np.testing.assert_array_equal(out, y)


@pytest.mark.parametrize("pool", [gru.Last, gru.Mean, gru.Max])
@EVERY_DTYPE
def test_a_fork_and_a_kept_state_go_on_alike(pool: type[gru.Layer], dtype: str) -> None:
    model = model_of("LSTM", {}, dtype, pool())
    x = numbers((2, 9, 3), dtype)
    stream = model.stream(2)
    stream.run(x[:, :5])
    fork, kept = stream.fork(), stream.state
    expected = stream.run(x[:, 5:])
    np.testing.assert_array_equal(fork.run(x[:, 5:]), expected)
    np.testing.assert_array_equal(expected[:, -1], model(x))
    late = model.stream(2)
    late.state = kept
    np.testing.assert_array_equal(late.run(x[:, 5:]), expected)
    stream.state = kept
    stream.reset([0])
    again = stream.run(x[:, 5:])
    np.testing.assert_array_equal(again[1], expected[1])
    np.testing.assert_array_equal(again[0, -1], model(x[:1, 5:])[0])


@pytest.mark.parametrize(
    "layers",
    [
        [gru.Dropout(0.5), gru.GRU(5, 6)],
        [gru.Last(), gru.Linear(5, 6)],
        [gru.GRU(5, 6), gru.Dropout(0.5)],
        [gru.GRU(5, 6), gru.Last(), gru.Activation("tanh")],
        [gru.LSTM(5, 6, num_layers=2), gru.Dropout(0.5), gru.Max()],
        [gru.Embedding(7, 5), gru.Dropout(0.5), gru.Last()],
    ],
    ids=repr,
)
def test_layers_that_change_nothing_may_stand_anywhere(layers: list[gru.Layer]) -> None:
    model = gru.Sequential(layers)
    rng = np.random.default_rng(0)
    tokens = isinstance(layers[0], gru.Embedding)
    x = rng.integers(0, 7, (2, 9)) if tokens else rng.normal(size=(2, 9, 5)).astype(np.float32)
    stream, pool = model.stream(2), gru.StreamPool(model, 4)
    ids = [pool.open(), pool.open()]
    for t in range(9):
        y = stream.step(x[:, t])
        np.testing.assert_array_equal(pool.step(ids, x[:, t]), y)
        whole = model(x[:, : t + 1])
        np.testing.assert_array_equal(y, whole if whole.ndim == 2 else whole[:, -1])
        if t == 4:
            stream = stream.fork()
            stream.state = stream.state


def test_a_layers_stream_forks_with_a_state_of_its_own_form() -> None:
    layer = gru.GRU(3, 4, seed=0)
    stream = layer.stream()
    stream.step(numbers((1, 3)))
    assert stream.fork().state.shape == (1, 1, 4)


def test_what_pooling_carries_is_checked() -> None:
    stream = model_of("GRU", {}, "float32", gru.Mean()).stream(2)
    recurrent, (values, steps) = stream.state
    before = stream.state[0].copy()
    for wrong, message in (
        ([recurrent], r"2 entries, 1 of recurrent layers and 1 of means or maxima, got 1"),
        ([recurrent + 1, values[0]], r"state\[1\] must be the pair \(values, steps\)"),
        ([recurrent + 1, (values[:1], steps)], r"state\[1\]\[0\] must have shape .*\(2, 10\)"),
        ([recurrent + 1, (values, steps[:1])], r"state\[1\]\[1\] must have shape \(B,\) = \(2,\)"),
        ([recurrent + 1, (values, steps - 1)], r"state\[1\]\[1\] must not be negative, got -1"),
    ):
        with pytest.raises((TypeError, ValueError), match=message):
            stream.state = wrong
        np.testing.assert_array_equal(stream.state[0], before)


def test_tokens_in_blocks_and_sessions() -> None:
    model = randomise(
        gru.Sequential([gru.Embedding(7, 5), gru.GRU(5, 6), gru.Max(), gru.Linear(6, 2)])
    )
    tokens = np.random.default_rng(0).integers(0, 7, (1, 20))
    stream = model.stream()
    np.testing.assert_array_equal(stream.run(tokens)[:, -1], model(tokens))
    before = stream.state
    with pytest.raises(ValueError, match="tokens from 0 to 6, got 7 in sequence 0 at step 12"):
        stream.run(np.where(np.arange(20) == 12, 7, tokens))
    np.testing.assert_array_equal(stream.state[0], before[0])
    pool = gru.StreamPool(model, 100)
    ids = [pool.open() for _ in range(100)]
    for t in range(20):
        y = pool.step(ids, np.repeat(tokens[:, t], 100))
    np.testing.assert_array_equal(y, np.repeat(model(tokens), 100, axis=0))
    bad = np.zeros(100, int)
    bad[99] = -1
    with pytest.raises(ValueError, match="got -1 in sequence 99"):
        pool.step(ids, bad)
    np.testing.assert_array_equal(
        pool.step(ids, np.zeros(100, int)), np.repeat(stream.step(np.zeros(1, int)), 100, axis=0)
    )


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (numbers((1, 4, 2)), r"x must have shape \(1, T, 3\), got \(1, 4, 2\)"),
        (numbers((2, 4, 3)), r"x must have shape \(1, T, 3\), got \(2, 4, 3\)"),
        (numbers((1, 3)), r"x must have shape \(1, T, 3\), got \(1, 3\)"),
        (numbers((1, 4, 3), "float64"), "x must have dtype float32, got float64"),
    ],
)
def test_a_block_that_does_not_fit_is_refused(x: np.ndarray, message: str) -> None:
    stream = model_of("GRU", {}, "float32").stream()
    with pytest.raises((TypeError, ValueError), match=message):
        stream.run(x)
    np.testing.assert_array_equal(stream.state[0], 0)


@EVERY_CELL
@EVERY_DTYPE
def test_sessions_do_not_feel_each_other(cell: str, options: dict[str, Any], dtype: str) -> None:
    """Any subset in any order, sessions that come and go: the bits of streams of their own."""
    model = model_of(cell, options, dtype)
    rng = np.random.default_rng(0)
    pool = gru.StreamPool(model, 200)
    alone: dict[int, gru.Stream] = {}
    gone: set[int] = set()
    for _ in range(40):
        for _ in range(rng.integers(0, 30)):
            if len(pool) < pool.capacity:
                alone[pool.open()] = model.stream()
        ids = rng.permutation(list(alone))[: rng.integers(0, len(alone) + 1)]
        x = rng.normal(size=(len(ids), 3)).astype(dtype)
        y = pool.step(ids, x)
        for i, id in enumerate(ids):
            np.testing.assert_array_equal(y[i], alone[int(id)].step(x[i : i + 1])[0], strict=True)
        for id in list(alone):
            if rng.random() < 0.1:
                pool.close(id)
                del alone[id]
                gone.add(id)
        assert len(pool) == len(alone)
        assert all(id in pool for id in alone)
        assert not any(id in pool for id in gone)


def test_a_pool_is_exact_about_ids() -> None:
    model = model_of("GRU", {}, "float32")
    pool = gru.StreamPool(model, 2)
    a, b = pool.open(), pool.open()
    with pytest.raises(RuntimeError, match="the pool is full: all of its 2 sessions are open"):
        pool.open()
    x = numbers((2, 3))
    for ids, error, message in (
        ([a, a], ValueError, f"ids must be distinct, but session {a} is there twice"),
        ([a, -1], ValueError, "session -1 is unknown"),
        ([a, 99], ValueError, "session 99 is unknown"),
        ([[a, b]], ValueError, r"ids must have shape \(n,\), got \(1, 2\)"),
        ([a, 0.5], TypeError, "ids must hold integers, got dtype float64"),
        ("ab", TypeError, "ids must hold integers"),
        ([a], ValueError, r"x must have shape \(n, I\) = \(1, 3\), got \(2, 3\)"),
    ):
        with pytest.raises(error, match=message):
            pool.step(ids, x)
    np.testing.assert_array_equal(pool.step([b, a], x), model(x[:, None])[:, 0])
    pool.close(a)
    for call in (
        lambda: pool.close(a),
        lambda: pool.reset([b, a]),
        lambda: pool.step([b, a], x),
    ):
        with pytest.raises(ValueError, match=f"session {a} is closed"):
            call()
    c = pool.open()
    assert c not in (a, b)
    assert "x" not in pool
    pool.reset([b])
    np.testing.assert_array_equal(pool.step([c, b], x), model(x[:, None])[:, 0])
    assert repr(pool) == "StreamPool(2 of 2 open)"
    out = np.empty((2, 4), np.float32)
    assert pool.step([c, b], x, out=out) is out


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda m: gru.StreamPool(3, 5), TypeError, "model must be a Sequential, got 3"),
        (lambda m: gru.StreamPool(m, 0), ValueError, "capacity must be an integer from 1"),
        (lambda m: gru.StreamPool(m, 2**25), ValueError, "capacity must be an integer from 1"),
        (lambda m: gru.StreamPool(m, 1.5), TypeError, "capacity must be an integer"),
        (
            lambda m: gru.StreamPool(gru.Sequential([gru.GRU(2, 3, bidirectional=True)]), 5),
            ValueError,
            "direction 'both': its output at a step depends on steps still to come",
        ),
    ],
)
def test_a_pool_that_cannot_be(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make(model_of("GRU", {}, "float32"))


def test_what_a_pool_learned_later_does_not_show() -> None:
    model = model_of("GRU", {}, "float32")
    x = numbers((1, 3))
    pool, stream = gru.StreamPool(model, 1), model.stream()
    y = model(x[:, None])[:, 0]
    for array in model.parameters.values():
        array += 1
    np.testing.assert_array_equal(pool.step([pool.open()], x), y)
    np.testing.assert_array_equal(stream.step(x), y)


def test_a_second_thread_inside_a_stream_is_told_so() -> None:
    """The GIL is released in long calls: bits stay right, or the caller hears of it."""
    model = gru.Sequential([gru.GRU(64, 256, seed=0)])
    model.freeze()
    x = numbers((1, 2000, 64))
    stream, done = model.stream(), threading.Event()
    answers: set[str] = set()

    def work() -> None:
        stream.run(x)
        done.set()

    thread = threading.Thread(target=work)
    thread.start()
    while not done.is_set():
        try:
            stream.fork()
        except RuntimeError as error:
            answers.add(str(error))
    thread.join()
    assert len(answers) == 1
    assert "another thread is using this object" in answers.pop()
    np.testing.assert_array_equal(stream.state[0][:, 0], model(x)[:, -1])


def test_a_copy_goes_its_own_way() -> None:
    stream, x = model_of("GRU", {}, "float32").stream(), numbers((1, 3))
    stream.step(x)
    for other in (copy.copy(stream), copy.deepcopy(stream)):
        before = stream.state[0].copy()
        other.step(x)
        np.testing.assert_array_equal(stream.state[0], before)


@pytest.mark.parametrize(
    ("features", "units"),
    [(3, 5), (64, 128)],
    ids=["which keep Python's lock", "which give it up"],
)
def test_eight_threads_ten_thousand_calls(features: int, units: int) -> None:
    """A model is shared, streams are each thread's own: the bits of the serial run, always."""
    model = gru.Sequential([gru.GRU(features, units, seed=0)])
    model.freeze()
    x = numbers((40, 6, features))
    expected = model(x)
    wrong: list[tuple[int, int]] = []

    def work(number: int) -> None:
        rng = np.random.default_rng(number)
        stream = model.stream()
        for call in range(10_000):
            row = int(rng.integers(0, 40))
            if call % 2:
                same = np.array_equal(model(x[row : row + 1])[0], expected[row])
            else:
                stream.reset()
                same = np.array_equal(stream.run(x[row : row + 1])[0], expected[row])
            if not same:
                wrong.append((number, call))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.skipif(not sysconfig.get_config_var("Py_GIL_DISABLED"), reason="this Python has a GIL")
def test_no_gil_is_asked_for() -> None:
    """On a free-threaded Python a module that had not declared itself would bring the GIL back."""
    program = "import sys, gru; print(sys._is_gil_enabled())"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "False\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_runs_on(tmp_path: Path) -> None:
    """A child of a process whose threads have worked gives the same bits, in all that there is."""
    program = """
import os, sys, numpy as np, gru
model = gru.Sequential([gru.GRU(32, 256, seed=0)])
model.freeze()
x = np.random.default_rng(0).normal(size=(64, 20, 32)).astype(np.float32)
gru.set_num_threads(2)
y, stream = model(x), model.stream(64)
stream.run(x[:, :10])
child = os.fork()
if child == 0:
    same = np.array_equal(model(x), y) and np.array_equal(stream.run(x[:, 10:]), y[:, 10:])
    pool = gru.StreamPool(model, 64)
    ids = [pool.open() for _ in range(64)]
    same = same and np.array_equal(pool.step(ids, np.ascontiguousarray(x[:, 0])), y[:, 0])
    os._exit(0 if same else 1)
parent = np.array_equal(stream.run(x[:, 10:]), y[:, 10:])
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) or not parent)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_children_born_while_threads_call_do_not_hang() -> None:
    """No child inherits a lock that a thread of its parent's held at the fork."""
    program = """
import os, signal, sys, threading, time, numpy as np, gru
model = gru.Sequential([gru.GRU(3, 8, seed=0)])
x, stop = np.zeros((1, 1, 3), np.float32), threading.Event()
y = model(x)

def work():
    while not stop.is_set():
        model(x)
        model.stream()

threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads: thread.start()
bad = 0
for _ in range(150):
    child = os.fork()
    if child == 0:
        os._exit(0 if np.array_equal(model(x), y) else 1)
    end = time.monotonic() + 20
    while not (done := os.waitpid(child, os.WNOHANG))[0] and time.monotonic() < end:
        time.sleep(0.001)
    if not done[0]:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    bad += not done[0] or os.waitstatus_to_exitcode(done[1]) != 0
    if bad: break
stop.set()
for thread in threads: thread.join()
sys.exit(bad)
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
