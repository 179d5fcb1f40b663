"""docs/which-gru.md says what the systems do: its tables and its code are compared with them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gru
from gru.convert.gates import ORDERS
from reference import Array

PAGE = (Path(__file__).parent.parent / "docs" / "which-gru.md").read_text(encoding="utf-8")
SIZES = {"I": 3, "H": 5, "D": 2}


def rows(first: str) -> list[dict[str, str]]:
    """The rows of the table whose first column has this heading."""
    lines = PAGE[PAGE.index(f"| {first} |") :].split("\n\n")[0].splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [dict(zip(cells[0], row, strict=True)) for row in cells[2:]]


SYSTEMS = rows("system")


def of(*words: str) -> dict[str, str]:
    """The one row whose system has all the words."""
    (found,) = (row for row in SYSTEMS if all(word in row["system"] for word in words))
    return found


def sizes(text: str) -> dict[str, tuple[int, ...]]:
    """``name`` (3H, I) -> the name and the shape for the sizes above."""
    return {
        name: tuple(
            int(re.match(r"\d*", side)[0] or 1) * SIZES.get(side[-1], 1)  # type: ignore[index]
            for side in shape.split(", ")
        )
        for name, shape in re.findall(r"`(\w+)` \(([^)]*)\)", text)
    }


def form(row: dict[str, str]) -> dict[str, Any]:
    return {"reset_after": row["reset"] == "after", "update_gate": row["near 1"]}


def test_the_forms_are_those_of_the_layer() -> None:
    found = {}
    for row in rows("`gru.GRU(I, H, ...)`"):
        after, gate = re.findall(r"=\"?(\w+)", row["`gru.GRU(I, H, ...)`"])
        found[after, gate] = (row["reset"], row["an update gate near 1"])
    assert found == {
        ("True", "keep"): ("after", "keeps the state"),
        ("False", "keep"): ("before", "keeps the state"),
        ("False", "new"): ("before", "takes the new state"),
        ("True", "new"): ("after", "takes the new state"),
    }


@pytest.mark.parametrize("system", ["PyTorch", "Keras", "ONNX", "Flax nnx"])
def test_the_orders_are_those_that_are_read(system: str) -> None:
    key = {"PyTorch": "torch", "Flax nnx": "flax"}.get(system, system.lower())
    found = {row["rows"].replace(" ", "") for row in SYSTEMS if system in row["system"]}
    assert found == {ORDERS[key]["gru"]}


def test_torch() -> None:
    torch = pytest.importorskip("torch")
    row = of("PyTorch")
    layer = torch.nn.GRU(SIZES["I"], SIZES["H"], batch_first=True)
    shapes = {name: tuple(value.shape) for name, value in layer.state_dict().items()}
    wanted = {"bias_ih": (15,), "bias_hh": (15,)} | sizes(row["weights"])
    assert shapes == {f"{name}_l0": shape for name, shape in wanted.items()}
    own, x = gru.GRU(SIZES["I"], SIZES["H"], **form(row)), example()
    for name, value in layer.state_dict().items():
        own.parameters[name][...] = value
    np.testing.assert_allclose(own(x)[0], layer(torch.from_numpy(x))[0].detach(), atol=1e-6)


@pytest.mark.parametrize("after", [True, False])
def test_keras(after: bool) -> None:
    keras = pytest.importorskip("keras")
    row = of("Keras", f"reset_after={after}")
    assert row["system"].endswith("the default") == (keras.layers.GRU(2).reset_after == after)
    layer = keras.layers.GRU(SIZES["H"], reset_after=after)
    layer.build((None, None, SIZES["I"]))
    shapes = {value.name: tuple(value.shape) for value in layer.cell.weights}
    assert shapes == sizes(row["weights"]) | sizes(row["biases"])


@pytest.mark.parametrize("after", [0, 1])
def test_onnx(after: int) -> None:
    onnx = pytest.importorskip("onnx")
    row = of("ONNX", f"linear_before_reset={after}")
    schema = onnx.defs.get_schema("GRU")
    default = schema.attributes["linear_before_reset"].default_value.i
    assert ("its default" in row["system"]) == (default == after)
    assert row["reset"] == ("after" if after else "before")
    assert [name.name for name in schema.inputs[1:4]] == ["W", "R", "B"]
    assert sizes(row["weights"]) == {"W": (2, 15, 3), "R": (2, 15, 5)}
    assert sizes(row["biases"]) == {"B": (2, 30)}


def example() -> Array:
    return np.random.default_rng(0).normal(size=(2, 4, SIZES["I"])).astype(np.float32)


def code() -> dict[str, Any]:
    """The names that the page's code makes."""
    names: dict[str, Any] = {}
    (block,) = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    exec(compile(block, "which-gru.md", "exec"), names)
    return names


def with_biases(after: bool, gate: str) -> gru.GRU:
    layer, rng = (
        gru.GRU(3, 5, reset_after=after, update_gate=gate, seed=1),
        np.random.default_rng(2),
    )
    for value in layer.parameters.values():
        value[...] = rng.normal(size=value.shape)
    return layer


def test_a_recorded_output_tells_the_form() -> None:
    names = code()
    assert len(names["forms"]) == 4
    for after, gate in names["forms"]:
        layer, x = with_biases(after, gate), example()
        assert names["which"](layer.parameters, x, layer(x)[0]) == [(after, gate)]


def test_one_step_without_biases_does_not_tell_the_resets() -> None:
    x = example()[:, :1]
    before, after = (gru.GRU(3, 5, reset_after=form, bias=False, seed=0) for form in (False, True))
    np.testing.assert_array_equal(before(x)[0], after(x)[0])


@pytest.mark.parametrize("after", [True, False])
def test_negated_z_rows_turn_one_update_gate_into_the_other(after: bool) -> None:
    keep, new = with_biases(after, "keep"), with_biases(after, "new")
    for value in new.parameters.values():
        value[5:10] *= -1
    np.testing.assert_array_equal(keep(example())[0], new(example())[0])
