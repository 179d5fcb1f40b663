"""Learning-rate schedules against PyTorch's numbers, and in fit."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gru
from gru import schedules
from gru.schedules import Cosine, Moment, OneCycle, ReduceOnPlateau, Schedule, Step, WarmUp

LR = 0.3
TOTAL = 60


def theirs(make: Callable[[Any, Any], Any], numbers: list[float] | None = None) -> list[float]:
    """The rates of PyTorch's scheduler, one before each of its steps."""
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=LR)
    scheduler = make(torch.optim.lr_scheduler, optimizer)
    rates = []
    for i in range(TOTAL):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # SequentialLR warns about its own use of an epoch
            scheduler.step() if numbers is None else scheduler.step(numbers[i])
    return rates


def ours(schedule: Schedule) -> list[float]:
    return [LR * schedule.factor(Moment(step, 0, TOTAL)) for step in range(TOTAL)]


CASES: list[tuple[Schedule, Callable[[Any, Any], Any]]] = [
    (Cosine(), lambda t, o: t.CosineAnnealingLR(o, TOTAL)),
    (Cosine(0.1, steps=60), lambda t, o: t.CosineAnnealingLR(o, 60, eta_min=0.1 * LR)),
    (WarmUp(7, first=0.25), lambda t, o: t.LinearLR(o, 0.25, total_iters=7)),
    (
        OneCycle(),
        lambda t, o: t.OneCycleLR(o, LR, TOTAL, cycle_momentum=False),
    ),
    (
        OneCycle(rise=0.5, first=0.1, final=0.001),
        lambda t, o: t.OneCycleLR(
            o, LR, TOTAL, pct_start=0.5, div_factor=10, final_div_factor=100, cycle_momentum=False
        ),
    ),
    (
        WarmUp(10, then=Cosine()),
        lambda t, o: t.SequentialLR(
            o, [t.LinearLR(o, 0.1, total_iters=10), t.CosineAnnealingLR(o, 50)], [10]
        ),
    ),
]


@pytest.mark.parametrize(("schedule", "make"), CASES)
def test_pytorchs_numbers(schedule: Schedule, make: Callable[[Any, Any], Any]) -> None:
    np.testing.assert_allclose(ours(schedule), theirs(make), rtol=1e-9, atol=1e-15)


def test_steps_of_epochs() -> None:
    rates = [LR * Step(7, 0.5).factor(Moment(0, epoch, None)) for epoch in range(TOTAL)]
    np.testing.assert_allclose(rates, theirs(lambda t, o: t.StepLR(o, 7, gamma=0.5)), rtol=1e-12)


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("cooldown", [0, 3])
def test_a_plateau(mode: str, cooldown: int) -> None:
    rng = np.random.default_rng(cooldown)
    numbers = (1.0 + 0.3 * rng.random(TOTAL)).tolist()
    schedule = ReduceOnPlateau(
        3, 0.5, monitor="loss", mode=mode, cooldown=cooldown, min_delta=0.01, final=0.1
    )
    rates = []
    for number in numbers:
        rates.append(LR * schedule.factor(Moment(0, 0, None)))
        schedule.end_epoch({"loss": number})
    assert min(rates) == pytest.approx(0.1 * LR)
    wanted = theirs(
        lambda t, o: t.ReduceLROnPlateau(
            o, mode, 0.5, 3, threshold=0.01, cooldown=cooldown, min_lr=0.1 * LR
        ),
        numbers,
    )
    np.testing.assert_allclose(rates, wanted, rtol=1e-12)


class Halve(Schedule):
    def __init__(self) -> None:
        self.moments: list[Moment] = []

    def factor(self, at: Moment) -> float:
        self.moments.append(at)
        return 0.5**at.epoch


def fit(optimizer: gru.SGD, **options: Any) -> tuple[gru.Sequential, gru.History]:
    X = np.random.default_rng(0).standard_normal((10, 4, 2))
    model = gru.Sequential([gru.GRU(2, 3, seed=0), gru.Last(), gru.Linear(3, 1, seed=0)])
    call = {"loss": "mse", "optimizer": optimizer, "batch_size": 4, "verbose": False, **options}
    return model, gru.fit(model, X, X[:, 0, 0], **call)


def test_fit_asks_before_every_step_and_puts_the_rate_back() -> None:
    schedule, optimizer = Halve(), gru.SGD(0.2)
    _, history = fit(optimizer, schedule=schedule, epochs=3)
    assert schedule.moments == [Moment(i, i // 3, 9) for i in range(9)]
    assert history.lr == [0.2, 0.1, 0.05]
    assert optimizer.lr == 0.2


def test_a_run_with_a_factor_is_a_run_with_the_rate() -> None:
    a, _ = fit(gru.SGD(0.2), schedule=Step(1, 0.5), epochs=2, seed=3)
    optimizer = gru.SGD(0.2)

    def halve(run: gru.Run) -> None:
        optimizer.lr /= 2

    b, _ = fit(optimizer, callbacks=[halve], epochs=2, seed=3)
    for name, value in a.parameters.items():
        assert np.array_equal(value, b.parameters[name])


def test_a_plateau_in_fit_starts_anew_in_each_run() -> None:
    schedule = ReduceOnPlateau(0, 0.5, monitor="loss", min_delta=1.0)
    for _ in range(2):
        _, history = fit(gru.SGD(0.1), schedule=schedule, epochs=4)
        assert history.lr == [0.1, 0.1, 0.05, 0.025]


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda: Step(0), ValueError, "every must be an integer of at least 1, got 0"),
        (lambda: Step(1, 2.0), ValueError, "by must be from 0 to 1, got 2.0"),
        (lambda: Cosine(final=-1), ValueError, "final must be from 0 to 1, got -1"),
        (lambda: Cosine(steps=0), ValueError, "steps must be an integer of at least 1"),
        (lambda: WarmUp(5, then=3), TypeError, "then must be a schedule or None, got 3"),
        (lambda: OneCycle(rise="a"), TypeError, "rise must be a number, got 'a'"),
        (lambda: ReduceOnPlateau(-1), ValueError, "patience must be an integer of at least 0"),
        (lambda: ReduceOnPlateau(monitor="hits"), ValueError, "mode='min' or 'max' to monitor 'hi"),
        (lambda: ReduceOnPlateau(mode="up"), ValueError, "mode must be one of 'auto', .*'up'"),
        (
            lambda: schedules.Cosine().factor(Moment(0, 0, None)),
            ValueError,
            "Cosine must say its steps",
        ),
        (lambda: fit(gru.SGD(), schedule="cosine"), TypeError, "schedule must be .*, got 'cosine'"),
        (
            lambda: fit(gru.SGD(), schedule=ReduceOnPlateau()),
            ValueError,
            "there is no 'val_loss' to monitor; there are 'loss', 'mae'",
        ),
    ],
)
def test_bad_settings(make: Callable[[], Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        make()
