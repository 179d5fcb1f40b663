"""Numbers of threads, forks and threads of the caller: none of them changes a bit or hangs."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gru
from cases import FORMS, Case, as_state, as_tuple, assert_same_bits, data, make_layer
from gru import _core
from reference import Array, Spec

HERE = Path(__file__).parent
LINUX = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs Linux")

# Enough work for three threads (layer.cpp asks for 400,000 multiply-adds a thread): many rows, one
# row, and rows of few steps with a wide layer.
SHAPES = [(33, 20, 40), (1, 150, 48), (2, 12, 160)]


def program_of(*lines: str) -> str:
    return "\n".join(["import test_threads as t", *lines])


def outcome(
    *lines: str, timeout: float = 120, **environment: str
) -> subprocess.CompletedProcess[str]:
    """A new interpreter that knows this file, with just these settings of threads."""
    kept = {k: v for k, v in os.environ.items() if not k.endswith("_NUM_THREADS")}
    path = os.pathsep.join(filter(None, [str(HERE), os.environ.get("PYTHONPATH")]))
    return subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", program_of(*lines)],
        env={**kept, "PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def printed(*lines: str, **environment: str) -> str:
    done = outcome(*lines, **environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def made(form: dict[str, Any], dtype: str, shape: tuple[int, int, int]) -> tuple[Any, Any]:
    batch, steps, hidden = shape
    spec = Spec(**form, input_size=11, hidden_size=hidden, num_layers=2, direction="both")
    d = data(Case(spec, batch, steps, "lengths" if batch > 2 else "full", True, seed=7), dtype)
    return make_layer(spec, d.params), d


def results(layer: Any, d: Any) -> list[Array]:
    """Inference, training and every gradient."""
    call = {"state": as_state(d.state), **d.where}
    y, _ = layer(d.x, **call)
    y_train, state, tape = layer.forward(d.x, **call)
    dx, dstate, grads = layer.backward(tape, d.dy, as_state(d.dstate))
    return [y, y_train, *as_tuple(state), dx, *as_tuple(dstate), *grads.values()]


def everything() -> str:
    """One line a form, dtype and shape: the bits of all results, as a digest."""
    lines = []
    for i, form in enumerate(FORMS):
        for dtype in ("float32", "float64"):
            digest = hashlib.sha256()
            for array in results(*made(form, dtype, SHAPES[i % len(SHAPES)])):
                digest.update(array.tobytes())
            lines.append(digest.hexdigest())
    return "\n".join(lines)


def tasks() -> int:
    """Threads of this process, Python's and the engine's."""
    return len(os.listdir("/proc/self/task"))


# --- how many -------------------------------------------------------------------------------------


@LINUX
def test_the_number_of_threads_does_not_show() -> None:
    lines = ["print(t.everything())", "print(t.tasks(), t._core.max_threads())"]
    found = [printed(*lines, GRU_NUM_THREADS=str(n)).splitlines() for n in (1, 2, 3)]
    counts = [[int(n) for n in threads.split()] for *_, threads in found]
    assert [allowed for _, allowed in counts] == [1, 2, 3]
    # The OpenMP library lets threads go that its last region did not need.
    assert counts[0][0] == 1
    assert counts[1][0] == 2
    assert counts[2][0] in (2, 3)
    for *digests, _ in found:
        assert digests == found[0][:-1]
        assert len(digests) == 2 * len(FORMS)


def test_threads_set_by_hand_do_not_show(threads: None) -> None:
    layer, d = made(FORMS[0], "float32", SHAPES[0])
    gru.set_num_threads(1)
    wanted = results(layer, d)
    for count in (2, 3, 5, 64, 1024):
        gru.set_num_threads(count)
        for a, w in zip(results(layer, d), wanted, strict=True):
            assert_same_bits(a, w, f"{count} threads")


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        ({"OMP_NUM_THREADS": "1"}, 1),
        ({"OMP_NUM_THREADS": "1,2"}, 1),
        ({"GRU_NUM_THREADS": "3"}, 3),
        ({"GRU_NUM_THREADS": "3", "OMP_NUM_THREADS": "1"}, 3),
        ({"GRU_NUM_THREADS": "1", "OMP_NUM_THREADS": "4"}, 1),
    ],
    ids=str,
)
def test_the_environment_says_how_many(environment: dict[str, str], wanted: int) -> None:
    assert printed("print(t._core.max_threads())", **environment) == str(wanted)


RUBBISH = ["", " ", "0", "-1", "two", "nan", "3.7", "1e9", "0x10", "4294967297", "9" * 30, "-" * 99]


@pytest.mark.parametrize("name", ["GRU_NUM_THREADS", "OMP_NUM_THREADS"])
@pytest.mark.parametrize("value", RUBBISH)
def test_rubbish_in_the_environment_is_harmless(name: str, value: str) -> None:
    lines = [
        "layer, d = t.made(t.FORMS[0], 'float32', (9, 20, 40))",
        "t.results(layer, d)",
        "print(t._core.max_threads(), t.gru.get_num_threads())",
    ]
    count, set_by_hand = printed(*lines, **{name: value}).split()
    assert 1 <= int(count) <= 1024
    assert set_by_hand == "None"


@LINUX
def test_the_affinity_of_the_process_is_respected() -> None:
    lines = [
        "t.os.sched_setaffinity(0, {min(t.os.sched_getaffinity(0))})",
        "print(t._core.max_threads())",
    ]
    assert printed(*lines) == "1"


@pytest.mark.parametrize("count", [0, -1, 1025, 2000, 2**31 - 1, -(2**31)])
def test_impossible_numbers(count: int, threads: None) -> None:
    gru.set_num_threads(2)
    with pytest.raises(ValueError, match=f"n must .*got {count}"):
        gru.set_num_threads(count)
    assert gru.get_num_threads() == 2


@pytest.mark.parametrize("count", [1.5, "2", [1], 2**31, 2**70])
def test_what_is_no_number_of_threads(count: Any, threads: None) -> None:
    gru.set_num_threads(2)
    with pytest.raises((TypeError, ValueError)):
        gru.set_num_threads(count)
    assert gru.get_num_threads() == 2


def test_none_is_automatic_again(threads: None) -> None:
    automatic = _core.max_threads()
    for count in (1, 1024):
        gru.set_num_threads(count)
        assert gru.get_num_threads() == count
    gru.set_num_threads(None)
    assert gru.get_num_threads() is None
    assert _core.max_threads() == automatic


# --- fork -----------------------------------------------------------------------------------------

FORK_TIMEOUT = 30  # seconds, after which a child counts as hanging


def child(wanted: str, generations: int) -> None:
    """The same bits in this process and in its own children."""
    assert everything() == wanted
    if generations > 1:
        assert exit_code(wanted, generations - 1) == 0


def exit_code(wanted: str, generations: int = 1) -> int | None:
    """Of a forked child that computes everything; None if it hangs."""
    process = multiprocessing.get_context("fork").Process(target=child, args=(wanted, generations))
    process.start()
    process.join(FORK_TIMEOUT)
    code = process.exitcode
    process.kill()
    process.join()
    return code


@LINUX
def test_a_fork_after_training_on_threads() -> None:
    """In a process of its own, which has the threads of the engine and no others."""
    lines = [
        "wanted = t.everything()",
        "assert t.tasks() > 1",
        "print(t.exit_code(wanted, generations=2))",
        "assert t.everything() == wanted",
        "assert t.tasks() > 1",
    ]
    assert printed(*lines, GRU_NUM_THREADS="3") == "0"


@LINUX
def test_a_fork_before_any_call() -> None:
    lines = [
        "wanted = t.os.environ['WANTED']",
        "print(t.exit_code(wanted))",
        "assert t.everything() == wanted",
    ]
    wanted = printed("print(t.everything())")
    assert printed(*lines, GRU_NUM_THREADS="2", WANTED=wanted) == "0"


@LINUX
def test_a_fork_while_another_thread_is_in_the_engine() -> None:
    lines = [
        "wanted = t.everything()",
        "stop = t.threading.Event()",
        "def work():",
        "    layer, d = t.made(t.FORMS[0], 'float32', t.SHAPES[0])",
        "    while not stop.is_set():",
        "        t.results(layer, d)",
        "worker = t.threading.Thread(target=work)",
        "worker.start()",
        "print(*(t.exit_code(wanted) for _ in range(3)))",
        "stop.set()",
        "worker.join()",
    ]
    assert printed(*lines, GRU_NUM_THREADS="2") == "0 0 0"


@LINUX
def test_a_fork_after_another_librarys_threads() -> None:
    """Someone else in the process used this OpenMP before the fork; the engine did not yet."""
    lines = [
        "import ctypes",
        "wanted = t.os.environ['WANTED']",
        "openmp = [line.split()[-1] for line in open('/proc/self/maps') if 'libgomp' in line]",
        "if not openmp:",
        "    print('no libgomp')",
        "    raise SystemExit",
        "region = ctypes.CDLL(openmp[0]).GOMP_parallel",
        "nothing = ctypes.cast(ctypes.CDLL(None).free, ctypes.c_void_p)",
        "region(nothing, None, 3, 0)",
        "assert t.tasks() == 3",
        "print(t.exit_code(wanted))",
    ]
    wanted = printed("print(t.everything())")
    found = printed(*lines, GRU_NUM_THREADS="2", WANTED=wanted)
    if found == "no libgomp":
        pytest.skip("the engine is built without libgomp")
    assert found == "0"


# --- threads of the caller ------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("frozen", [True, False])
@pytest.mark.parametrize("form", FORMS, ids=lambda form: "-".join(map(str, form.values())))
def test_eight_threads_share_one_layer(
    form: dict[str, Any], frozen: bool, count: int, threads: None
) -> None:
    layer, d = made(form, "float32", (9, 12, 24))
    gru.set_num_threads(1)
    wanted = results(layer, d)
    if frozen:
        layer.freeze()
    gru.set_num_threads(count)
    together = threading.Barrier(8)

    def work(_: int) -> list[list[Array]]:
        together.wait(60)
        return [results(layer, d) for _ in range(5)]

    with ThreadPoolExecutor(8) as pool:
        for found in pool.map(work, range(8)):
            for again in found:
                for a, w in zip(again, wanted, strict=True):
                    assert_same_bits(a, w)


def test_eight_threads_back_through_one_tape(threads: None) -> None:
    layer, d = made(FORMS[2], "float32", (9, 20, 40))
    gru.set_num_threads(2)
    _, _, tape = layer.forward(d.x, as_state(d.state), **d.where)

    def work(_: int) -> list[Array]:
        dx, dstate, grads = layer.backward(tape, d.dy, as_state(d.dstate))
        return [dx, *as_tuple(dstate), *grads.values()]

    wanted = work(0)
    with ThreadPoolExecutor(8) as pool:
        for found in pool.map(work, range(24)):
            for a, w in zip(found, wanted, strict=True):
                assert_same_bits(a, w)


def test_eight_threads_with_streams_of_one_model() -> None:
    model = gru.Sequential([gru.GRU(5, 19, 2, seed=0), gru.Linear(19, 3, seed=1)])
    model.freeze()
    x = np.random.default_rng(0).normal(size=(8, 50, 5)).astype(np.float32)
    wanted = model(x)

    def work(b: int) -> Array:
        stream = model.stream()
        return np.stack([stream.step(x_t[None])[0] for x_t in x[b]])

    with ThreadPoolExecutor(8) as pool:
        for found, w in zip(pool.map(work, range(8)), wanted, strict=True):
            assert_same_bits(found, w)
