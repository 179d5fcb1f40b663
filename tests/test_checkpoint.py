"""Checkpoints: a killed run goes on to the same bits; damage, full disks and mix-ups are named."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gru
from gru import checkpoint, tensor_file
from gru.checkpoint import Folder
from gru.lock import Lock

KILLED = Path(__file__).with_name("killed.py")


class Stop(Exception):
    """Ends a run in the middle."""


def task(count: int = 20) -> tuple[list[np.ndarray], np.ndarray]:
    rng = np.random.default_rng(0)
    X = [rng.standard_normal((steps, 2)) for steps in rng.integers(2, 7, count)]
    return X, np.array([int(item.sum() > 0) for item in X])


def model(**options: Any) -> gru.Sequential:
    return gru.Sequential(
        [
            gru.GRU(2, 5, num_layers=2, dropout=0.2, seed=0, **options),
            gru.Last(),
            gru.Linear(5, 2, seed=0, **options),
        ]
    )


def fit(folder: Any = None, made: Any = None, **change: Any) -> tuple[str, gru.History]:
    made = made or model()
    X, y = task()
    call = {
        "X": X,
        "y": y,
        "optimizer": gru.Adam(0.05),
        "epochs": 4,
        "batch_size": 6,
        "validation": (X[:7], y[:7]),
        "metrics": ["f1_macro", "accuracy"],
        "verbose": False,
        "checkpoint": folder,
        **change,
    }
    history = gru.fit(made, **call)
    return weights(made), history


def weights(made: gru.Sequential) -> str:
    return b"".join(block.tobytes() for block in made.blocks().values()).hex()


def breaking(step: int) -> gru.Callback:
    class Break(gru.Callback):
        def on_step_end(self, run: gru.Run) -> None:
            if run.step == step:
                raise Stop

    return Break()


def same_but_seconds(a: gru.History, b: gru.History) -> bool:
    one, other = a.as_dict(), b.as_dict()
    del one["seconds"], other["seconds"]
    return one == other


def test_two_hundred_kills(tmp_path: Path) -> None:
    """No unreadable checkpoint, no lost acknowledged epoch, the same final bits."""
    done = subprocess.run(
        [sys.executable, "-W", "error", str(KILLED), str(tmp_path), "200", "0"],
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["kills"] >= 200
    assert found["lost"] == []
    assert found["same"]
    assert len(set(found["starts"])) >= 3  # runs were killed early and late


OPTIONS: list[dict[str, Any]] = [
    {},
    {"optimizer": gru.SGD(0.1)},
    {"optimizer": gru.RMSprop(0.01, momentum=0.5), "seed": 7, "class_weight": {0: 2.0}},
    {"schedule": gru.schedules.WarmUp(3, then=gru.schedules.Cosine())},
    {"schedule": gru.schedules.ReduceOnPlateau(0, 0.5, min_delta=0.5)},
    {"early_stopping": gru.EarlyStopping(1, min_delta=0.05)},
    {"l1": 1e-3, "l2": 1e-3, "clip_value": 0.01},
]


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("step", [1, 4, 10])
def test_a_broken_run_goes_on_to_the_same_bits(
    options: dict[str, Any], step: int, tmp_path: Path
) -> None:
    def fresh() -> dict[str, Any]:
        if "optimizer" not in options:
            return options
        kind = type(options["optimizer"])
        settings = {k: v for k, v in vars(options["optimizer"]).items() if k[0] != "_"}
        return {**options, "optimizer": kind(**{k: settings[k] for k in ("lr",)})}

    wanted, history = fit(**fresh())
    call = {"checkpoint_minutes": 0.0, "resume": True, "log": tmp_path / "log.jsonl"}
    with pytest.raises(Stop):
        fit(tmp_path, callbacks=[breaking(step)], **call, **fresh())
    found, again = fit(tmp_path, **call, **fresh())
    assert found == wanted
    assert same_but_seconds(history, again)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["loss"] for line in lines] == history.loss
    more = fit(tmp_path, **call, **fresh())  # a finished run is just read
    assert more[0] == wanted
    assert same_but_seconds(history, more[1])


def test_more_epochs_go_on(tmp_path: Path) -> None:
    wanted, history = fit(epochs=5)
    fit(tmp_path, epochs=2)
    found, again = fit(tmp_path, epochs=5, resume=True)
    assert found == wanted
    assert same_but_seconds(history, again)
    with pytest.raises(ValueError, match=r"at least 5, which the run in .* has done, got 3"):
        fit(tmp_path, epochs=3, resume=True)


def test_the_optimizer_goes_on_too(tmp_path: Path) -> None:
    first, second = gru.Adam(0.05), gru.Adam(0.05)
    fit(optimizer=first)
    fit(tmp_path, optimizer=gru.Adam(0.05), epochs=3)
    fit(tmp_path, optimizer=second, resume=True)
    assert first.steps == second.steps == 16
    for name, parts in first.state.items():
        for a, b in zip(parts, second.state[name], strict=True):
            assert np.array_equal(a, b)


def test_a_rate_that_a_callback_sets_is_kept(tmp_path: Path) -> None:
    def halve(run: gru.Run) -> None:
        run.optimizer.lr /= 2

    wanted, history = fit(callbacks=[halve])
    fit(tmp_path, epochs=2, callbacks=[halve])
    found, again = fit(tmp_path, resume=True, callbacks=[halve])
    assert (found, history.lr) == (wanted, again.lr)


def test_a_source_of_batches_goes_on(tmp_path: Path) -> None:
    X, y = task()

    def source(epoch: int) -> Any:
        order = np.random.default_rng(epoch).permutation(20)
        return (([X[i] for i in part], y[part]) for part in order.reshape(5, 4))

    wanted, _ = fit(X=source, y=None)
    call = {"X": source, "y": None, "checkpoint_minutes": 0.0, "resume": True}
    with pytest.raises(Stop):
        fit(tmp_path, callbacks=[breaking(8)], **call)
    assert fit(tmp_path, **call)[0] == wanted


def test_the_last_two_are_kept_and_leftovers_go(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "checkpoint-00000009.safetensors.123.tmp").write_bytes(b"half")
    fit(tmp_path)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [
        "checkpoint-00000003.safetensors",
        "checkpoint-00000004.safetensors",
        "notes.txt",
    ]


def test_minutes_within_an_epoch(tmp_path: Path) -> None:
    seen: list[int] = []

    class Watch(gru.Callback):
        def on_step_end(self, run: gru.Run) -> None:
            seen.append(len(list(tmp_path.glob("*.safetensors"))))

    fit(tmp_path / "never", epochs=1, checkpoint_minutes=None)
    fit(tmp_path, epochs=1, checkpoint_minutes=0.0, callbacks=[Watch()])
    assert seen == [0, 1, 2, 2]


def test_a_run_is_not_written_over(tmp_path: Path) -> None:
    fit(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    made = model()
    untouched = weights(made)
    with pytest.raises(FileExistsError, match=r"holds checkpoints of an .*resume=True"):
        fit(tmp_path, made)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert weights(made) == untouched


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_size": 5}, "batch_size was 6 and is 5"),
        ({"optimizer": gru.SGD(0.05)}, r"optimizer was Adam\(.*\) and is SGD\("),
        ({"made": model(dtype="float64")}, "model was float32 .* and is float64"),
        ({"loss": gru.losses.mse}, "loss was cross_entropy and is mse"),
        ({"seed": 1, "l2": 0.1}, "seed was 0 and is 1; l2 was 0 and is 0.1"),
        ({"y": 1 - task()[1]}, "data was"),
        ({"validation": None}, "validation was .* and is None"),
        ({"schedule": gru.schedules.Cosine()}, "schedule was None and is Cosine"),
        ({"early_stopping": 3}, "early_stopping was None and is EarlyStopping"),
        ({"metrics": ["accuracy"]}, "metrics was f1_macro, accuracy and is accuracy"),
    ],
)
def test_another_run_is_refused(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    fit(tmp_path, epochs=1)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(ValueError, match=f"holds a run with other settings: .*{message}"):
        fit(tmp_path, resume=True, **{"epochs": 1, **change})
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


class Noted(gru.Callback):
    """Remembers what it is told, and hands on what was loaded."""

    def __init__(self, kept: Any) -> None:
        self.kept, self.loaded = kept, None

    def state(self) -> dict[str, Any]:
        return {"kept": self.kept}

    def load(self, state: Any) -> None:
        self.loaded = state["kept"]


NUMPY: Any = {
    "batch_size": np.int32(6),
    "seed": np.int64(0),
    "clip_norm": np.float32(1),
    "clip_value": np.float64(3),
    "l1": np.float32(0),
    "l2": np.int64(0),
    "optimizer": gru.Adam(np.float64(0.05), (np.float64(0.9), 0.999), np.float64(1e-8)),
    "class_weight": {np.int64(1): np.float64(1), 0: 1},
    "schedule": gru.schedules.WarmUp(np.int64(3), gru.schedules.Step(np.int32(1), by=np.int8(1))),
    "early_stopping": gru.EarlyStopping(np.int8(9), min_delta=np.float64(0)),
    "bptt_steps": None,
    "stateful": np.False_,
    "checkpoint_minutes": np.int64(0),
}
PYTHON: Any = {
    "batch_size": 6,
    "seed": 0,
    "clip_norm": 1,
    "clip_value": 3.0,
    "l1": 0,
    "l2": 0.0,
    "optimizer": gru.Adam(0.05),
    "class_weight": {0: 1.0, 1: 1},
    "schedule": gru.schedules.WarmUp(3, gru.schedules.Step(1, by=1.0)),
    "early_stopping": gru.EarlyStopping(9, min_delta=0),
    "checkpoint_minutes": 0.0,
}


@pytest.mark.parametrize(("first", "second"), [(NUMPY, PYTHON), (PYTHON, NUMPY)])
def test_numpys_numbers_are_pythons(
    first: dict[str, Any], second: dict[str, Any], tmp_path: Path
) -> None:
    def fresh(call: dict[str, Any]) -> dict[str, Any]:
        made = gru.Adam(call["optimizer"].lr, call["optimizer"].betas, call["optimizer"].eps)
        return {**call, "optimizer": made}

    wanted, _ = fit(**fresh(first))
    assert fit(**fresh(second))[0] == wanted
    with pytest.raises(Stop):
        fit(tmp_path, callbacks=[breaking(6)], **fresh(first))
    assert fit(tmp_path, resume=True, **fresh(second))[0] == wanted
    with pytest.raises(ValueError, match=r"l2 was 0 and is 0.5; class_weight was {0: 1, 1: 1} and"):
        fit(tmp_path, resume=True, **fresh({**second, "l2": 0.5, "class_weight": {0: 1.5}}))


@pytest.mark.parametrize(
    ("schedule", "needs"),
    [
        (gru.schedules.Step(2), False),
        (gru.schedules.ReduceOnPlateau(), False),
        (gru.schedules.WarmUp(2), False),
        (gru.schedules.Cosine(steps=9), False),
        (gru.schedules.OneCycle(steps=9), False),
        (gru.schedules.WarmUp(2, gru.schedules.Cosine(steps=9)), False),
        (gru.schedules.Cosine(), True),
        (gru.schedules.OneCycle(), True),
        (gru.schedules.WarmUp(2, gru.schedules.OneCycle()), True),
    ],
)
def test_more_epochs_where_no_schedule_depends_on_them(
    schedule: gru.schedules.Schedule, needs: bool, tmp_path: Path
) -> None:
    assert schedule.needs_length is needs
    fit(tmp_path, epochs=1, schedule=schedule)
    if needs:
        message = f"epochs was 1 and is 2, and the schedule {type(schedule).__name__}"
        with pytest.raises(ValueError, match=rf"{message}\(.*\) depends on them \(needs_length"):
            fit(tmp_path, epochs=2, schedule=schedule, resume=True)
        return
    wanted, history = fit(epochs=2, schedule=schedule)
    found, again = fit(tmp_path, epochs=2, schedule=schedule, resume=True)
    assert (found, again.lr) == (wanted, history.lr)


class Halve(gru.schedules.Schedule):
    """As a user writes one, who may learn of ``needs_length`` when the run is to go on."""

    needs_length = True  # type: ignore[assignment]

    def factor(self, at: gru.schedules.Moment) -> float:
        return 0.5**at.epoch


def test_a_schedule_may_say_later_that_it_needs_no_length(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted, _ = fit(epochs=2, schedule=Halve())
    fit(tmp_path, epochs=1, schedule=Halve())
    with pytest.raises(ValueError, match=r"the schedule Halve\(\) depends on them"):
        fit(tmp_path, epochs=2, schedule=Halve(), resume=True)
    monkeypatch.setattr(Halve, "needs_length", False)
    assert fit(tmp_path, epochs=2, schedule=Halve(), resume=True)[0] == wanted


def test_any_changed_number_in_memory_is_another_run(tmp_path: Path) -> None:
    X = np.random.default_rng(0).standard_normal((600, 5, 2))
    y = np.arange(600) % 2
    call: dict[str, Any] = {"epochs": 1, "batch_size": 300, "validation": None}
    fit(tmp_path, X=X, y=y, **call)
    fit(tmp_path, X=X.astype(np.float32)[::-1][::-1], y=y.astype(np.int64), resume=True, **call)
    long = np.zeros((1, 9000, 2))
    fit(tmp_path / "long", X=list(long), y=[1], **call)
    long[0, 5000, 1] = 1e-3
    with pytest.raises(ValueError, match=r"data was .* and is"):
        fit(tmp_path / "long", X=list(long), y=[1], resume=True, **call)
    changed = X.copy()
    changed[1, 2, 1] += 100
    with pytest.raises(ValueError, match=r"data was .* and is"):
        fit(tmp_path, X=changed, y=y, resume=True, **call)
    y[7] = 0
    with pytest.raises(ValueError, match=r"data was .* and is"):
        fit(tmp_path, X=X, y=y, resume=True, **call)


def test_of_a_mapped_file_a_sample_is_compared(tmp_path: Path) -> None:
    X = np.random.default_rng(0).standard_normal((600, 5, 2)).astype(np.float32)
    np.save(tmp_path / "x.npy", X)
    call: dict[str, Any] = {"y": np.arange(600) % 2, "epochs": 1, "batch_size": 300}
    call |= {"validation": None, "folder": tmp_path / "run", "resume": True}
    fit(X=np.load(tmp_path / "x.npy", mmap_mode="r"), **call)
    for row, seen in ((1, False), (2, True)):  # each second one
        changed = X.copy()
        changed[row] += 1
        np.save(tmp_path / "y.npy", changed)
        mapped = np.load(tmp_path / "y.npy", mmap_mode="r")
        if seen:
            with pytest.raises(ValueError, match=r"data was .* and is"):
                fit(X=mapped, **call)
        else:
            fit(X=mapped, **call)


def test_a_callbacks_state_may_hold_numpys_numbers(tmp_path: Path) -> None:
    kept = {"best": np.float32(0.5), "at": (np.int64(3), None), "done": np.True_, "name": "é"}
    fit(tmp_path, epochs=1, callbacks=[Noted(kept)])
    again = Noted(None)
    fit(tmp_path, epochs=1, callbacks=[again], resume=True)
    assert again.loaded == {"best": 0.5, "at": [3, None], "done": True, "name": "é"}


@pytest.mark.parametrize(
    ("kept", "message"),
    [
        (np.zeros(3), r"state of the callback Noted\['kept'\] must be .*JSON .* got ndarray"),
        ({"a": [{1}]}, r"the callback Noted\['kept'\]\['a'\]\[0\] must be .*JSON .* got set"),
        ({3: 4}, r"Noted\['kept'\] must have strings as keys, as in JSON, got 3"),
        (1j, "must be what JSON can hold, got complex"),
    ],
)
def test_a_state_that_json_cannot_hold_is_found_at_the_start(
    kept: Any, message: str, tmp_path: Path
) -> None:
    made = model()
    before = weights(made)
    with pytest.raises(TypeError, match=message):
        fit(tmp_path / "run", made, callbacks=[gru.Callback(), Noted(0), Noted(kept)])
    assert weights(made) == before
    assert list(tmp_path.iterdir()) == []
    fit(None, callbacks=[Noted(kept)])  # without checkpoints nobody asks for it


def test_a_schedules_state_is_named_too(tmp_path: Path) -> None:
    class Odd(gru.schedules.Schedule):
        def factor(self, at: gru.schedules.Moment) -> float:
            return 1.0

        def state(self) -> dict[str, Any]:
            return {"x": np.zeros(1)}

    with pytest.raises(TypeError, match=r"the state of the schedule Odd\['x'\] must be what JSON"):
        fit(tmp_path, schedule=Odd())


def test_two_runs_in_one_folder_are_refused(tmp_path: Path) -> None:
    """The second one, in this process or another, changes nothing; the first goes on."""
    folder, told = tmp_path / "run", []
    wanted, _ = fit()
    code = (
        "import sys; sys.path.insert(0, sys.argv[2])\n"
        "from test_checkpoint import fit\n"
        "fit(sys.argv[1], resume=True)\n"
    )

    class Again(gru.Callback):
        def on_step_end(self, run: gru.Run) -> None:
            if run.step not in (1, 6):
                return
            (folder / "checkpoint-00000009.safetensors.7.tmp").write_bytes(b"being written")
            there = sorted(path.name for path in folder.iterdir())
            with pytest.raises(BlockingIOError, match=f"run is in use .* process {os.getpid()}; "):
                fit(folder, resume=True)
            call = [sys.executable, "-c", code, str(folder), str(Path(__file__).parent)]
            done = subprocess.run(call, capture_output=True, text=True, check=False)
            told.append(done.stderr.splitlines()[-1])
            assert sorted(path.name for path in folder.iterdir()) == there

    assert fit(folder, callbacks=[Again()])[0] == wanted
    assert len(told) == 2
    assert all(line.startswith(f"BlockingIOError: {folder} is in use by another") for line in told)
    assert fit(folder, resume=True)[0] == wanted
    assert sorted(path.name for path in folder.iterdir()) == [
        "checkpoint-00000003.safetensors",
        "checkpoint-00000004.safetensors",
    ]


def test_a_lock_that_a_killed_run_left_holds_nobody_up(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("1\n")
    fit(tmp_path, epochs=1)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-00000001.safetensors"]


FORKING = """
import os, sys
from pathlib import Path
from gru.lock import Lock

