"""The bar of a running training; tqdm is imported only when one is drawn."""

from __future__ import annotations

from typing import Any, Protocol

__all__ = ["Progress", "progress"]


class Progress(Protocol):
    """What training needs of a bar; tqdm's own bar has it."""

    def update(self, n: float | None = 1) -> Any:
        """Advance by n steps."""

    def set_postfix(self, ordered_dict: Any = None, refresh: bool | None = True) -> Any:
        """Show numbers beside the bar."""

    def set_description(self, desc: str | None = None, refresh: bool | None = True) -> Any:
        """Say what is running."""

    def close(self) -> Any:
        """Leave the bar as it is."""


class _Silent:
    """A bar that draws nothing."""

    def update(self, n: float | None = 1) -> None:
        """Do nothing."""

    def set_postfix(self, ordered_dict: Any = None, refresh: bool | None = True) -> None:
        """Do nothing."""

    def set_description(self, desc: str | None = None, refresh: bool | None = True) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


def progress(total: int | None, *, verbose: bool, done: int = 0) -> Progress:
    """Return a tqdm bar of ``total`` steps, ``done`` of which were taken before, or a silent one.

    tqdm shows steps, steps a second and the time left, or without a total the time spent.

    Examples
    --------
    >>> bar = progress(10, verbose=False)
    >>> bar.update()
    """
    if not verbose:
        return _Silent()
    from tqdm import tqdm

    bar: Progress = tqdm(total=total, initial=done, unit="step", desc="fit")
    return bar
