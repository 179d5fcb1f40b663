"""Features, targets and what travels: every rule holds, each refusal is one whole line."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gru.table import (
    KEY,
    Features,
    Schema,
    Table,
    Target,
    find,
    group,
    hold_out,
    look_up,
)
from tables import refused, silent, table


def features(
    data: Table, columns: list[str], categorical: tuple[str, ...] = ()
) -> tuple[Features, list[np.ndarray], list[str]]:
    """Measure and encode all rows; with what was said while encoding."""
    groups = group(data, "id", None, silent)
    found = Features.of(data, groups, columns, categorical, silent)
    said: list[str] = []
    return found, found.inputs(data, groups, said.append), said


def test_dates_among_the_features_are_noticed() -> None:
    data = table(id="a a b", day="2024-01-31 2024-02-01 -", place="2024-01-31 here -")
    groups = group(data, "id", None, silent)
    said: list[str] = []
    Features.of(data, groups, ["day", "place"], (), said.append)
    assert [line.endswith("; these are dates, which order rows as the column of times")
            for line in said] == [True, False]  # fmt: skip


def test_numbers_are_scaled_and_gaps_closed() -> None:
    data = table(id="a a a b b b", x="1 - 3 - 5 NA")
    found, X, said = features(data, ["x"])
    filled = np.array([1, 1, 3, 3, 5, 5])  # the mean of 1, 3 and 5 where there is none before
    assert found.fill == (3.0,)
    wanted = (filled - filled.mean()) / filled.std()
    np.testing.assert_allclose(np.concatenate(X)[:, 0], wanted, rtol=1e-6)
    assert [len(item) for item in X] == [3, 3]
    assert X[0].dtype == np.float32
    assert said == [
        "column 'x': 3 missing cells; 2 took the id's last value, 1 the training mean 3"
    ]


def test_a_gap_never_takes_the_value_of_another_id() -> None:
    rng = np.random.default_rng(0)
    ids = rng.integers(0, 5, 60)
    cells = ["-" if rng.random() < 0.4 else str(value) for value in rng.integers(-9, 9, 60)]
    data = table(id=" ".join(map(str, ids)), x=" ".join(cells))
    found, X, _ = features(data, ["x"])
    for name, item in zip(dict.fromkeys(ids), X, strict=True):
        last, wanted = found.fill[0], []
        for cell in np.array(cells)[ids == name]:
            last = last if cell == "-" else float(cell)
            wanted.append(last)
        assert found.scaler is not None
        np.testing.assert_allclose(found.scaler.unscale(item)[:, 0], wanted, atol=1e-5)


def test_text_is_one_hot_and_the_unknown_is_nothing() -> None:
    data = table(id="a a b b", x="1 2 3 4", c="red blue - red", n="1 2 1 3")
    found, X, _ = features(data, ["n", "c", "x"], ("n",))
    assert found.numbers == ("x",)
    assert found.categories == {"n": ("1", "2", "3"), "c": ("blue", "red")}
    assert np.concatenate(X)[:, 1:].tolist() == [
        [1, 0, 0, 0, 1],
        [0, 1, 0, 1, 0],
        [1, 0, 0, 0, 0],
        [0, 0, 1, 0, 1],
    ]
    new = table(id="a a a", x="1 2 3", c="green - red", n="2 9 9")
    said: list[str] = []
    (rows,) = found.inputs(new, group(new, "id", None, silent), said.append)
    assert rows[:, 1:].tolist() == [[0, 1, 0, 0, 0], [0, 0, 0, 0, 0], [0, 0, 0, 0, 1]]
    assert said == [
        "column 'n': 2 cells with categories that the training data does not have, read as no "
        "category: '9'",
        "column 'c': 1 missing cell, read as no category",
        "column 'c': 1 cell with categories that the training data does not have, read as no "
        "category: 'green'",
    ]


def test_a_constant_is_said() -> None:
    data = table(id="a a b", x="5 5 5", y="1 2 3")
    said: list[str] = []
    Features.of(data, group(data, "id", None, silent), ["x", "y"], (), said.append)
    assert said == ["column 'x' holds one number only, 5; it tells nothing"]


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ("- NA ?", "column 'x': every cell is missing"),
        (
            "1 2 12o",
            "line 4, column 'x': '12o' is no number, and 2 other cells of this column hold "
            "numbers; mend it, or say that the column is categorical",
        ),
        (
            "a - 7",
            "line 2, column 'x': 'a' is no number, and 1 other cell of this column holds one; "
            "mend it, or say that the column is categorical",
        ),
        ("1 inf 2", "line 3, column 'x': 'inf' is not finite"),
        (
            "3 1,5 2",
            "line 3, column 'x': '1,5' has a decimal comma; write numbers with a point, or say "
            "that the column is categorical",
        ),
    ],
)
def test_columns_that_are_refused(cells: str, message: str) -> None:
    assert refused(lambda: features(table(id="a b a", x=cells), ["x"])) == f"a.csv, {message}"


def test_too_many_categories() -> None:
    cells = " ".join(f"name{i}" for i in range(101))
    data = table(id=" ".join(["a"] * 101), x=cells)
    assert refused(lambda: features(data, ["x"])) == (
        "a.csv, line 2, column 'x': holds text, 101 different ones such as 'name0'; leave it out "
        "of the features, or say that it is categorical"
    )
    assert features(data, ["x"], ("x",))[0].width == 101


def test_nothing_to_learn_a_column_from() -> None:
    data = table(id="a b", x="- 1", c="- red")
    first = group(data, "id", None, silent).take(np.array([0]))
    for name in ("x", "c"):
        message = refused(lambda name=name: Features.of(data, first, [name], (), silent))  # type: ignore[misc]
        assert message == f"a.csv, column '{name}': every cell of the training part is missing"


def test_far_from_the_training_data() -> None:
    found, _, _ = features(table(id="a a", x="1e-20 2e-20"), ["x"])
    new = table(id="b b", x="0 1e30")
    assert refused(lambda: found.inputs(new, group(new, "id", None, silent), silent)) == (
        "a.csv, line 3, column 'x': '1e30' is too far from the training data"
    )


# Targets


def found(ids: str, y: str, **options: Any) -> tuple[Any, list[str]]:
    data, said = table(id=ids, y=y), []
    return find(data, group(data, "id", None, silent), "y", said.append, **options), said


@pytest.mark.parametrize(
    ("y", "task", "per", "values"),
    [
        ("x x y y", "classification", "id", [[0], [1]]),
        ("x - - y", "classification", "id", [[0], [1]]),
        ("x y x y", "classification", "row", [[0, 1], [0, 1]]),
        ("0.5 0.5 2 2", "regression", "id", [[0.5], [2.0]]),
        ("0.5 1 2 3", "regression", "row", [[0.5, 1.0], [2.0, 3.0]]),
        ("1 1 2 2", "regression", "id", [[1.0], [2.0]]),  # two of two: no class comes again
        ("1 2 1 1", "regression", "row", [[1, 2], [1, 1]]),
    ],
)
def test_task_and_kind_are_guessed(y: str, task: str, per: str, values: list[list[float]]) -> None:
    result, said = found("a a b b", y)
    assert (result.target.task, result.target.per) == (task, per)
    assert [value.tolist() for value in result.values] == values
    assert said[0].startswith(f"target 'y': {task}, one per {per}")


def test_few_whole_numbers_are_classes() -> None:
    result, said = found("a b c d e", "1 2.0 1.0 2 2")
    assert result.target.classes == ("1", "2")
    assert [value.tolist() for value in result.values] == [[0], [1], [0], [1], [1]]
    assert said == ["target 'y': classification, one per id, 2 classes: '1', '2'"]
    assert found("a b c d e", "1 2.5 1 2.5 2.5")[0].target.task == "regression"
    many = " ".join(str(i % 21) for i in range(100))
    ids = " ".join(map(str, range(100)))
    assert found(ids, many)[0].target.task == "regression"
    assert len(found(ids, many, task="classification")[0].target.classes) == 21


def test_a_change_is_said_or_refused() -> None:
    _, said = found("a b a b", "x y x x")
    assert said[1] == "one per row because it changes within 1 of 2 ids, first in line 5 (id 'b')"
    assert refused(lambda: found("a b a b", "x y x x", per="id")) == (
        "a.csv, line 5, column 'y': id 'b' has 'x' here and 'y' in line 3, but there is one target "
        "per id"
    )


def test_ids_without_a_target_are_left_out() -> None:
    result, said = found("a b c", "x - y")
    assert result.kept.tolist() == [0, 2]
    assert said[0] == "1 id without a target left out, the first is 'b'"


@pytest.mark.parametrize(
    ("y", "options", "message"),
    [
        ("- ? -", {}, "column 'y': every cell is missing, and this is the target"),
        ("x x x", {}, "column 'y': every target is 'x'; two classes are needed"),
        ("1 x 2", {"task": "regression"}, "line 3, column 'y': 'x' is no number"),
        ("1 inf 2", {}, "line 3, column 'y': 'inf' is not finite"),
        (
            "1 - 2",
            {"per": "row"},
            "line 3, column 'y': no target, and there is one per row; leave the row out",
        ),
    ],
)
def test_targets_that_are_refused(y: str, options: dict[str, Any], message: str) -> None:
    assert refused(lambda: found("a b c", y, **options)) == f"a.csv, {message}"


def test_a_class_that_the_model_does_not_have() -> None:
    data = table(id="a b", y="x z")
    groups = group(data, "id", None, silent)
    message = refused(lambda: look_up(data, groups, Target("y", "id", ("x", "y"))))
    assert message == "a.csv, line 3, column 'y': 'z' is no class of the model: 'x', 'y'"


# The held-out part, and what travels


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 4), min_size=1, max_size=60), st.floats(0.01, 0.99), st.integers(0, 99)
)
def test_every_class_is_learnt_from(classes: list[int], share: float, seed: int) -> None:
    kinds = np.array(classes)
    train, held = hold_out(len(kinds), share, seed, kinds)
    assert sorted([*train, *held]) == list(range(len(kinds)))
    assert set(kinds[train]) == set(classes)
    assert len(held) <= max(1, round(share * len(kinds)))
    for kind in set(classes):
        size = (kinds == kind).sum()
        assert (kinds[held] == kind).sum() <= share * size + 1.5
    again = hold_out(len(kinds), share, seed, kinds)
    assert np.array_equal(again[0], train)


def test_a_schema_travels_as_text() -> None:
    data = table(id="a a b", x="1 - 0.1", c="red blue red")
    inputs, X, _ = features(data, ["x", "c"])
    schema = Schema("id", None, inputs, Target("y", "id", ("n", "p")))
    back = Schema.from_metadata({KEY: schema.as_json()}, "m")
    assert back.as_json() == schema.as_json()
    again = back.features.inputs(data, group(data, "id", None, silent), silent)
    assert [item.tobytes() for item in again] == [item.tobytes() for item in X]


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({}, "m: holds no columns and no scaling, so it was not made by gru train"),
        ({KEY: "{"}, "m: what it holds of its columns is damaged"),
        ({KEY: "[]"}, "m: what it holds of its columns is damaged"),
        ({KEY: '{"format": 1}'}, "m: what it holds of its columns is damaged"),
        (
            {KEY: '{"format": 2}'},
            "m: its columns have the format 2, this version of gru reads 1",
        ),
    ],
)
def test_a_schema_that_is_none(metadata: dict[str, str], message: str) -> None:
    assert refused(lambda: Schema.from_metadata(metadata, "m")) == message