lock = Lock(Path(sys.argv[1]) / "lock")
child = os.fork()
if not child:
    lock.release()  # its parent's, so nothing happens
    os.write(1, f"{os.path.exists(lock.path)} {lock.held}\\n".encode())
    sys.stdin.read()
    os._exit(0)
sys.stdin.read()
"""


def test_a_forked_child_does_not_hold_the_lock(tmp_path: Path) -> None:
    command = [sys.executable, "-c", FORKING, str(tmp_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "True False\n"
        with pytest.raises(BlockingIOError, match=f"by another run, of process {run.pid}; wait"):
            Lock(tmp_path / "lock")
        run.kill()
        os.waitid(os.P_PID, run.pid, os.WEXITED | os.WNOWAIT)
        lock = Lock(tmp_path / "lock")  # the child lives on
        assert lock.held
        lock.release()


def test_a_lock_of_a_process_that_does_not_run_says_so(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    with (tmp_path / "lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        other.write(f"{ended.pid}\n")
        other.flush()
        with pytest.raises(BlockingIOError, match=f"process {ended.pid}, which does not run here"):
            Lock(tmp_path / "lock")


def test_a_lock_is_closed_where_its_file_cannot_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(errno.EACCES, "denied")

    before = len(os.listdir("/proc/self/fd"))
    lock = Lock(tmp_path / "lock")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", refuse)
        lock.release()
    assert not lock.held
    assert len(os.listdir("/proc/self/fd")) == before
    Lock(tmp_path / "lock").release()


def test_a_lock_whose_file_goes_in_between_is_taken_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another run ends between the opening of its file and the locking."""
    path, calls, flock = tmp_path / "lock", [], fcntl.flock

    def late(file: int, how: int) -> None:
        if not calls:
            path.unlink()
        calls.append(file)
        flock(file, how)

    monkeypatch.setattr(fcntl, "flock", late)
    first = Lock(path)
    assert len(calls) == 2
    with pytest.raises(BlockingIOError, match=f"in use by another run, of process {os.getpid()}"):
        Lock(path)
    first.release()
    assert not path.exists()


