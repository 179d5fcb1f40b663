"""Tables: what is written comes back, every rule holds, and every refusal is one whole line."""

from __future__ import annotations

import csv
import io
import string
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
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
    TableError,
    Target,
    find,
    group,
    hold_out,
    look_up,
    read,
)
from gru.table.cells import is_missing, is_number, numbers, times


def silent(sentence: str) -> None:
    """Take a sentence and do nothing."""


def table(**columns: str) -> Table:
    """A table from words with blanks between; "-" is an empty cell."""
    cells = {
        name: [("" if c == "-" else c) for c in text.split()] for name, text in columns.items()
    }
    rows = len(next(iter(cells.values())))
    return Table("a.csv", dict(cells), range(2, rows + 2))


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes | str], str]:
    """Write a.csv in the working folder."""
    monkeypatch.chdir(tmp_path)

    def write(data: bytes | str) -> str:
        Path("a.csv").write_bytes(data if isinstance(data, bytes) else data.encode())
        return "a.csv"

    return write


# Reading

CELLS = st.text(st.characters(blacklist_categories=["Cs", "Cc"]) | st.sampled_from('\n,;"\t'))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(CELLS, min_size=3, max_size=3), min_size=1, max_size=6),
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
)
def test_what_is_written_comes_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[list[str]], end: str, bom: bool
) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator=end).writerows([["a", "b c", "d,e"], *rows])
    path = tmp_path_factory.mktemp("table") / "a.csv"
    path.write_bytes((b"\xef\xbb\xbf" if bom else b"") + text.getvalue().encode())
    found = read(path)
    assert list(found.columns) == ["a", "b c", "d,e"]
    assert [list(row) for row in zip(*found.columns.values(), strict=True)] == [
        [cell.strip() for cell in row] for row in rows
    ]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.none() | st.floats(-1e30, 1e30) | st.integers(-(10**9), 10**9), min_size=1))
def test_numbers_come_back_to_the_bit(values: list[float | None]) -> None:
    cells = ["NA" if value is None else repr(value) for value in values]
    found = numbers(Table("a.csv", {"x": cells}, range(len(cells))), "x")
    wanted = [np.nan if value is None else float(value) for value in values]
    assert found.tobytes() == np.array(wanted).tobytes()


@settings(max_examples=300, deadline=None)
@given(st.text(string.digits + "+-.eE_ infaxN٣", max_size=8))
def test_a_column_and_a_cell_agree_on_what_a_number_is(text: str) -> None:
    cell = text.strip()
    alone = Table("a.csv", {"x": [cell]}, [2])
    if is_missing(cell):
        assert np.isnan(numbers(alone, "x")).all()
    elif is_number(cell) and abs(float(cell)) <= 1e30:
        assert numbers(alone, "x").tolist() == [float(cell)]
    else:
        with pytest.raises(TableError, match=r"^a[.]csv, line 2, column 'x': "):
            numbers(alone, "x")


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.datetimes(datetime(1600, 1, 1), datetime(2600, 1, 1)), min_size=2, unique=True),
    st.sampled_from(["", "Z", "+02:00"]),
)
def test_dates_sort_as_they_are(moments: list[datetime], zone: str) -> None:
    cells = [moment.isoformat(sep=" ", timespec="microseconds") + zone for moment in moments]
    found = times(Table("a.csv", {"t": cells}, range(len(cells))), "t")
    steps = [(m - moments[0]) // timedelta(microseconds=1) for m in moments]
    assert (found - found[0]).tolist() == steps


def test_nanoseconds_are_told_apart() -> None:
    first, second = times(table(t="1700000000000000001 1700000000000000000"), "t").tolist()
    assert first == second + 1
    assert times(table(t="9999999999999999999 1"), "t").tolist() == [1e19, 1.0]


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("a,b\n1,2\n", {"a": ["1"], "b": ["2"]}),
        ("a;b\n1,5;2\n", {"a": ["1,5"], "b": ["2"]}),
        ("a\tb\n1\t2\n", {"a": ["1"], "b": ["2"]}),
        ("\n\na,b\n\n 1 , 2 \n   \n", {"a": ["1"], "b": ["2"]}),
        (",a\n0,1\n1,2\n", {"a": ["1", "2"]}),
        ('a\n""\n1\n', {"a": ["", "1"]}),
        ("a,b\r1,2\r", {"a": ["1"], "b": ["2"]}),
        ("ä,b\n1,é", {"ä": ["1"], "b": ["é"]}),
    ],
)
def test_forms_of_a_file(
    text: str, columns: dict[str, list[str]], file: Callable[[bytes | str], str]
) -> None:
    found = read(file(text))
    assert {name: list(cells) for name, cells in found.columns.items()} == columns


