"""Files, cells, ids and times: what is written comes back, each refusal is one whole line."""

from __future__ import annotations

import csv
import io
import string
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gru.table import (
    Table,
    TableError,
    group,
    read,
)
from gru.table.cells import is_missing, is_number, numbers, times
from tables import refused, silent, table


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