def test_a_file_system_without_locks_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(file: int, how: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", unknown)
    leftover = tmp_path / "checkpoint-00000009.safetensors.123.tmp"
    leftover.write_bytes(b"perhaps another's")
    with pytest.warns(RuntimeWarning, match="lock cannot be locked: No locks available; see to it"):
        fit(tmp_path, epochs=1)
    assert leftover.exists()


def test_a_run_that_does_not_start_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"log must lie in a folder that exists, got '.*x"):
        fit(tmp_path / "run", log=tmp_path / "nowhere" / "x.csv")
    (tmp_path / "x.csv").mkdir()
    with pytest.raises(IsADirectoryError, match="log must be a file, got the folder"):
        fit(tmp_path / "run", log=tmp_path / "x.csv")
    with pytest.raises(ValueError, match="memory_limit must be a number of bytes"):
        fit(tmp_path / "run", memory_limit="64XB")
    assert [path.name for path in tmp_path.iterdir()] == ["x.csv"]
    (tmp_path / "there").mkdir()
    with pytest.raises(IsADirectoryError, match="log must be a file, got the folder"):
        fit(tmp_path / "there" / "a" / "b", log=tmp_path / "x.csv")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["there", "x.csv"]


def test_every_new_folder_is_flushed_and_goes_if_nothing_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[Path] = []
    monkeypatch.setattr(checkpoint, "_flush", flushed.append)
    folder = Folder(tmp_path / "a" / "b" / "c")
    folder.start(resume=False)
    assert set(flushed) == {tmp_path, tmp_path / "a", tmp_path / "a" / "b"}
    (tmp_path / "a" / "mine").write_text("stays")
    folder.close()
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a", "mine"]


