"""Writing models for others: the C header as compilers read it, refusals, whole files or none."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

import gru
from cases import assert_same_bits
from gru.convert.header import header, identifier

COMPILERS = {
    "c99": ("cc", "-std=c99"),
    "c11": ("cc", "-std=c11"),
    "c++11": ("c++", "-std=c++11"),
    "c++17": ("c++", "-std=c++17"),
}
WARNINGS = ("-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-pedantic", "-Werror")
PROGRAM = """\
#include "{file}"
#include "{file}" /* the guard lets a second one pass */
#include <stdint.h>
#include <stdio.h>

static int unused(void) {{ return 0; }}

int main(void) {{
  if ((uintptr_t)(const void*){name} % 64 != 0 || sizeof({name}) != {name}_size) return 1;
  return fwrite({name}, 1, {name}_size, stdout) == {name}_size ? unused() : 1;
}}
"""


def small(**options: Any) -> gru.Sequential:
    layer = gru.GRU(3, 5, update_gate="new", seed=0, **options)
    return gru.Sequential([layer, gru.Last(), gru.Linear(5, 2, seed=1, dtype=layer.dtype)])


@pytest.mark.parametrize("language", COMPILERS)
@pytest.mark.parametrize("stem", ["weights", "2nd-model.v3", "double", "größe"])
def test_a_compiled_header_holds_the_file(stem: str, language: str, tmp_path: Path) -> None:
    compiler, standard = COMPILERS[language]
    if shutil.which(compiler) is None:
        pytest.skip(f"there is no {compiler}")
    model, name = small(), identifier(stem)
    model.save(tmp_path / "file")
    gru.export(model, tmp_path / f"{stem}.h")
    source = tmp_path / ("main.c" if compiler == "cc" else "main.cpp")
    source.write_text(PROGRAM.format(file=f"{stem}.h", name=name))
    run = [compiler, standard, *WARNINGS, source.name, "-o", "main"]
    subprocess.run(run, cwd=tmp_path, check=True)
    made = subprocess.run([tmp_path / "main"], stdout=subprocess.PIPE, check=True).stdout
    assert made == (tmp_path / "file").read_bytes()


def test_the_bytes_in_a_header_are_the_file(tmp_path: Path) -> None:
    """The same without a compiler; it also opens as the model that was exported."""
    model = small(dtype="float64")
    gru.export(model, tmp_path / "m.h", name="voice")
    text = (tmp_path / "m.h").read_text()
    numbers = re.search(r"voice\[(\d+)\] = \{([\d,\s]*)\}", text)
    assert numbers
    content = bytes(int(number) for number in numbers[2].split(","))
    assert len(content) == int(numbers[1])
    assert f"static const size_t voice_size = {len(content)}u;" in text
    (tmp_path / "back").write_bytes(content)
    for key, value in gru.load(tmp_path / "back").parameters.items():
        assert_same_bits(value, model.parameters[key], key)


def test_a_title_cannot_end_its_comment() -> None:
    assert header(b"x", "m", "a */ int evil; /*").count("*/") == 2  # of the title and of #endif


@pytest.mark.parametrize("name", ["", "2nd", "a b", "_m", "a__b", "float", "größe", "a;b"])
def test_names_that_c_cannot_have(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="name must be a name of C and C"):
        gru.export(small(), tmp_path / "m.h", name=name)
    assert os.listdir(tmp_path) == []


def test_a_safetensors_export_is_a_save(tmp_path: Path) -> None:
    model = small()
    model.save(tmp_path / "saved")
    gru.export(model, tmp_path / "exported.SafeTensors")
    saved, exported = (tmp_path / name for name in ("saved", "exported.SafeTensors"))
    assert saved.read_bytes() == exported.read_bytes()


def test_a_layer_is_a_model_of_one(tmp_path: Path) -> None:
    layer = gru.LSTM(2, 3, seed=0)
    gru.export(layer, tmp_path / "m.safetensors")
    assert repr(gru.load(tmp_path / "m.safetensors").layers) == repr((layer,))


@pytest.mark.parametrize(
    ("name", "options", "error", "message"),
    [
        ("m.pt", {}, ValueError, r"m\.pt: gru writes no \.pt files; torch\.save\(.*to_torch"),
        ("m.pth", {}, ValueError, r"gru writes no \.pth files; torch\.save"),
        ("m.keras", {}, ValueError, r"gru writes no \.keras files; write \.onnx"),
        ("m.tflite", {}, ValueError, r"suffix must be one of \.safetensors, .*got '\.tflite'"),
        ("m", {}, ValueError, "suffix must be one of .*, got 'none'"),
        ("m.safetensors", {"name": "a"}, TypeError, "must be left out, got 'name'"),
        ("m.h", {"title": "a"}, TypeError, "must be one of name, got 'title'"),
        ("m.h", {"name": 3}, TypeError, "name must be a string, got 3"),
    ],
)
def test_refusals(
    name: str, options: dict[str, Any], error: type[Exception], message: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        gru.export(small(), tmp_path / name, **options)
    assert os.listdir(tmp_path) == []


def test_what_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="model must be a gru model or layer, got None"):
        gru.export(None, tmp_path / "m.h")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="path must be a string or a path, got 3"):
        gru.export(small(), 3)  # type: ignore[arg-type]


def test_an_export_that_fails_keeps_the_old_file(tmp_path: Path) -> None:
    place = tmp_path / "m.h"
    place.write_text("the old one")
    model = small()
    model.metadata["note"] = 3  # type: ignore[assignment]
    with pytest.raises(TypeError, match="metadata"):
        gru.export(model, place)
    with pytest.raises(FileNotFoundError):
        gru.export(small(), tmp_path / "none" / "m.h")
    assert place.read_text() == "the old one"
    assert os.listdir(tmp_path) == ["m.h"]
