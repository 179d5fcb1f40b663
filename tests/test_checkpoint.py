"""Checkpoints: a killed run goes on to the same bits; another run is refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gru
from resumed import Stop, breaking, fit, model, same_but_seconds, task, weights

KILLED = Path(__file__).with_name("killed.py")


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