def test_lines_are_those_of_the_file(file: Callable[[bytes | str], str]) -> None:
    found = read(file('a,b\n1,"two\nlines"\n\n2,3\n'))
    assert list(found.lines) == [2, 5]
    assert found.columns["b"] == ("two\nlines", "3")


def test_other_encodings_are_named(file: Callable[[bytes | str], str]) -> None:
    for encoding in ("latin-1", "utf-16", "cp1252"):
        path = file("id,größe\na,1\n".encode(encoding))
        assert list(read(path, encoding=encoding).columns) == ["id", "größe"]
    assert list(read(file("a|b\n1|2\n"), delimiter="|").columns) == ["a", "b"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "a.csv: is empty; expected a header and rows"),
        (b"\xef\xbb\xbf\n \n", "a.csv: is empty; expected a header and rows"),
        (b"a,b\n", "a.csv: has a header and no row"),
        (b"a,b\n1,2\n1\n", "a.csv, line 3: has 1 cell, the header has 2 cells"),
        (b"a,b\n1,2,3\n", "a.csv, line 2: has 3 cells, the header has 2 cells"),
        (b"a,b,a\n1,2,3\n", "a.csv, line 1: two columns have the name 'a', numbers 1 and 3"),
        (b",\n1,2\n", "a.csv, line 1: the header names no column"),
        (b'a,b\n1,"2\n3,4\n', "a.csv, line 2: is no CSV: unexpected end of data"),
        (b'a,b\n1,"2"3\n', "a.csv, line 2: is no CSV: ',' expected after '\"'"),
        (
            b"a,b\n1,2\n3,\xe9\n",
            "a.csv, line 3: not in the encoding utf-8 (byte 0xe9); save it as UTF-8, or name the "
            "encoding it has, such as latin-1 or utf-16",
        ),
        (
            "a,b\n1,2\n".encode("utf-16"),
            "a.csv, line 1: not in the encoding utf-8 (byte 0xff); save it as UTF-8, or name the "
            "encoding it has, such as latin-1 or utf-16",
        ),
        (b"a,b\n1,\x00\n", "a.csv, line 2: holds a null character; is it a CSV file?"),
    ],
)
def test_what_is_no_table(data: bytes, message: str, file: Callable[[bytes | str], str]) -> None:
    with pytest.raises(TableError) as error:
        read(file(data))
    assert str(error.value) == message


def test_an_unknown_encoding(file: Callable[[bytes | str], str]) -> None:
    with pytest.raises(TableError) as error:
        read(file("a\n1\n"), encoding="utf-9")
    assert str(error.value) == "a.csv: unknown encoding 'utf-9'"


# Cells, ids, times


def test_missing_words() -> None:
    assert all(map(is_missing, ["", "?", "NA", "n/a", "NaN", "nan", "NULL", "None"]))
    assert not any(map(is_missing, ["0", "-", "no", "nano", "nil"]))


def refused(call: Callable[[], Any]) -> str:
    with pytest.raises(TableError) as error:
        call()
    message = str(error.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("cell", "what"),
    [
        ("abc", "'abc' is no number"),
        ("1,5", "'1,5' is no number"),
        ("1_000", "'1_000' is no number"),
        ("٣", "'٣' is no number"),
        ("inf", "'inf' is not finite"),
        ("-Infinity", "'-Infinity' is not finite"),
        ("1e31", "'1e31' lies outside -1e30 .. 1e30"),
        ("1e999", "'1e999' lies outside -1e30 .. 1e30"),
        ("x" * 99, f"'{'x' * 37}...' is no number"),
    ],
)
def test_cells_that_are_no_numbers(cell: str, what: str) -> None:
    found = refused(lambda: numbers(table(x=f"1 {cell}"), "x"))
    assert found == f"a.csv, line 3, column 'x': {what}"


