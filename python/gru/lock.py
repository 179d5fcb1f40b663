"""A file that one run holds as long as it lives, whatever ends it; knows nothing of what it guards.

The lock is the kernel's (flock): it goes with the process, so a killed run leaves no lock behind.
Forked children would hold it too, and outlive the run; so they let go of it as they start.
"""

from __future__ import annotations

import fcntl
import os
import warnings
from contextlib import suppress
from pathlib import Path

__all__ = ["Lock"]

_open: set[Lock] = set()  # of this process; what children must close


def _let_go() -> None:
    """Close what a forked child has of its parent's locks; the parent goes on holding them."""
    while _open:
        _open.pop()._close()


os.register_at_fork(after_in_child=_let_go)


class Lock:
    """Held from its making to :meth:`release`.

    Parameters
    ----------
    path : Path
        Of the lock's file, in a folder that exists. It holds the process' number.

    Attributes
    ----------
    held : bool
        False where the file system knows no locks, of which a warning tells.

    Raises
    ------
    BlockingIOError
        If another run holds it; the message names its process.
    OSError
        If the file cannot be made.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     lock = Lock(Path(folder) / "lock")
    ...     lock.release()
    ...     lock.held, list(Path(folder).iterdir())
    (False, [])
    """

    def __init__(self, path: Path) -> None:
        self.path, self.held = path, False
        while True:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            _open.add(self)
            try:
                self.held = self._take()
            except BlockingIOError:
                self._close()
                raise
            if not self.held or self._still_there():
                break
            self._close()  # of a run that ended in between, and took its file with it
        with suppress(OSError):  # a full disk: the number is only for the message
            os.ftruncate(self._file, 0)
            os.write(self._file, f"{os.getpid()}\n".encode())

    def _take(self) -> bool:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            number = os.pread(self._file, 32, 0).decode("ascii", "replace").strip()
            raise BlockingIOError(
                f"{self.path.parent} is in use by another run, of process {_described(number)}; "
                "wait until it ends, or give each run a folder of its own"
            ) from None
        except OSError as error:
            warnings.warn(
                f"{self.path} cannot be locked: {error.strerror}; see to it that only one run "
                "uses the folder",
                RuntimeWarning,
                stacklevel=2,
            )
            return False
        return True

    def _still_there(self) -> bool:
        try:
            return os.path.samestat(os.fstat(self._file), self.path.stat())
        except FileNotFoundError:
            return False

    def release(self) -> None:
        """Let the next run have it; the file goes. In a forked child it does nothing."""
        try:
            if self.held:
                with suppress(OSError):  # a file that stays holds nobody up
                    self.path.unlink()
        finally:
            self._close()

    def _close(self) -> None:
        file, self._file, self.held = self._file, -1, False
        _open.discard(self)
        if file >= 0:
            os.close(file)


def _described(number: str) -> str:
    """Return a process' number, and what it means if it does not run."""
    if not number.isascii() or not number.isdigit():
        return "unknown"
    try:
        os.kill(int(number), 0)
    except (ProcessLookupError, OverflowError):
        return (
            f"{number}, which does not run here: a process that it started holds the lock, or "
            "one on another machine"
        )
    except PermissionError:
        pass  # it runs, as another user
    return number
