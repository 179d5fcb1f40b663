"""``gru.fit``: puts a run together and starts it; the loop itself is in gru.loop."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, closing
from functools import partial
from typing import Any

import numpy as np

from gru import check, prepare
from gru.callbacks import Callback, Run, callbacks_of
from gru.history import History
from gru.loop import Loop, evaluate
from gru.losses import Loss
from gru.metrics import Metric
from gru.model import Sequential
from gru.objective import Objective
from gru.optim import Optimizer
from gru.progress import progress
from gru.schedules import Schedule
from gru.settings import check_same, settings_of
from gru.step import Stepper, train_step
from gru.stopping import EarlyStopping
from gru.training_log import TrainingLog

__all__ = ["evaluate", "fit", "train_step"]


def _start(loop: Loop, fixed: Callable[[], dict[str, str]], *, resume: bool) -> None:
    """Open the folder of checkpoints, if there is one, and go on from the newest to resume."""
    if loop.folder is None:
        return
    found = loop.folder.start(resume=resume)
    loop.settings = fixed()
    if found is not None:
        check_same(str(loop.folder.path), found[1]["settings"], loop.settings)
        if found[1]["epoch"] > loop.epochs:
            done = found[1]["epoch"]
            raise ValueError(
                f"epochs must be at least {done}, which the run in {loop.folder.path} has done, "
                f"got {loop.epochs}"
            )
        loop.load(*found)


def _run(
    loop: Loop, fixed: Callable[[], dict[str, str]], *, resume: bool, verbose: bool
) -> History:
    """Run a loop; ``fixed`` tells its settings, of which the hash of the data takes time."""
    with ExitStack() as stack:
        if loop.folder is not None:
            stack.callback(loop.folder.close)
        _start(loop, fixed, resume=resume)
        steps = loop.source.steps(loop.epochs)
        bar = stack.enter_context(closing(progress(steps, verbose=verbose, done=loop.run.step)))
        loop.go(bar)
    return loop.run.history


def fit(
    model: Sequential,
    X: Any,
    y: Any = None,
    *,
    loss: str | Loss = "cross_entropy",
    optimizer: Optimizer | None = None,
    epochs: int = 20,
    batch_size: int = 32,
    clip_norm: float | None = 1.0,
    clip_value: float | None = None,
    l1: float = 0.0,
    l2: float = 0.0,
    lengths: Any = None,
    mask: Any = None,
    validation: tuple[Any, Any] | None = None,
    validation_lengths: Any = None,
    validation_mask: Any = None,
    sample_weight: Any = None,
    class_weight: Any = None,
    metric: str | Metric | None = None,
    metrics: Sequence[str | Metric] = (),
    schedule: Schedule | None = None,
    early_stopping: EarlyStopping | int | None = None,
    callbacks: Iterable[Callback | Callable[[Run], Any]] = (),
    bptt_steps: int | None = None,
    stateful: bool = False,
    memory_limit: int | str | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_minutes: float | None = 10.0,
    resume: bool = False,
    log: str | os.PathLike[str] | None = None,
    seed: int | None = 0,
    verbose: bool = True,
) -> History:
    """Train a model with mini-batches.

    Parameters
    ----------
    model : Sequential
        Trained in place.
    X : array_like, sequence of array_like, callable or iterable
        An array (B, T, I) or a list of arrays (T_i, I); cast to the model's dtype. A list is
        batched with sequences of like length together. Mapped files (``numpy.memmap``) and arrays
        of 256 MB and more are read, cast and checked batch by batch. Without ``y``, a source of
        batches: a function that is called with the epoch (from 0) and returns an iterable of
        them, or an object that can be iterated over in each epoch. A batch is ``(x, y)``,
        ``(x, y, sample_weight)`` or a :class:`gru.data.Batch`, checked as it comes; its order
        and size are the source's own.
    y : array_like or sequence of array_like, optional
        One target a sequence, or one a step if the model gives an output at every step.
    loss : str or callable
        A name in :data:`gru.losses.LOSSES`, or a function with their arguments and results.
    optimizer : Optimizer, optional
        ``Adam(1e-3)`` if not given. A used one goes on with its state.
    epochs, batch_size : int
        Passes over the data, at least 0 (the history is then empty); sequences in a step, at
        least 1.
    clip_norm : float or None
        Upper limit of the joint norm of all gradients in a step, above 0.
    clip_value : float or None
        Upper limit of each number in the gradients, above 0; acts before ``clip_norm``.
    l1, l2 : float
        Add ``l1 * sum |w| + l2 * sum w^2`` to what is minimised, over all parameters whose name
        starts with ``weight``, not over biases. The losses that are shown are without it.
    lengths, mask : array_like, optional
        Which steps of an array X count; one or neither.
    validation : pair, optional
        ``(X, y)`` on which loss and metrics are taken after each epoch; ``(source, None)`` for a
        source of batches.
    validation_lengths, validation_mask : array_like, optional
        Which of its steps count; one or neither.
    sample_weight : array_like or sequence of array_like, optional
        How much each target counts in the loss, at least 0: (B,), or one number a step: (B, T),
        or a list of (T_i,). The loss of a batch is then the weighted mean, with which its
        gradient is taken; a loss function is called with ``weight=``. Metrics and validation are
        not weighted.
    class_weight : dict or str, optional
        Integer class -> weight, 1 where it has none; or ``"balanced"``: n / (k * count) over the
        targets that count, as in scikit-learn. It multiplies ``sample_weight``.
    metric : str or callable, optional
        A name in :data:`gru.metrics.METRICS` or a function; by default accuracy for the cross
        entropies and mae for the other losses.
    metrics : sequence of str or callable
        More of them. Functions are averaged over batches, weighted by rows; the named ones are
        exact over all.
    schedule : Schedule, optional
        Sets the learning rate before each step, as a factor of the optimiser's own, which is put
        back after the run; see :mod:`gru.schedules`.
    early_stopping : EarlyStopping or int, optional
        End the run when a number stops improving, and restore the best weights; an integer is
        the patience for ``"val_loss"``.
    callbacks : iterable
        :class:`gru.Callback` objects, or functions of a :class:`gru.Run` that are called after
        each epoch.
    bptt_steps : int, optional
        Truncated backpropagation through time: cut each batch in windows of so many steps, with
        an optimiser step for each; the state is carried over, without its gradient. The targets
        are one a step. :func:`gru.data.streams` cuts one long sequence in rows for this.
    stateful : bool
        Take the sequences in their order; row i of a batch starts with the state in which row i
        of the one before ended. An epoch starts at zero.
    memory_limit : int or str, optional
        As in ``model.forward``; changes no bit of the result.
    checkpoint : str or path, optional
        A folder in which the run's whole state is written after every epoch, in one file; the
        last two are kept. One run at a time may use it.
    checkpoint_minutes : float or None
        After how many minutes it is also written within an epoch; ``None`` for never.
    resume : bool
        Continue the run in ``checkpoint`` to the same bits as if it had never been killed; with
        no run there, start one. Model, data and settings must be the same, except for a greater
        number of epochs where no schedule depends on it. Data in memory is compared as a whole,
        by a hash; of a mapped file the shape and a sample of 256 rows are. A source of batches
        is not compared: it must give the same ones again.
    log : str or path, optional
        A ``.csv`` or ``.jsonl`` file with a line for each epoch, written when the epoch is over
        (and its checkpoint on the disk). It is replaced, or continued if the run is resumed.
    seed : int or None
        Of the order of the batches and of dropout. The same seed gives the same bits, on any
        number of threads.
    verbose : bool
        Whether to draw a bar with loss, metrics and the time left.

    Returns
    -------
    History
        Loss, metrics, learning rate and seconds of every epoch.

    Raises
    ------
    TypeError
        If an argument is of a wrong kind: a model that is no Sequential (put a layer into one),
        an optimizer's name instead of an optimizer, data that holds no numbers.
    ValueError
        If a setting is out of range, the model is frozen, X holds no sequence, X or y is not
        finite (the first index is named), no target counts, they do not fit each other or the
        model, or the run in ``checkpoint`` has other settings or no whole checkpoint.
    FloatingPointError
        If a loss, a gradient or a parameter stops being finite, naming epoch and step. The model
        then has the last good weights: those that gave the last finite loss. Where no step
        follows that would show it, at the end of the run and before an epoch's checkpoint, the
        loss of the last batch is taken once more, unless there is validation. With
        ``early_stopping`` the weights of the best epoch are restored, as after any other error.
    OSError
        If ``checkpoint`` holds a run and ``resume`` is False, or is in use by another run, or a
        file cannot be written, as on a full disk; the checkpoints before are whole.

    Examples
    --------
    >>> import numpy as np, gru
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((64, 10, 2))
    >>> y = (X[:, :, 0].mean(axis=1) > 0).astype(int)
    >>> model = gru.Sequential([gru.GRU(2, 8, seed=0), gru.Last(), gru.Linear(8, 2, seed=0)])
    >>> history = gru.fit(model, X, y, optimizer=gru.Adam(0.01), epochs=10, verbose=False)
    >>> history.loss[-1] < history.loss[0]
    True
    """
    carry = prepare.carrying_of(model, bptt_steps=bptt_steps, stateful=stateful)
    batch_size, seed = check.integer("batch_size", batch_size, 1), check.seed(seed)
    limits = prepare.limits_of(clip_norm=clip_norm, clip_value=clip_value, l1=l1, l2=l2)
    limit = check.memory("memory_limit", memory_limit) or None
    objective = Objective.of(loss, metric, metrics)
    which = {"lengths": lengths, "mask": mask}
    weights = {"sample_weight": sample_weight, "class_weight": class_weight}
    source = prepare.source_of(model, X, y, batch_size, which, weights, carry)
    prepare.check_memory(model, source, limit)
    which = {"lengths": validation_lengths, "mask": validation_mask}
    held = prepare.held_out(model, validation, batch_size, which, carry)
    schedule, stopping = prepare.followers_of(schedule, early_stopping, objective, held)
    chosen = prepare.optimizer_of(optimizer)
    loop = Loop(
        Run(model, chosen, History(objective.metric_name)),
        Stepper(model, objective, chosen, **limits, memory_limit=limit),
        source,
        held,
        np.random.default_rng(seed),
        epochs=check.integer("epochs", epochs, 0),
        schedule=schedule,
        stopping=stopping,
        callbacks=callbacks_of(callbacks),
        log=None if log is None else TrainingLog(log),
        folder=prepare.folder_of(checkpoint, resume=resume),
        save_seconds=prepare.seconds_of(checkpoint_minutes),
    )
    given = {"batch_size": batch_size, "seed": seed, **limits, **carry}
    fixed = partial(settings_of, loop, loss, class_weight, given)
    return _run(loop, fixed, resume=resume, verbose=verbose)