def test_rows_of_an_id_are_gathered_and_sorted() -> None:
    said: list[str] = []
    found = group(table(id="b a b a b", t="3 1 1.5 2 2"), "id", "t", said.append)
    assert found.ids == ["b", "a"]
    assert [rows.tolist() for rows in found.rows] == [[2, 4, 0], [1, 3]]
    assert said == ["column 't': the rows of 1 of 2 ids were not in order; sorted"]
    unsorted = group(table(id="b a b a b", t="3 1 1 2 2"), "id", None, said.append)
    assert [rows.tolist() for rows in unsorted.rows] == [[0, 2, 4], [1, 3]]
    alone = group(table(t="2024-03-01 2024-02-29T23:59"), None, "t", said.append)
    assert [rows.tolist() for rows in alone.rows] == [[1, 0]]
    assert said[1:] == ["column 't': the rows were not in order; sorted"]


@pytest.mark.parametrize(
    ("ids", "moments", "message"),
    [
        ("a - a", "1 2 3", "line 3, column 'id': no id"),
        ("a b a", "1 2 -", "line 4, column 't': no time"),
        ("a b a", "7 7 7", "line 4, column 't': the time '7' of id 'a' is that of line 2 already"),
        (
            "a b a",
            "7.0 7 7",
            "line 4, column 't': the time '7' of id 'a' is that of line 2 already",
        ),
        ("a b a", "1.5 x 3", "line 3, column 't': 'x' is no number"),
        ("a b a", "1.5 inf 3", "line 3, column 't': 'inf' is not finite"),
        (
            "a b a",
            "2024-01-31 31.01.2024 2024-02-01",
            "line 3, column 't': '31.01.2024' is neither a number nor a date such as 2024-01-31 or "
            "2024-01-31T12:00",
        ),
        (
            "a b a",
            "2024-02-30 2024-01-01 2024-02-01",
            "line 2, column 't': '2024-02-30' is neither a number nor a date such as 2024-01-31 or "
            "2024-01-31T12:00",
        ),
        (
            "a b a",
            "2024-01-01T00:00 2024-01-01T00:00Z 2024-02-01",
            "line 3, column 't': '2024-01-01T00:00Z' and '2024-01-01T00:00': one names a time "
            "zone, one does not",
        ),
    ],
)
def test_ids_and_times_that_are_refused(ids: str, moments: str, message: str) -> None:
    found = refused(lambda: group(table(id=ids, t=moments), "id", "t", silent))
    assert found == f"a.csv, {message}"


def test_a_missing_column_is_named_with_what_is_near() -> None:
    few = table(patient="1", label="2")
    assert refused(lambda: few.column("labl")) == "a.csv: no column 'labl'; did you mean 'label'?"
    assert (
        refused(lambda: few.column("xyz")) == "a.csv: no column 'xyz'; there are 'patient', 'label'"
    )


# Features


def features(
    data: Table, columns: list[str], categorical: tuple[str, ...] = ()
) -> tuple[Features, list[np.ndarray], list[str]]:
    """Measure and encode all rows; with what was said while encoding."""
    groups = group(data, "id", None, silent)
    found = Features.of(data, groups, columns, categorical, silent)
    said: list[str] = []
    return found, found.inputs(data, groups, said.append), said


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
        "a.csv, line 5, column 'y': id 'b' has 'x' here and 'y' in line 3, but one target per id "
        "was asked for"
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
        ("1 - 2", {"per": "row"}, "line 3, column 'y': no target, and there is one per row"),
    ],
)
def test_targets_that_are_refused(y: str, options: dict[str, Any], message: str) -> None:
    assert refused(lambda: found("a b c", y, **options)) == f"a.csv, {message}"


def test_a_class_that_the_model_does_not_have() -> None:
    data = table(id="a b", y="x z")
    groups = group(data, "id", None, silent)
    message = refused(lambda: look_up(data, groups, Target("y", "id", ("x", "y")), silent))
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
