"""The five rules that keep instruction sets apart, checked on the built kernel objects.

``GRU_BUILD_DIR`` names the CMake build directory; without it, the newest that pip left in build/.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

LEVELS = ("baseline", "v3", "v4")

FORBIDDEN = re.compile(
    r"\bstd::"
    r"|\b_Zn[wa]|\b_Zd[la]|operator (new|delete)|^(malloc|calloc|realloc|free|aligned_alloc)$"
    r"|^posix_memalign$"
    r"|__cxa_(throw|allocate_exception|guard|atexit|begin_catch|rethrow)|guard variable"
    r"|\bGOMP_|\bomp_"
    r"|\b(printf|fprintf|puts|getenv)$"
)


def build_folder() -> Path:
    if named := os.environ.get("GRU_BUILD_DIR"):
        return Path(named)
    left = (Path(__file__).parent.parent / "build").glob("cp*-linux_*")
    newest = max(left, key=lambda path: path.stat().st_mtime, default=None)
    if newest is None:
        pytest.skip("no build folder: GRU_BUILD_DIR is not set and pip left none")
    return newest


def objects(level: str) -> list[Path]:
    build = build_folder()
    found = sorted(build.glob(f"**/gru_kernels_{level}.dir/**/*.o"))
    if not found and level != "baseline" and os.uname().machine != "x86_64":
        pytest.skip(f"{level} is a level of x86-64")
    assert found, f"no kernel objects of {level} under {build}"
    return found


def output(*command: str | Path) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def symbols(path: Path) -> list[tuple[str, str]]:
    """(type letter of nm, demangled name) of every symbol."""
    lines = output("nm", "-C", path).splitlines()
    return [
        (m[1], m[2]) for m in (re.match(r"[0-9a-f ]{16} (\w) (.*)", line) for line in lines) if m
    ]


@pytest.mark.parametrize("level", LEVELS)
def test_weak_symbols_carry_the_name_of_their_level(level: str) -> None:
    """The linker keeps one of several weak symbols of a name: levels must share none."""
    for path in objects(level):
        shared = [
            name
            for kind, name in symbols(path)
            if kind in "VvWwu" and not re.search(rf"\b(gru_eigen_{level}|gru::{level})::", name)
        ]
        assert not shared, f"{path.name}: {shared[:5]}"


@pytest.mark.parametrize("level", LEVELS)
def test_nothing_that_allocates_throws_or_threads(level: str) -> None:
    for path in objects(level):
        found = [name for _, name in symbols(path) if FORBIDDEN.search(name)]
        assert not found, f"{path.name}: {found[:5]}"


@pytest.mark.parametrize("level", LEVELS)
def test_no_code_runs_before_main(level: str) -> None:
    for path in objects(level):
        sections = output("readelf", "--sections", "--wide", path)
        assert not re.search(r"\.(init_array|ctors|preinit_array)", sections), path.name


@pytest.mark.parametrize("level", LEVELS)
def test_tables_are_constant(level: str) -> None:
    """No writable data; addresses that the loader fills in (.data.rel.ro) become read-only."""
    for path in objects(level):
        sections = output("readelf", "--sections", "--wide", path)
        sized = re.findall(r"\] (\.t?(?:data|bss)\S*) +\S+ +\S+ +\S+ +([0-9a-f]+)", sections)
        assert sized
        written = [n for n, size in sized if int(size, 16) and not n.startswith(".data.rel.ro")]
        assert not written, f"{path.name}: {written}"


@pytest.mark.parametrize("level", LEVELS)
def test_kernels_are_optimised_for_their_level(level: str) -> None:
    """In every build type: FMA from v3 on, 512-bit registers only in v4, no x87 arithmetic."""
    if os.uname().machine != "x86_64":
        pytest.skip("reads x86-64 instructions")
    for path in objects(level):
        code = output("objdump", "-d", "--no-show-raw-insn", path)
        assert bool(re.search(r"\bvfn?m(add|sub)", code)) == (level != "baseline"), path.name
        assert ("%zmm" in code) == (level == "v4"), path.name
        assert ("%ymm" in code) == (level != "baseline"), path.name


def test_no_two_levels_share_a_weak_symbol() -> None:
    weak = {
        level: {n for path in objects(level) for k, n in symbols(path) if k in "VvWwu"}
        for level in LEVELS
    }
    for i, one in enumerate(LEVELS):
        for other in LEVELS[i + 1 :]:
            assert not weak[one] & weak[other], f"{one} and {other}"
