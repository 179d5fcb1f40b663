"""The pictures of commands: curves, predictions against truth, forecasts; knows no model."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from gru import plot
from gru._types import Array
from gru.cli.answers import Answers, scores
from gru.cli.parser import CommandError
from gru.history import History
from gru.table.errors import plural

__all__ = ["check", "draw", "draw_series"]

MOST_SERIES = 5  # in one picture

MOST_NUMBERS = 15  # classes of a confusion matrix whose cells show their counts
MOST_NAMES = 40  # and whose classes show their names


def check() -> None:
    """Refuse now if pictures cannot be drawn.

    Raises
    ------
    CommandError
        If matplotlib is not installed.
    """
    try:
        plot._figure()
    except plot.MissingError as error:
        raise CommandError(f"--report: {error}") from None


def draw(history: History, answers: Answers, truth: Array, kind: str) -> bytes:
    """Return a PNG.

    Parameters
    ----------
    history : History
        Of the training.
    answers : Answers
        For n targets.
    truth : ndarray
        Shape (n,): what they should have been.
    kind : str
        Which targets these are, in words.
    """
    figure = plot._figure(figsize=(15, 4.8))
    loss, metric, last = figure.subplots(1, 3, width_ratios=(1, 1, 1.15))
    regression = answers.probabilities is None
    _curve(
        loss,
        history.loss,
        history.val_loss,
        "squared error, scaled" if regression else "cross entropy",
    )
    loss.set(title="Loss", yscale="log")
    _curve(
        metric,
        history.metric,
        history.val_metric,
        "absolute error, scaled" if regression else "accuracy",
    )
    metric.set(title="Mean absolute error" if regression else "Accuracy")
    (_scatter if regression else _confusion)(last, answers, truth, kind)
    return _png(figure)


def _png(figure: Any) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, dpi=110, format="png")
    return file.getvalue()


def _curve(axes: Any, train: list[float], held: list[float], label: str) -> None:
    epochs = range(1, len(train) + 1)
    axes.plot(epochs, train, label="training, while it learns")
    if held:
        axes.plot(epochs, held, label="held out")
    axes.set(xlabel="epoch", ylabel=label)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend(frameon=False)
    axes.grid(alpha=0.3)


def _what(answers: Answers, kind: str) -> str:
    return f"{kind.capitalize()}, {plural(len(answers.values), answers.target.per)}"


def _scatter(axes: Any, answers: Answers, truth: Array, kind: str) -> None:
    found = scores(answers, truth)
    alpha = float(np.clip(300 / len(truth), 0.1, 0.8))
    axes.scatter(truth, answers.values, s=14, alpha=alpha, linewidths=0)
    ends = [min(truth.min(), answers.values.min()), max(truth.max(), answers.values.max())]
    axes.plot(ends, ends, color="gray", linestyle=":", label="right")
    axes.legend(frameon=False)
    r2 = "" if found["r2"] is None else f", R² {found['r2']:.3f}"
    axes.set(xlabel=f"true {answers.target.column}", ylabel="predicted")
    axes.set_title(f"{_what(answers, kind)}: RMSE {found['rmse']:.4g}{r2}")
    axes.grid(alpha=0.3)


def _confusion(axes: Any, answers: Answers, truth: Array, kind: str) -> None:
    found = scores(answers, truth)
    counts = np.array(found["confusion"])
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    names = [name if len(name) <= 14 else f"{name[:13]}…" for name in answers.target.classes]
    if len(names) <= MOST_NAMES:
        slanted = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"}
        turned = slanted if max(map(len, names)) > 3 else {}
        axes.set_xticks(range(len(names)), names, **turned)
        axes.set_yticks(range(len(names)), names)
    if len(names) <= MOST_NUMBERS:
        for i, j in np.argwhere(counts):
            color = "white" if share[i, j] > 0.5 else "black"
            axes.text(j, i, counts[i, j], ha="center", va="center", color=color, fontsize=9)
    axes.set(xlabel="predicted", ylabel=f"true {answers.target.column}")
    axes.set_title(f"{_what(answers, kind)}: accuracy {found['accuracy']:.3f}")


def draw_series(
    target: str,
    ids: list[str],
    y: list[Array],
    forecast: list[Array],
    ends: tuple[list[Array], list[Array]] | None,
    coverage: float,
) -> bytes:
    """Return a PNG of the first series, their ends and what follows.

    Parameters
    ----------
    target : str
        What the numbers are.
    ids : list of str
        Names of the series.
    y, forecast : list of ndarray
        Shapes (T_i,) and (H,).
    ends : pair of list of ndarray or None
        Lower and upper ends of the intervals, shape (H,) each.
    coverage : float
        What they should hold.
    """
    count = min(len(ids), MOST_SERIES)
    figure = plot._figure(figsize=(11, 1 + 2.8 * count))
    for i, axes in enumerate(figure.subplots(count, 1, squeeze=False)[:, 0]):
        ahead = np.arange(1, len(forecast[i]) + 1)
        shown = y[i][-max(60, 4 * len(ahead)) :]
        axes.plot(np.arange(1 - len(shown), 1), shown, label="known")
        joined = np.concatenate([y[i][-1:], forecast[i]])
        axes.plot(np.arange(len(joined)), joined, label="forecast")
        if ends is not None:
            band = {
                "color": "C1",
                "alpha": 0.2,
                "linewidth": 0,
                "label": f"{coverage:.0%} interval",
            }
            axes.fill_between(ahead, ends[0][i], ends[1][i], **band)
        axes.axvline(0, color="gray", linewidth=0.8, linestyle=":")
        axes.set(ylabel=target, title=ids[i])
        axes.margins(x=0.01)
        axes.grid(alpha=0.3)
    axes.set_xlabel("steps from the last known value")
    figure.axes[0].legend(frameon=False, loc="upper left")
    if count < len(ids):
        figure.suptitle(f"The first {count} of {len(ids):,} series")
    return _png(figure)
