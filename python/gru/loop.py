"""Epochs and steps of a run, and all that a killed run needs to go on; knows no layer."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

import numpy as np

from gru._types import Array
from gru.callbacks import Callback, Run
from gru.checkpoint import Folder
from gru.data import Dataset
from gru.good import live_arrays
from gru.model import Sequential
from gru.objective import NothingCountsError, Objective, Sums
from gru.plain import plain
from gru.progress import Progress
from gru.schedules import Moment, Schedule
from gru.sources import Piece, Source, Stored
from gru.step import Stepper
from gru.stopping import EarlyStopping
from gru.training_log import TrainingLog

__all__ = ["Loop", "evaluate"]


def evaluate(
    model: Sequential, data: Dataset | Source, objective: Objective, *, batch_size: int = 256
) -> tuple[float, ...]:
    """Return loss and metrics of a model on a data set, for which nothing is drawn.

    Examples
    --------
    >>> import numpy as np, gru
    >>> from gru.data import Sequences
    >>> model = gru.Sequential([gru.GRU(3, 4, seed=0), gru.Last(), gru.Linear(4, 2, seed=0)])
    >>> data = Dataset(Sequences(np.zeros((5, 6, 3)), model.input_dtype), [0, 1, 1, 0, 1])
    >>> loss, accuracy = evaluate(model, data, Objective.of("cross_entropy"))
    >>> accuracy in (0.4, 0.6)
    True
    """
    source = Stored(data, batch_size) if isinstance(data, Dataset) else data
    sums, state = Sums(objective), None
    for piece in source.pieces(0, None)[1]:
        batch = piece.take()
        which = {"lengths": batch.lengths, "mask": batch.mask}
        if source.carries:
            prediction, state = model.carry(batch.x, None if piece.fresh else state, **which)
        else:
            prediction = model(batch.x, **which)
        sums.add(objective.measure(prediction, batch).sums)
    sums.check_counted()
    return sums.values()


@contextmanager
def _naming(place: str) -> Iterator[None]:
    """Say where in a run the numbers went wrong."""
    try:
        yield
    except (FloatingPointError, NothingCountsError) as error:
        raise type(error)(f"{place}: {error}") from None


class Loop:
    """A run of :func:`gru.fit` from one epoch to the next.

    Its state is the weights, the optimiser, the generator, the position in the epoch, and what
    schedule, early stopping and callbacks remember: :meth:`arrays` and :meth:`notes` together.

    Parameters
    ----------
    run : Run
        What callbacks see; its history is written.
    stepper : Stepper
        Takes the steps.
    source : Source
        The training data.
    held : Source or None
        The validation data.
    rng : numpy.random.Generator
        Of the order of the batches and of dropout.
    epochs : int
        Of the whole run.
    schedule, stopping, log, folder : Schedule, EarlyStopping, TrainingLog, Folder, optional
        What else acts.
    callbacks : list of Callback
        In the order in which they are called.
    save_seconds : float or None
        After which time a checkpoint is written within an epoch.

    Attributes
    ----------
    settings : dict
        What must agree when a run is resumed; written to checkpoints.
    """

    def __init__(
        self,
        run: Run,
        stepper: Stepper,
        source: Source,
        held: Source | None,
        rng: np.random.Generator,
        *,
        epochs: int,
        schedule: Schedule | None,
        stopping: EarlyStopping | None,
        callbacks: list[Callback],
        log: TrainingLog | None,
        folder: Folder | None,
        save_seconds: float | None,
    ) -> None:
        self.run, self.stepper, self.source, self.held, self.rng = run, stepper, source, held, rng
        self.epochs, self.schedule, self.stopping = epochs, schedule, stopping
        self.callbacks, self.log, self.folder = callbacks, log, folder
        self.remembering = [c for c in callbacks if type(c).state is not Callback.state]
        self.save_seconds = save_seconds
        self.settings: dict[str, str] = {}
        self.rate = float(run.optimizer.lr)  # NumPy's would round its products to its own type
        self.index = 0  # pieces of the epoch that are done
        self.order_state: Any = None  # of the generator, before it drew the epoch's order
        self.sums = Sums(stepper.objective)
        self.carried: Any = None
        self.elapsed = 0.0
        self.total: int | None = None
        self._unseen: Piece | None = None  # the last step's, until its weights have shown a loss
        self._saved = time.monotonic()

    def go(self, bar: Progress) -> None:
        """Run all epochs that are left; at the end, whatever it is, put rate and best weights back.

        Raises
        ------
        FloatingPointError
            If a number of the training is not finite, or the loss of the weights that it ends with.
        """
        self._start()
        try:
            self._call("on_fit_start")
            if self.folder is not None:
                self.states()  # what JSON cannot hold is refused now, not after an epoch
            while self.run.epoch < self.epochs and not self.run.stopped:
                self._epoch(bar)
            self._look(self.run.epoch)  # a callback may have ended the run
        finally:
            if self.schedule is not None:
                self.run.optimizer.lr = self.rate
            if self.stopping is not None:
                self.stopping.restore(self.run.model.blocks())
        self._call("on_fit_end")

    def _start(self) -> None:
        self._saved = time.monotonic()
        if self.schedule is not None:
            self.total = self.source.steps(self.epochs)
        if self.log is not None:
            self.log.start(self.run.history)

    def _call(self, moment: str) -> None:
        for callback in self.callbacks:
            getattr(callback, moment)(self.run)

    def _pieces(self) -> tuple[int | None, Iterator[Piece]]:
        """Return the pieces of the epoch that are left; draw its order, if resumed once more."""
        if not self.index:
            self.order_state = self.rng.bit_generator.state
            self.sums, self.carried, self.elapsed = Sums(self.stepper.objective), None, 0.0
            return self.source.pieces(self.run.epoch, self.rng)
        now = self.rng.bit_generator.state
        self.rng.bit_generator.state = self.order_state
        count, pieces = self.source.pieces(self.run.epoch, self.rng)
        self.rng.bit_generator.state = now
        left = islice(pieces, self.index - 1, None)
        self._unseen = next(left, None)
        return count, left

    def _epoch(self, bar: Progress) -> None:
        start = time.perf_counter()
        number = self.run.epoch + 1
        bar.set_description(f"epoch {number}/{self.epochs}", refresh=False)
        if not self.index:
            self._call("on_epoch_start")
            if self.run.stopped:
                return
        before = 0.0 if not self.index else self.elapsed
        count, pieces = self._pieces()
        for piece in pieces:
            of = f" of {count}" if count else ""
            with _naming(f"epoch {number}, step {self.index + 1}{of}"):
                self._step(piece)
            bar.update()
            self.elapsed = before + time.perf_counter() - start
            self._call("on_step_end")
            if self.run.stopped:
                break
            self._save_if_due()
        self._end_epoch(before + time.perf_counter() - start, bar)

    def _step(self, piece: Piece) -> None:
        """Take one optimiser step."""
        run, seed = self.run, int(self.rng.integers(2**63))
        if self.schedule is not None:
            factor = self.schedule.factor(Moment(run.step, run.epoch, self.total))
            run.optimizer.lr = self.rate * factor
        state = None if piece.fresh else self.carried
        result, self.carried = self.stepper(
            piece.take(), seed, state=state, carry=self.source.carries
        )
        self._unseen = piece
        self.sums.add(result.sums)
        run.loss = result.loss
        run.step += 1
        self.index += 1

    def _end_epoch(self, seconds: float, bar: Progress) -> None:
        start = time.perf_counter()
        run = self.run
        if not run.stopped:  # a run that is stopped may have seen but some of the targets
            with _naming(f"epoch {run.epoch + 1}"):
                self.sums.check_counted()
        found = self.sums.values()
        ends = run.stopped or run.epoch + 1 >= self.epochs
        if self.held is None and (ends or self.folder is not None or self.stopping is not None):
            self._look(run.epoch + 1)
        val = self._validate()
        run.history.append(
            loss=found[0],
            val_loss=val[0] if val else None,
            lr=float(run.optimizer.lr),
            seconds=seconds + time.perf_counter() - start,
        )
        names = self.stepper.objective.metrics
        run.history.append_metrics(
            dict(zip(names, found[1:], strict=True)), dict(zip(names, val[1:], strict=bool(val)))
        )
        run.epoch, self.index, self.carried = run.epoch + 1, 0, None
        if self.schedule is not None:
            self.schedule.end_epoch(run.history.last)
        if self.stopping is not None and self.stopping.end_epoch(
            run.epoch, run.history.last, run.model.blocks()
        ):
            run.stop()
        self._call("on_epoch_end")
        self._record(bar)

    def _validate(self) -> tuple[float, ...]:
        if self.held is None:
            return ()
        with _naming(f"epoch {self.run.epoch + 1}, validation"):
            val = evaluate(self.run.model, self.held, self.stepper.objective)
            self.stepper.judge(val[0])
        self.stepper.good.keep()
        self._unseen = None
        return val

    def _look(self, number: int) -> None:
        """Refuse weights without a finite loss where no step follows that would show it."""
        if self._unseen is None:
            return
        state = None if self._unseen.fresh else self.carried
        with _naming(f"epoch {number}, after its last step"):
            self.stepper.look(self._unseen.take(), state, carry=self.source.carries)
        self._unseen = None

    def _record(self, bar: Progress) -> None:
        """Make the epoch last, then say so."""
        run = self.run
        if self.folder is not None:
            self._save()
        if self.log is not None:
            self.log.write(run.history, len(run.history) - 1)
        if self.folder is not None:
            self._call("on_checkpoint")
        bar.set_postfix({name: f"{number:.4g}" for name, number in run.history.last.items()})

    def _save_if_due(self) -> None:
        if self.folder is None or self.save_seconds is None:
            return
        if time.monotonic() - self._saved >= self.save_seconds:
            self._save()

    def _save(self) -> None:
        if self.folder is not None:
            self.folder.save(self.arrays(), self.notes())
        self._saved = time.monotonic()

    def arrays(self) -> dict[str, Array]:
        """Return the arrays of the state by name, as they are in memory."""
        found = live_arrays(self.run.model, self.run.optimizer)
        kept = self.stepper.good.arrays()
        found.update({f"good.{name}": array for name, array in kept.items()})
        if self.stopping is not None:
            found.update({f"best.{name}": block for name, block in self.stopping.weights.items()})
        if self.index:
            found.update({f"sums.{i}": part for i, part in enumerate(self.sums.parts)})
            for i, state in enumerate(self.carried or ()):
                pair = state if isinstance(state, tuple) else (state,)
                found.update({f"carried.{i}.{j}": part for j, part in enumerate(pair)})
        return found

    def notes(self) -> dict[str, Any]:
        """Return the rest of the state, for JSON."""
        run = self.run
        return {
            "settings": self.settings,
            "history": run.history.as_dict(),
            "epoch": run.epoch,
            "step": run.step,
            "index": self.index,
            "stopped": run.stopped,
            "elapsed": self.elapsed,
            "rng": self.rng.bit_generator.state,
            "order": self.order_state if self.index else None,
            "good": self.stepper.good.notes(),
            "optimizer": {"lr": float(run.optimizer.lr), "steps": run.optimizer.steps},
            "slots": {name: len(parts) for name, parts in run.optimizer.state.items()},
            "carried": [len(s) if isinstance(s, tuple) else 0 for s in self.carried or ()],
            "stopping": None if self.stopping is None else self.stopping.state(),
            **self.states(),
        }

    def states(self) -> dict[str, Any]:
        """Return what schedule and callbacks remember, as JSON has it.

        Raises
        ------
        TypeError
            Naming whose state, and which part of it, JSON cannot hold.
        """
        found: dict[str, Any] = {"schedule": None}
        if self.schedule is not None:
            name = f"the state of the schedule {type(self.schedule).__name__}"
            found["schedule"] = plain(name, self.schedule.state())
        found["callbacks"] = [
            plain(f"the state of the callback {type(c).__name__}", c.state())
            for c in self.remembering
        ]
        return found

    def load(self, arrays: dict[str, Array], notes: dict[str, Any]) -> None:
        """Go on where a checkpoint was written."""
        run, optimizer = self.run, self.run.optimizer
        for name, block in run.model.blocks().items():
            block[...] = arrays[f"model.{name}"]
        optimizer.steps = notes["optimizer"]["steps"]
        if self.schedule is None:
            optimizer.lr = notes["optimizer"]["lr"]
        optimizer.state = {
            name: [arrays[f"optimizer.{name}.{i}"] for i in range(count)]
            for name, count in notes["slots"].items()
        }
        run.history.load(notes["history"])
        run.epoch, run.step, run.stopped = notes["epoch"], notes["step"], notes["stopped"]
        self.index, self.elapsed, self.order_state = (
            notes[name] for name in ("index", "elapsed", "order")
        )
        self.rng.bit_generator.state = notes["rng"]
        self.sums.parts = [array for name, array in arrays.items() if name.startswith("sums.")]
        self.carried = [
            tuple(arrays[f"carried.{i}.{j}"] for j in range(count))
            if count
            else arrays[f"carried.{i}.0"]
            for i, count in enumerate(notes["carried"])
        ] or None
        good = {n.removeprefix("good."): a for n, a in arrays.items() if n.startswith("good.")}
        self.stepper.good.load(good, notes["good"])
        self._load_helpers(arrays, notes)

    def _load_helpers(self, arrays: dict[str, Array], notes: dict[str, Any]) -> None:
        if self.schedule is not None:
            self.schedule.load(notes["schedule"])
        if self.stopping is not None:
            names = self.run.model.blocks()
            best = {name: arrays[f"best.{name}"] for name in names if f"best.{name}" in arrays}
            self.stopping.load(notes["stopping"], best)
        for callback, state in zip(self.remembering, notes["callbacks"], strict=True):
            callback.load(state)