def test_a_folder_that_is_a_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "afile"
    file.write_text("text")
    for name in (file, file / "x", file / "x" / "y"):
        message = f"^checkpoint must be a folder, got '{name}': {file} is a file$"
        with pytest.raises(NotADirectoryError, match=message):
            fit(name)
    assert file.read_text() == "text"


def cut(content: bytes) -> bytes:
    return content[: len(content) * 2 // 3]


def flip(content: bytes) -> bytes:
    return content[:-9] + bytes([content[-9] ^ 1]) + content[-8:]


@pytest.mark.parametrize("damage", [cut, flip, lambda content: b"", lambda content: b"\0" * 99])
def test_the_older_of_two_is_used(damage: Callable[[bytes], bytes], tmp_path: Path) -> None:
    wanted, _ = fit(tmp_path)
    newest = Folder(tmp_path).files()[-1]
    newest.write_bytes(damage(newest.read_bytes()))
    with pytest.warns(RuntimeWarning, match=f"{newest.name}: .*checkpoint-00000003.* is used"):
        found, _ = fit(tmp_path, resume=True)
    assert found == wanted
    assert [path.name[-13:-12] for path in Folder(tmp_path).files()] == ["3", "5"]
    for path in Folder(tmp_path).files():
        path.write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"no checkpoint can be read: .*00000005.*; .*00000003"):
        fit(tmp_path, resume=True)


