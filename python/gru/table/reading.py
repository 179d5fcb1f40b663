"""Reads a CSV file into columns of text, with the line of every row; knows no types of columns."""

from __future__ import annotations

import codecs
import csv
import difflib
import io
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gru._types import Array
from gru.table.errors import TableError, listed, plural

__all__ = ["DELIMITERS", "Table", "read"]

DELIMITERS = (",", ";", "\t")  # that are recognised, in the order in which they are tried


@dataclass(frozen=True)
class Table:
    """The columns of a file as text, without blanks around cells.

    Attributes
    ----------
    name : str
        What messages call the file.
    columns : dict of str to sequence of str
        By the names in the header, in the file's order.
    lines : sequence of int
        Where each row starts in the file, from 1.
    nameless : int
        Columns that the header gives no name; they are left out.
    parsed : dict
        What :mod:`gru.table.cells` knows of columns already.
    """

    name: str
    columns: dict[str, Sequence[str]]
    lines: Sequence[int]
    nameless: int = 0
    parsed: dict[str, tuple[Array, Array]] = field(default_factory=dict, compare=False, repr=False)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.lines)

    def column(self, name: str) -> Sequence[str]:
        """Return the cells of a column.

        Raises
        ------
        TableError
            If there is none of this name.
        """
        if name in self.columns:
            return self.columns[name]
        near = difflib.get_close_matches(name, self.columns, 1)
        hint = f"; did you mean {near[0]!r}?" if near else f"; there are {listed([*self.columns])}"
        raise TableError(f"{self.name}: no column {name!r}{hint}")

    def error(
        self, message: str, *, row: int | None = None, column: str | None = None
    ) -> TableError:
        """Return an error that names the file, the line of a row, and a column."""
        place = self.name
        if row is not None:
            place += f", line {self.lines[row]}"
        if column is not None:
            place += f", column {column!r}"
        return TableError(f"{place}: {message}")


def read(
    path: str | os.PathLike[str], *, encoding: str = "utf-8", delimiter: str | None = None
) -> Table:
    r"""Read a CSV file with a header.

    Parameters
    ----------
    path : str or path
        The file; ``"-"`` is the standard input.
    encoding : str
        Of the file. A byte-order mark of UTF-8 is skipped.
    delimiter : str, optional
        One character; by default the first of comma, semicolon and tab that the header holds.

    Returns
    -------
    Table
        Blank lines are skipped. Columns without a name, such as the index that pandas writes, are
        left out.

    Raises
    ------
    TableError
        If the file is empty, holds no row, is not in that encoding, has two columns of one name,
        a row of another width than the header, or a quote that does not end.
    OSError
        If it cannot be read.

    Examples
    --------
    >>> import tempfile, os
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "a.csv")
    ...     with open(path, "w") as file:
    ...         _ = file.write("id,x\nfirst, 1\nsecond,2\n")
    ...     table = read(path)
    >>> table.columns, table.lines
    ({'id': ('first', 'second'), 'x': ('1', '2')}, [2, 3])
    """
    name = "standard input" if str(path) == "-" else os.fspath(path)
    data = sys.stdin.buffer.read() if str(path) == "-" else Path(path).read_bytes()
    text = _decoded(data, name, encoding)
    if not text.strip():
        raise TableError(f"{name}: is empty; expected a header and rows")
    lines, records = _records(text, name, delimiter or _delimiter(text))
    header = [cell.strip() for cell in records[0]]
    _check_header(header, f"{name}, line {lines[0]}")
    if len(records) == 1:
        raise TableError(f"{name}: has a header and no row")
    for line, record in zip(lines, records, strict=True):
        if len(record) != len(header):
            found, wanted = plural(len(record), "cell"), plural(len(header), "cell")
            raise TableError(f"{name}, line {line}: has {found}, the header has {wanted}")
    cells = zip(*records[1:], strict=True)
    columns: dict[str, Sequence[str]] = {
        title: _stripped(column) for title, column in zip(header, cells, strict=True) if title
    }
    return Table(name, columns, lines[1:], len(header) - len(columns))


def _stripped(cells: Sequence[str]) -> Sequence[str]:
    """Take the blanks around cells away, where there are any."""
    text = "".join(cells)
    return cells if text.split(None, 1) == [text] else tuple(map(str.strip, cells))


def _decoded(data: bytes, name: str, encoding: str) -> str:
    try:
        utf8 = codecs.lookup(encoding).name == "utf-8"
        text = data.decode("utf-8-sig" if utf8 else encoding)
    except LookupError:
        raise TableError(f"{name}: unknown encoding {encoding!r}") from None
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise TableError(
            f"{name}, line {line}: not in the encoding {encoding} (byte "
            f"0x{data[error.start]:02x}); save it as UTF-8, or name the encoding it has, "
            f"such as latin-1 or utf-16"
        ) from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise TableError(f"{name}, line {line}: holds a null character; is it a CSV file?")
    return text


def _delimiter(text: str) -> str:
    header = next(line for line in text.splitlines() if line.strip())
    return next((found for found in DELIMITERS if found in header), ",")


def _records(text: str, name: str, delimiter: str) -> tuple[list[int], list[list[str]]]:
    """Return the records that are not blank, and the lines in which they start."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    lines: list[int] = []
    records: list[list[str]] = []
    start = 1
    try:
        for record in reader:
            blank = len(record) == 1 and record[0].isspace() and "\n" not in record[0]
            if record and not blank:
                lines.append(start)
                records.append(record)
            start = reader.line_num + 1
    except csv.Error as error:
        raise TableError(f"{name}, line {start}: is no CSV: {error}") from None
    return lines, records


def _check_header(header: list[str], place: str) -> None:
    first: dict[str, int] = {}
    for number, title in enumerate(header, 1):
        if title and title in first:
            raise TableError(
                f"{place}: two columns have the name {title!r}, numbers {first[title]} and {number}"
            )
        first[title] = number
    if not any(header):
        raise TableError(f"{place}: the header names no column")
