"""The folder of a run's checkpoints: one run at a time, no folder left without one."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

import gru
from gru import checkpoint
from gru.checkpoint import Folder
from gru.lock import Lock
from resumed import fit


def test_two_runs_in_one_folder_are_refused(tmp_path: Path) -> None:
    """The second one, in this process or another, changes nothing; the first goes on."""
    folder, told = tmp_path / "run", []
    wanted, _ = fit()
    code = (
        "import sys; sys.path.insert(0, sys.argv[2])\n"
        "from resumed import fit\n"
        "fit(sys.argv[1], resume=True)\n"
    )

    class Again(gru.Callback):
        def on_step_end(self, run: gru.Run) -> None:
            if run.step not in (1, 6):
                return
            (folder / "checkpoint-00000009.safetensors.7.tmp").write_bytes(b"being written")
            there = sorted(path.name for path in folder.iterdir())
            with pytest.raises(BlockingIOError, match=f"run is in use .* process {os.getpid()}; "):
                fit(folder, resume=True)
            call = [sys.executable, "-c", code, str(folder), str(Path(__file__).parent)]
            done = subprocess.run(call, capture_output=True, text=True, check=False)
            told.append(done.stderr.splitlines()[-1])
            assert sorted(path.name for path in folder.iterdir()) == there

    assert fit(folder, callbacks=[Again()])[0] == wanted
    assert len(told) == 2
    assert all(line.startswith(f"BlockingIOError: {folder} is in use by another") for line in told)
    assert fit(folder, resume=True)[0] == wanted
    assert sorted(path.name for path in folder.iterdir()) == [
        "checkpoint-00000003.safetensors",
        "checkpoint-00000004.safetensors",
    ]


def test_a_lock_that_a_killed_run_left_holds_nobody_up(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("1\n")
    fit(tmp_path, epochs=1)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-00000001.safetensors"]


FORKING = """
import os, sys
from pathlib import Path
from gru.lock import Lock

lock = Lock(Path(sys.argv[1]) / "lock")
child = os.fork()
if not child:
    lock.release()  # its parent's, so nothing happens
    os.write(1, f"{os.path.exists(lock.path)} {lock.held}\\n".encode())
    sys.stdin.read()
    os._exit(0)
sys.stdin.read()
"""


def test_a_forked_child_does_not_hold_the_lock(tmp_path: Path) -> None:
    command = [sys.executable, "-c", FORKING, str(tmp_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "True False\n"
        with pytest.raises(BlockingIOError, match=f"by another run, of process {run.pid}; wait"):
            Lock(tmp_path / "lock")
        run.kill()
        os.waitid(os.P_PID, run.pid, os.WEXITED | os.WNOWAIT)
        lock = Lock(tmp_path / "lock")  # the child lives on
        assert lock.held
        lock.release()


def test_a_lock_of_a_process_that_does_not_run_says_so(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    with (tmp_path / "lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        other.write(f"{ended.pid}\n")
        other.flush()
        with pytest.raises(BlockingIOError, match=f"process {ended.pid}, which does not run here"):
            Lock(tmp_path / "lock")


def test_a_lock_is_closed_where_its_file_cannot_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(errno.EACCES, "denied")

    before = len(os.listdir("/proc/self/fd"))
    lock = Lock(tmp_path / "lock")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", refuse)
        lock.release()
    assert not lock.held
    assert len(os.listdir("/proc/self/fd")) == before
    Lock(tmp_path / "lock").release()


def test_a_lock_whose_file_goes_in_between_is_taken_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another run ends between the opening of its file and the locking."""
    path, calls, flock = tmp_path / "lock", [], fcntl.flock

    def late(file: int, how: int) -> None:
        if not calls:
            path.unlink()
        calls.append(file)
        flock(file, how)

    monkeypatch.setattr(fcntl, "flock", late)
    first = Lock(path)
    assert len(calls) == 2
    with pytest.raises(BlockingIOError, match=f"in use by another run, of process {os.getpid()}"):
        Lock(path)
    first.release()
    assert not path.exists()


def test_a_file_system_without_locks_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(file: int, how: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", unknown)
    leftover = tmp_path / "checkpoint-00000009.safetensors.123.tmp"
    leftover.write_bytes(b"perhaps another's")
    with pytest.warns(RuntimeWarning, match="lock cannot be locked: No locks available; see to it"):
        fit(tmp_path, epochs=1)
    assert leftover.exists()


def test_a_run_that_does_not_start_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"log must lie in a folder that exists, got '.*x"):
        fit(tmp_path / "run", log=tmp_path / "nowhere" / "x.csv")
    (tmp_path / "x.csv").mkdir()
    with pytest.raises(IsADirectoryError, match="log must be a file, got the folder"):
        fit(tmp_path / "run", log=tmp_path / "x.csv")
    with pytest.raises(ValueError, match="memory_limit must be a number of bytes"):
        fit(tmp_path / "run", memory_limit="64XB")
    assert [path.name for path in tmp_path.iterdir()] == ["x.csv"]
    (tmp_path / "there").mkdir()
    with pytest.raises(IsADirectoryError, match="log must be a file, got the folder"):
        fit(tmp_path / "there" / "a" / "b", log=tmp_path / "x.csv")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["there", "x.csv"]


def test_every_new_folder_is_flushed_and_goes_if_nothing_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[Path] = []
    monkeypatch.setattr(checkpoint, "_flush", flushed.append)
    folder = Folder(tmp_path / "a" / "b" / "c")
    folder.start(resume=False)
    assert set(flushed) == {tmp_path, tmp_path / "a", tmp_path / "a" / "b"}
    (tmp_path / "a" / "mine").write_text("stays")
    folder.close()
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a", "mine"]


def test_a_folder_that_is_a_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "afile"
    file.write_text("text")
    for name in (file, file / "x", file / "x" / "y"):
        message = f"^checkpoint must be a folder, got '{name}': {file} is a file$"
        with pytest.raises(NotADirectoryError, match=message):
            fit(name)
    assert file.read_text() == "text"
