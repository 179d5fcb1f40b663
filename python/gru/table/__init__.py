"""Tables in files: long-format CSV to sequences with targets; knows no model and no command line.

One row is one step of one sequence. What is refused raises :class:`TableError`, whose message is
one line that names file, line and column; what is mended is said in a sentence, through the
function ``say`` that the caller gives.
"""

from __future__ import annotations

from gru.table.errors import Say, TableError
from gru.table.features import Features
from gru.table.future import continued
from gru.table.groups import Groups, group
from gru.table.holdout import hold_out
from gru.table.reading import Table, read
from gru.table.schema import KEY, Schema
from gru.table.target import Target
from gru.table.targets import Found, find, look_up

__all__ = [
    "KEY",
    "Features",
    "Found",
    "Groups",
    "Say",
    "Schema",
    "Table",
    "TableError",
    "Target",
    "continued",
    "find",
    "group",
    "hold_out",
    "look_up",
    "read",
]