def test_any_changed_byte_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "file"
    arrays = {"a": np.arange(5, dtype=np.float32), "b": np.zeros((0, 2)), "c": np.array([True])}
    content = b"".join(tensor_file.pieces(arrays, {"step": 1, "name": "é"}))
    path.write_bytes(content)
    found, notes = tensor_file.read(path)
    assert notes == {"step": 1, "name": "é"}
    assert all(np.array_equal(found[name], array) for name, array in arrays.items())
    for i in range(len(content)):
        for bad in (content[:i], content[:i] + bytes([content[i] ^ 4]) + content[i + 1 :]):
            path.write_bytes(bad)
            with pytest.raises(tensor_file.DamagedFileError, match="file: "):
                tensor_file.read(path)
    path.write_bytes(content + b"\0")
    with pytest.raises(tensor_file.DamagedFileError, match="file: "):
        tensor_file.read(path)


def test_a_checkpoint_is_a_safetensors_file(tmp_path: Path) -> None:
    library = pytest.importorskip("safetensors.numpy")
    made = model()
    fit(tmp_path, made)
    found = library.load_file(Folder(tmp_path).files()[-1])
    for name, block in made.blocks().items():
        assert np.array_equal(found[f"model.{name}"], block)


def test_a_full_disk_leaves_the_checkpoint_before(tmp_path: Path) -> None:
    """The limit on the size of files stands for the disk; a child sets it for itself."""
    wanted, _ = fit()
    fit(tmp_path, epochs=2)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    code = (
        "import resource, sys; sys.path.insert(0, sys.argv[2])\n"
        "from test_checkpoint import fit\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))\n"
        "fit(sys.argv[1], resume=True)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path), str(Path(__file__).parent)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "OSError: [Errno 27] checkpoint " in done.stderr
    assert "00000003.safetensors could not be written: File too large; " in done.stderr
    assert "checkpoint-00000002.safetensors is whole" in done.stderr
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert fit(tmp_path, resume=True)[0] == wanted
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"resume": True}, ValueError, "resume needs checkpoint, the folder of the run"),
        ({"folder": ""}, ValueError, "checkpoint must be the name of a folder, got ''"),
        ({"folder": b""}, ValueError, "checkpoint must be the name of a folder, got ''"),
        ({"folder": 3}, TypeError, "checkpoint must be a string or a path, got 3"),
        ({"folder": "x", "resume": "yes"}, TypeError, "resume must be True or False, got 'yes'"),
        ({"folder": "x", "checkpoint_minutes": -1}, ValueError, "minutes must be at least 0"),
    ],
)
def test_bad_settings(change: dict[str, Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        fit(**change)
