"""The C++ and C package as a stranger's project finds it: installed by CMake, and in the wheel."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import gru
from gru.cmake import cmake_dir

ROOT = Path(__file__).parents[1]
FOREIGN = ROOT / "tests" / "foreign"
X = np.array([[[1, 0, -1], [2, 1, 0], [-2, 1, 1], [0, 0, 3]]], np.float32)

pytestmark = pytest.mark.skipif(
    not (shutil.which("cmake") and shutil.which("c++") and shutil.which("cc")),
    reason="needs CMake and compilers",
)


def run(*command: object) -> str:
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def wheel_copy() -> Path:
    try:
        return cmake_dir()
    except FileNotFoundError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where `cmake --install` put the newest build that pip left, with the static library too."""
    builds = sorted(ROOT.glob("build/*/libgru.a"), key=lambda path: path.stat().st_mtime)
    if not builds:
        pytest.skip("no CMake build in build/ to install")
    prefix = tmp_path_factory.mktemp("prefix")
    for component in ("Unspecified", "static"):
        run("cmake", "--install", builds[-1].parent, "--prefix", prefix, "--component", component)
    moved = prefix.rename(prefix.with_name("moved"))  # nothing in it may name the place it was at
    return moved / "gru" / "lib" / "cmake" / "gru"


def by_hand() -> Path:
    """Somebody's own `cmake --install`, whose prefix GRU_PREFIX names; CI makes one."""
    if "GRU_PREFIX" not in os.environ:
        pytest.skip("GRU_PREFIX names no installed package")
    (found,) = Path(os.environ["GRU_PREFIX"]).glob("lib*/**/cmake/gru")
    return found


PLACES = [("wheel", "shared"), ("installed", "static"), ("installed", "shared"),
          ("by hand", "static"), ("by hand", "shared")]  # fmt: skip


@pytest.mark.parametrize(("where", "linked"), PLACES)
def test_a_strangers_project(
    where: str, linked: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if where == "installed":
        folder = request.getfixturevalue("installed")
    else:
        folder = wheel_copy() if where == "wheel" else by_hand()
    model = gru.Sequential([gru.GRU(3, 8, seed=0), gru.Linear(8, 2, seed=1)])
    model.save(tmp_path / "weights.safetensors")
    gru.export(model, tmp_path / "weights.h")
    shutil.copytree(FOREIGN, tmp_path / "source")
    (tmp_path / "weights.h").rename(tmp_path / "source" / "weights.h")
    build = tmp_path / "build"
    said = run("cmake", "-S", tmp_path / "source", "-B", build, f"-Dgru_DIR={folder}",
               f"-DBUILD_SHARED_LIBS={'ON' if linked == 'shared' else 'OFF'}")  # fmt: skip
    run("cmake", "--build", build)
    for program in ("from_cpp", "from_c"):
        printed = run(build / program, tmp_path / "weights.safetensors")
        got = np.array(printed.split(), np.float32).reshape(1, 4, 2)
        np.testing.assert_array_equal(got, model(X))
    uses = "libgru.so" in run("ldd", build / "from_cpp")
    assert uses == (linked == "shared")
    assert_nothing_leaks(said, build, folder)


def assert_nothing_leaks(said: str, build: Path, folder: Path) -> None:
    """Neither flags, macros, foreign folders and packages, nor symbols reach the user's build."""
    found = dict(re.findall(r"-- (gru::\w+ \w+): (.*)", said))
    assert found
    include = str((folder.parents[2] / "include").resolve())
    for name, value in found.items():
        target, kind = name.split()
        if kind == "INTERFACE_LINK_LIBRARIES":
            allowed = {"gru::shared", "gru::static", "gomp", "pthread"}
            assert set(value.split(";")) <= allowed or value.endswith("NOTFOUND")
        elif kind == "INTERFACE_INCLUDE_DIRECTORIES" and target != "gru::gru":
            assert str(Path(value).resolve()) == include
        else:
            assert value.endswith("NOTFOUND")
    shown = run("nm", "-D", "--defined-only", *build.glob("libplugin.so"))
    assert "plugin_inputs" in shown
    # Weak: what the user's own compiler made of inline functions in headers.
    assert not re.search(r" [^WV] (_ZNK?3gru|gru_)|Eigen|nlohmann", shown)


def test_the_shared_library_shows_its_interface_alone() -> None:
    library = wheel_copy().parents[1] / "libgru.so"
    shown = run("nm", "-D", "--defined-only", library).split("\n")
    names = [line.split()[-1] for line in shown if line]
    assert "gru_model_load" in names
    assert [name for name in names if not re.match(r"gru_|_ZNK?3gru", name)] == []


def test_public_headers_are_standard_cpp17_alone(tmp_path: Path) -> None:
    """Each compiles by itself, with no other include folder; gru.h in C99 and C++98 as well."""
    include = wheel_copy().parents[2] / "include"
    headers = sorted(path.relative_to(include) for path in include.rglob("*.hpp"))
    assert len(headers) >= 10
    for header in headers:
        if header.name == "eigen.hpp":
            continue
        source = tmp_path / "one.cpp"
        source.write_text(f"#include <{header}>\n#include <{header}>\n")
        run("c++", "-std=c++17", "-pedantic", "-Wall", "-Wextra", "-Werror", "-fsyntax-only",
            f"-I{include}", source)  # fmt: skip
    source = tmp_path / "one.c"
    source.write_text("#include <gru/gru.h>\n")
    run("cc", "-std=c99", "-pedantic", "-Werror", "-fsyntax-only", f"-I{include}", source)
    run("c++", "-x", "c++", "-std=c++98", "-Werror", "-fsyntax-only", f"-I{include}", source)


def test_the_command_line_prints_the_folder() -> None:
    folder = wheel_copy()
    assert run(sys.executable, "-m", "gru", "--cmakedir").strip() == str(folder)
    assert (folder / "gruConfigVersion.cmake").is_file()
