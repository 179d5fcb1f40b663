"""The one message for a package that is not there; knows no package."""

from __future__ import annotations

__all__ = ["MissingError", "missing"]


class MissingError(ImportError):
    """An optional package is not installed; the message says how to get it."""


def missing(what: str, package: str, extra: str) -> MissingError:
    """Return the error for a package that one of the extras brings.

    Parameters
    ----------
    what : str
        What cannot be done, in the plural.
    package, extra : str
        The package's name, and that of the extra that installs it.

    Examples
    --------
    >>> missing("pictures", "matplotlib", "plot")
    MissingError('pictures need matplotlib; pip install "gru-engine[plot]" brings it')
    """
    return MissingError(f'{what} need {package}; pip install "gru-engine[{extra}]" brings it')
