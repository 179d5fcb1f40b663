"""All that turns a table into a model's inputs and back, as it travels in the model file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from gru.table.errors import TableError
from gru.table.features import Features
from gru.table.target import Target

__all__ = ["KEY", "Schema"]

KEY = "gru.table"  # of a model's metadata
FORMAT = 1


@dataclass(frozen=True)
class Schema:
    """The columns of a table, and what a model makes of them.

    Attributes
    ----------
    id : str
        The column that tells sequences apart.
    time : str or None
        The column to sort by.
    features : Features
        The inputs.
    target : Target
        The output.
    """

    id: str
    time: str | None
    features: Features
    target: Target

    def as_json(self) -> str:
        """Return the text that a model file carries."""
        return json.dumps(
            {
                "format": FORMAT,
                "id": self.id,
                "time": self.time,
                "features": self.features.as_dict(),
                "target": self.target.as_dict(),
            }
        )

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str], name: str) -> Schema:
        """Read what :meth:`as_json` wrote into a model's metadata.

        Parameters
        ----------
        metadata : mapping of str to str
            Of the model.
        name : str
            What messages call the model's file.

        Raises
        ------
        TableError
            If there is nothing, or something else.
        """
        if KEY not in metadata:
            raise TableError(
                f"{name}: holds no columns and no scaling, so it was not made by gru train"
            )
        try:
            found = json.loads(metadata[KEY])
            if found["format"] != FORMAT:
                raise TableError(
                    f"{name}: its columns have the format {found['format']!r}, this version of gru "
                    f"reads {FORMAT}"
                )
            time = None if found["time"] is None else str(found["time"])
            features, target = found["features"], found["target"]
            return cls(
                str(found["id"]), time, Features.from_dict(features), Target.from_dict(target)
            )
        except TableError:
            raise
        except (AttributeError, KeyError, TypeError, ValueError):
            raise TableError(f"{name}: what it holds of its columns is damaged") from None
