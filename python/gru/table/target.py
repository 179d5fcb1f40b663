"""What a model predicts, as its file holds it; knows no table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gru.scaling import Scaler

__all__ = ["Target"]


@dataclass(frozen=True)
class Target:
    """What a model predicts.

    Attributes
    ----------
    column : str
        Its name in the table.
    per : {"id", "row"}
        Whether a sequence has one target, or each of its rows.
    classes : tuple of str
        In the order of the model's outputs; empty for regression.
    scaler : Scaler or None
        What brings a regression's targets to mean 0 and standard deviation 1.
    """

    column: str
    per: str
    classes: tuple[str, ...] = ()
    scaler: Scaler | None = None

    @property
    def task(self) -> str:
        """``"classification"`` or ``"regression"``."""
        return "classification" if self.classes else "regression"

    @property
    def width(self) -> int:
        """Outputs of the model."""
        return len(self.classes) or 1

    def as_dict(self) -> dict[str, Any]:
        """Return plain lists and dicts, for JSON."""
        return {
            "column": self.column,
            "per": self.per,
            "task": self.task,
            "classes": list(self.classes),
            "scaling": None if self.scaler is None else self.scaler.as_dict(),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Target:
        """Return what :meth:`as_dict` wrote down.

        Raises
        ------
        KeyError, TypeError, ValueError
            If ``values`` is anything else.
        """
        if values["per"] not in ("id", "row"):
            raise ValueError(f"per must be 'id' or 'row', got {values['per']!r}")
        classes = tuple(map(str, values["classes"]))
        scaler = None if classes else Scaler.from_dict(values["scaling"])
        return cls(str(values["column"]), values["per"], classes, scaler)
