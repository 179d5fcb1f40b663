"""Threads and instruction sets of this process; knows nothing of layers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

from gru import _core, check

__all__ = [
    "active_isa",
    "build_info",
    "get_num_threads",
    "isa_levels",
    "num_threads",
    "set_isa",
    "set_num_threads",
]

_lock = Lock()
_asked: list[tuple[object, int]] = []  # who is inside num_threads, the latest last
_before: list[int | None] = []  # what was set when the first of them came


def active_isa() -> str:
    """Return the name of the instruction-set level whose kernels run now.

    The best level of this CPU is taken at import, or the one that the environment variable
    ``GRU_FORCE_ISA`` names.

    Examples
    --------
    >>> import gru
    >>> gru.active_isa() in gru.isa_levels()
    True
    """
    return _core.active_isa()


def isa_levels() -> list[str]:
    """Return the levels that are compiled in and that this CPU can run, slowest first.

    Examples
    --------
    >>> import gru
    >>> len(gru.isa_levels()) >= 1
    True
    """
    return _core.isa_levels()


def set_isa(name: str) -> None:
    """Run the kernels of another level from the next call on.

    Parameters
    ----------
    name : str
        One of :func:`isa_levels`.

    Raises
    ------
    TypeError
        If ``name`` is no string.
    ValueError
        If the level is unknown or this CPU cannot run it.

    Examples
    --------
    >>> import gru
    >>> gru.set_isa(gru.active_isa())
    """
    _core.set_isa(check.text("name", name))


def set_num_threads(n: int | None) -> None:
    """Set how many threads a call may use at most; ``None`` returns to the defaults.

    By default inference runs on one thread, and training on ``GRU_NUM_THREADS`` if that is set,
    else on all that the affinity mask, the cgroup quota and ``OMP_NUM_THREADS`` allow. Small work
    stays on one thread, and so does work after another process has taken a core away, for a while.
    The number never changes a bit of any result.

    Parameters
    ----------
    n : int or None
        From 1 to 1024.

    Raises
    ------
    TypeError, ValueError
        If ``n`` is something else.

    Examples
    --------
    >>> import gru
    >>> gru.set_num_threads(2)
    >>> gru.get_num_threads()
    2
    >>> gru.set_num_threads(None)
    """
    _core.set_num_threads(None if n is None else check.integer("n", n, 1, check.MOST_THREADS))


def get_num_threads() -> int | None:
    """Return the number given to :func:`set_num_threads`, or ``None`` if there is none.

    Examples
    --------
    >>> import gru
    >>> gru.get_num_threads() is None
    True
    """
    return _core.get_num_threads()


@contextmanager
def num_threads(n: int | None) -> Iterator[None]:
    """Set the number of threads for a block of code, then restore what was set before.

    The number belongs to the process. Where several of these blocks run at once in different
    Python threads, the latest one's number counts for all of them while it runs; the last to leave
    restores. That may change how long a call takes, never a bit of its result.

    Parameters
    ----------
    n : int or None
        As in :func:`set_num_threads`; ``None`` leaves everything as it is.

    Raises
    ------
    TypeError, ValueError
        If ``n`` is something else.

    Examples
    --------
    >>> import gru
    >>> from gru.runtime import num_threads
    >>> with num_threads(2):
    ...     gru.get_num_threads()
    2
    >>> gru.get_num_threads() is None
    True
    """
    if n is None:
        yield
        return
    entry = (object(), check.integer("threads", n, 1, check.MOST_THREADS))
    with _lock:
        if not _asked:
            _before[:] = [get_num_threads()]
        _asked.append(entry)
        set_num_threads(entry[1])
    try:
        yield
    finally:
        with _lock:
            _asked.remove(entry)
            set_num_threads(_asked[-1][1] if _asked else _before[0])


def build_info() -> dict[str, Any]:
    """Return what the engine was built with: compiler, Eigen, OpenMP, levels.

    Examples
    --------
    >>> import gru
    >>> sorted(gru.build_info())  # doctest: +ELLIPSIS
    [...]
    """
    return _core.build_info()
