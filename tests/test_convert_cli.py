"""gru convert and gru inspect for files of every format, and the comparison with their source."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gru
from cases import assert_same_bits
from commands import Run
from gru.convert import frameworks, outputs
from gru.convert.formats import kind
from gru.convert.source import note, noted
from samples import COMMITTED, SAMPLES

WHOLE = [name for name in SAMPLES if name != "model.weights.h5"]  # those that hold a model
FOREIGN = [name for name in WHOLE if name != "gru.safetensors"]
RUNS = {
    "torch.pt": "torch",
    "torch.safetensors": "torch",
    "model.onnx": "onnxruntime",
    "model.keras": "keras",
    "legacy.h5": "keras",
}


def sample(name: str) -> str:
    """A copy of a sample in the folder of the test."""
    Path(name).write_bytes((COMMITTED / name).read_bytes())
    return name


# --- convert --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", WHOLE)
def test_every_format_is_converted_and_said(name: str, command: Run) -> None:
    said = command("convert", sample(name), "out.safetensors").out
    model, back = gru.load(name), gru.load("out.safetensors")
    assert repr(back) == repr(model)
    for key, value in model.parameters.items():
        assert_same_bits(back.parameters[key], value, key)
    for layer in model.layers:
        assert repr(layer) in said
    assert f"wrote out.safetensors: {os.path.getsize('out.safetensors'):,} bytes" in said
    if name in FOREIGN:
        source = json.loads(back.metadata["source"])
        assert source["file"] == name
        assert f"convention: {source['convention']}" in said
        assert all(f"  {line}\n" in said for line in source["found"])
        assert "not verified: it was not asked for" in said


@pytest.mark.parametrize("name", FOREIGN)
def test_a_source_gives_the_same_outputs(name: str, command: Run) -> None:
    package = RUNS[name]
    pytest.importorskip(package)
    found = json.loads(command("convert", sample(name), "out.h", "--verify", "--json").out)
    check = found["source_check"]
    assert str(check["by"]).startswith(f"{package} "), check["reason"]
    assert check["difference"] <= 1e-6
    shown = json.loads(command("inspect", name, "--verify", "--json").out)
    assert shown["source"] == found["source"]
    assert shown["source_check"]["by"] == check["by"]


@pytest.mark.parametrize("out", ["m.safetensors", "m.onnx", "m.h"])
def test_the_suffix_chooses_what_is_written(out: str, command: Run) -> None:
    found = json.loads(command("convert", sample("model.onnx"), out, "--json").out)
    assert found["wrote"] == {"file": out, "bytes": os.path.getsize(out)}
    gru.export(gru.load("model.onnx"), f"again-{out}")
    if out == "m.onnx":
        assert Path(out).read_bytes() == Path(f"again-{out}").read_bytes()


def test_a_prefix_chooses_what_is_read(command: Run) -> None:
    command("convert", sample("torch.pt"), "m.safetensors", "--prefix", "encoder,Last()")
    assert [type(layer) for layer in gru.load("m.safetensors").layers] == [gru.GRU, gru.Last]
    command("convert", "torch.pt", "n.safetensors", "--prefix", "encoder")
    for model in (gru.load("n.safetensors"), gru.load("torch.pt", prefix="encoder.")):
        assert repr(model.layers) == repr(gru.load("torch.pt").layers)
    error = command("convert", "torch.pt", "m.safetensors", "--prefix", "decoder", code=2).err
    assert "torch.pt: " in error
    assert "encoder" in error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("none.pt", "m.safetensors"), "none.pt: No such file or directory"),
        ((".", "m.safetensors"), ".: Is a directory"),
        (("model.onnx", "model.onnx"), "model.onnx: is what is read as well"),
        (("model.onnx", "m.pt"), "m.pt: gru writes no .pt files; torch.save(*"),
        (("model.onnx", "m"), "m: the suffix must be one of .safetensors, .onnx, .h, got 'none'"),
        (("model.onnx", "none/m.h"), "none/m.h: No such file or directory"),
        (("model.onnx", "m.h", "--prefix", "a"), "model.onnx: an option for this format must be *"),
        (("model.onnx", "m.h", "--prefix", "a,a"), "argument --prefix: must be different names *"),
        (("text", "m.h"), "text: is not an intact gru model file, * text that begins with 'GRU'"),
        (("model.onnx",), "the following arguments are required: OUT"),
        (("cut", "m.h"), "cut: *"),
    ],
)
def test_errors_are_one_line(arguments: tuple[str, ...], message: str, command: Run) -> None:
    content = Path(sample("model.onnx")).read_bytes()
    Path("cut").write_bytes(content[:-9])
    Path("text").write_text("GRU\nof mine\n")
    before = set(os.listdir())
    done = command("convert", *arguments, code=2)
    wanted = ".*".join(map(re.escape, f"gru convert: error: {message}\n".split("*")))
    assert re.fullmatch(wanted, done.err), done.err
    assert done.out == ""
    assert set(os.listdir()) == before


# --- inspect --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", WHOLE)
def test_inspect_shows_every_format(name: str, command: Run) -> None:
    model = gru.load(COMMITTED / name)
    text, found = (command("inspect", sample(name), *more).out for more in ((), ("--json",)))
    shown = json.loads(found)
    assert shown["format"] == kind(name)
    assert shown["self_check"] == ("passed" if name == "gru.safetensors" else None)
    assert [layer["layer"] for layer in shown["layers"]] == [repr(each) for each in model.layers]
    assert "source" not in shown["metadata"]
    assert all(repr(layer) in text for layer in model.layers)
    if name in FOREIGN:
        assert shown["source"] == noted(model.metadata)
        assert shown["source_check"]["difference"] == 0
        assert f"convention: {shown['source']['convention']}" in text
        assert "not verified: it was not asked for" in text


def test_inspect_lists_the_layers_of_weights_without_a_model(command: Run) -> None:
    done = command("inspect", sample("model.weights.h5"))
    assert "it cannot be opened whole" in done.out
    assert "GRU(2, 2)" in done.out
    shown = json.loads(command("inspect", "model.weights.h5", "--json").out)
    (layer,) = shown["recurrent"].values()
    assert layer == "GRU(2, 2); assumed: gates sigmoid, candidate tanh, read forward"
    assert shown["problem"].startswith("model.weights.h5: ")


def torch_file(tensors: dict[str, tuple[int, ...]]) -> bytes:
    """A safetensors file of zeros."""
    header, at = {}, 0
    for name, shape in tensors.items():
        size = 4 * int(np.prod(shape))
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + bytes(at)


def test_inspect_lists_the_recurrent_modules_of_a_larger_net(command: Run) -> None:
    shapes: dict[str, tuple[int, ...]] = {"head.weight": (5, 4), "conv.weight": (2, 2, 3)}
    for prefix, rows, inputs in (("encoder.", 3, 2), ("decoder.rnn.", 4, 6)):
        shapes[f"{prefix}weight_ih_l0"] = (rows * 4, inputs)
        shapes[f"{prefix}weight_hh_l0"] = (rows * 4, 4)
    Path("net.bin").write_bytes(torch_file(shapes))
    shown = json.loads(command("inspect", "net.bin", "--json").out)
    assert shown["recurrent"] == {"encoder.": "GRU(2, 4)", "decoder.rnn.": "LSTM(6, 4)"}
    assert "  decoder.rnn.: LSTM(6, 4)\n" in command("inspect", "net.bin").out
    done = command("inspect", "net.bin", "--verify", code=2)
    assert done.err.startswith("gru inspect: error: net.bin: ")


@pytest.mark.parametrize("name", ["model.keras", "legacy.h5", "model.onnx"])
def test_one_layer_of_a_file(name: str, command: Run) -> None:
    whole = gru.load(sample(name)).layers[0]
    said = command("convert", name, "m.safetensors", "--layer", "core").out
    assert "  core: GRU(2, " in said
    (layer,) = gru.load("m.safetensors").layers
    for key, value in whole.parameters.items():
        assert_same_bits(layer.parameters[key], value, key)
    error = command("convert", name, "m.safetensors", "--layer", "none", code=2).err
    assert name in error
    assert "core" in error
    error = command("convert", name, "m.h", "--layer", "core", "--verify", code=2).err
    assert "--layer: must be given without --verify" in error


def test_one_layer_of_weights_alone(command: Run) -> None:
    """Only the caller can say what their layers compute."""
    name = sample("model.weights.h5")
    error = command("convert", name, "m.safetensors", code=2).err
    assert "gru convert IN OUT --layer NAME --standard" in error
    (layer,) = gru.load_keras_layers(name, standard=True)
    error = command("convert", name, "m.safetensors", "--layer", layer, code=2).err
    assert "holds weights alone" in error
    error = command("convert", name, "m.safetensors", "--standard", code=2).err
    assert "--standard: must be given with --layer" in error
    command("convert", name, "m.safetensors", "--layer", layer, "--standard")
    wanted = gru.load_keras_layers(name, standard=True)[layer]
    for key, value in wanted.parameters.items():
        assert_same_bits(gru.load("m.safetensors").layers[0].parameters[key], value, key)
    onnx = ["convert", sample("model.onnx"), "m.h", "--layer", "core"]
    assert "standard must not be given" in command(*onnx, "--standard", code=2).err


def test_layers_of_torch_go_by_prefix(command: Run) -> None:
    error = command("convert", sample("torch.pt"), "m.h", "--layer", "core", code=2).err
    assert "one layer is taken from Keras or ONNX" in error


def test_the_function_of_a_plain_rnn_is_stated(command: Run) -> None:
    Path("rnn.bin").write_bytes(torch_file({"weight_ih_l0": (4, 2), "weight_hh_l0": (4, 4)}))
    command("convert", "rnn.bin", "m.safetensors", code=2)
    command("convert", "rnn.bin", "m.safetensors", "--nonlinearity", "relu")
    assert "relu" in repr(gru.load("m.safetensors"))


def test_where_keras_resets_is_stated(command: Run) -> None:
    """Without a bias, weights alone do not tell."""
    h5py = pytest.importorskip("h5py")
    name = sample("model.weights.h5")
    (layer,) = gru.load_keras_layers(name, standard=True)
    with h5py.File(name, "r+") as file:
        cells: list[Any] = []
        file.visititems(
            lambda path, group: cells.append(group) if path.endswith("cell/vars") else None
        )
        for cell in cells:
            del cell["2"]
    convert = ["convert", name, "m.safetensors", "--layer", layer, "--standard"]
    assert "would show its reset_after" in command(*convert, code=2).err
    for reset in ("before", "after"):
        command(*convert, "--reset", reset)
        (found,) = gru.load("m.safetensors").layers
        assert found.spec["reset_after"] == (reset == "after")
        assert not found.spec["bias"]


def test_states_that_are_zero_are_stated(command: Run) -> None:
    pytest.importorskip("onnxruntime")
    models = importlib.import_module("onnx_models")
    c = models.numbers("gru", np.random.default_rng(0), directions=2)
    c = {name: value.astype(np.float32) for name, value in c.items()}
    one = models.node("gru", ["X", *c, "initial_h"], hidden_size=4, direction="bidirectional")
    inputs = ["X", models.info("initial_h", shape=[2, "b", 4])]
    models.saved(models.model([one], c, inputs), Path())
    assert "zero_states=True" in command("convert", "model.onnx", "m.safetensors", code=2).err
    command("convert", "model.onnx", "m.safetensors", "--zero-states")
    assert gru.load("m.safetensors").layers[0].bidirectional
    assert (
        "initial_h, input 'initial_h', is 0"
        in command("inspect", "model.onnx", "--zero-states").out
    )
    error = command("convert", "model.onnx", "m.h", "--layer", "x", "--zero-states", code=2).err
    assert "--layer: must be given without --zero-states" in error


def test_what_is_left_aside_is_meant_and_said(command: Run) -> None:
    shapes: dict[str, tuple[int, ...]] = {"head.weight": (5, 4), "head.bias": (5,)}
    for prefix, rows, inputs in (("encoder.", 3, 2), ("decoder.rnn.", 4, 6)):
        shapes[f"{prefix}weight_ih_l0"] = (rows * 4, inputs)
        shapes[f"{prefix}weight_hh_l0"] = (rows * 4, 4)
    Path("net.bin").write_bytes(torch_file(shapes))
    asked = ("convert", "net.bin", "m.safetensors", "--prefix")
    aside = "  left aside: decoder.rnn.: LSTM(6, 4)\n"
    assert aside in command(*asked, "encoder").out
    assert "decoder.rnn.: LSTM(6, 4) would be" in command(*asked, "encoder,head", code=2).err
    assert aside in command(*asked, "encoder,head", "--leave", "decoder").out
    assert aside in command("inspect", "m.safetensors").out


def test_inspect_lists_the_nodes_of_a_larger_graph(command: Run) -> None:
    content = (COMMITTED / "model.onnx").read_bytes()
    assert content.count(b"Sigmoid") == 1
    Path("net.onnx").write_bytes(content.replace(b"Sigmoid", b"NonZero"))
    shown = json.loads(command("inspect", "net.onnx", "--json").out)
    assert list(shown["recurrent"].values()) == ["GRU(2, 3, reset_after=False)"]
    assert "NonZero" in shown["problem"]


# --- the comparison with the source ---------------------------------------------------------------


def test_a_source_that_gives_other_outputs_is_refused(
    monkeypatch: pytest.MonkeyPatch, command: Run
) -> None:
    def other(model: gru.Sequential, path: str, kind: str) -> Any:
        x = outputs.example(model)
        return "system 1.0", x, model(x) + 0.25

    monkeypatch.setattr(frameworks, "outputs", other)
    message = (
        r"model\.onnx: its outputs are not those of its source in system 1\.0: the largest "
        r"difference is 0\.25, allowed is 1e-05"
    )
    with pytest.raises(ValueError, match=message):
        gru.load(sample("model.onnx"), verify=True)
    done = command("convert", "model.onnx", "m.safetensors", "--verify", code=2)
    assert re.search(message, done.err)
    assert not Path("m.safetensors").exists()


def test_without_the_framework_it_says_so(monkeypatch: pytest.MonkeyPatch, command: Run) -> None:
    find = importlib.util.find_spec
    hidden = ("onnxruntime", "torch")
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name in hidden else find(name)
    )
    for name, package in (("model.onnx", "onnxruntime"), ("torch.pt", "torch")):
        with pytest.warns(UserWarning, match=f"{name}: not verified: {package} is not installed"):
            gru.load(sample(name), verify=True)
        said = command("convert", name, "m.safetensors", "--verify").out
        assert f"source check: not verified: {package} is not installed; compared with" in said


@pytest.fixture
def converted(folder: Path) -> gru.Sequential:
    """A converted model, also in a file."""
    model = gru.load(sample("model.onnx"))
    model.save("m.safetensors")
    return gru.load("m.safetensors")


def edited(model: gru.Sequential, **fields: Any) -> Path:
    """The model in a file whose recorded outputs were edited."""
    model.metadata["source_check"] = json.dumps(json.loads(model.metadata["source_check"]) | fields)
    model.save("edited")
    return Path("edited")


def test_a_load_compares_again(converted: gru.Sequential) -> None:
    found = outputs.compare(converted, "m")
    assert found is not None
    assert (found.by, found.difference, found.tolerance) == (None, 0, 1e-5)
    given = json.loads(converted.metadata["source_check"])["outputs"]
    given[3] += 0.5
    message = r"edited: its outputs are not .* the largest difference is 0\.5, allowed is 1e-05"
    with pytest.raises(ValueError, match=message):
        gru.load(edited(converted, outputs=given))


@pytest.mark.parametrize(
    "fields",
    [
        {"shape": [2**40, 7]},
        {"shape": [0, 7]},
        {"shape": [2]},
        {"shape": "27"},
        {"shape": [2.0, 7.0]},
        {"outputs": "x"},
        {"outputs": [[1]]},
        {"outputs": [None]},
        {"tolerance": []},
        {"by": 3},
        {"output_shape": 3},
    ],
    ids=repr,
)
def test_an_edited_check_is_refused(fields: dict[str, Any], converted: gru.Sequential) -> None:
    with pytest.raises(ValueError, match=r"edited: its (source_check is damaged|outputs have)"):
        gru.load(edited(converted, **fields))


@pytest.mark.parametrize("text", ["", "[", "[]", "[" * 100_000, "{}"])
def test_a_check_that_is_none_is_refused(text: str, converted: gru.Sequential) -> None:
    converted.metadata["source_check"] = text
    converted.save("edited")
    with pytest.raises(ValueError, match="edited: its source_check is damaged"):
        gru.load("edited")


def test_a_model_that_was_trained_on_loads(converted: gru.Sequential, command: Run) -> None:
    converted.unfreeze()
    converted.parameters["1.bias"][...] += 1
    converted.save("trained")
    assert outputs.compare(gru.load("trained"), "trained") is None
    assert json.loads(command("inspect", "trained", "--json").out)["source_check"] is None
    assert "no longer those of the source" in command("inspect", "trained").out


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_outputs_that_are_not_finite_are_compared(dtype: str, folder: Path) -> None:
    model = gru.Sequential([gru.Linear(2, 3, seed=0, dtype=dtype)])
    model.parameters["0.bias"][:2] = np.inf, np.nan
    model.metadata.update(note("none", COMMITTED / "model.onnx", "none", []))
    assert outputs.record(model, "m", "onnx", verify=False) == ""
    model.save("m")
    found = outputs.compare(gru.load("m"), "m")
    assert found is not None
    assert found.difference == 0
    values = json.loads(model.metadata["source_check"])["outputs"]
    for i, other in ((0, -np.inf), (1, 0.0), (2, np.nan)):
        wrong = [*values[:i], other, *values[i + 1 :]]
        with pytest.raises(ValueError, match="the largest difference is inf"):
            gru.load(edited(model, outputs=wrong))


def test_the_example_of_a_wide_model_is_small() -> None:
    assert outputs.example(gru.Sequential([gru.GRU(74_000, 1)])).shape == (2, 7, 74_000)
    assert outputs.example(gru.Sequential([gru.GRU(75_000, 1)])).shape == (1, 1, 75_000)


def test_the_example_never_changes() -> None:
    """Files hold outputs for it."""
    x = outputs.example(gru.Sequential([gru.GRU(2, 3, dtype="float64")]), 1, 2)
    wanted = [[[0.09762700785464951, 0.43037873274483895], [0.20552675214328775, 0.08976636599]]]
    np.testing.assert_allclose(x, wanted, rtol=1e-10)
    tokens = outputs.example(gru.Sequential([gru.Embedding(5, 2)]), 1, 6)
    assert tokens.tolist() == [[1, 4, 2, 1, 4, 4]]


# --- notes ----------------------------------------------------------------------------------------


def test_a_note_of_a_file_with_any_name(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/a\xff\n.pt"
    Path(os.fsdecode(path)).write_bytes(b"abc")
    source = noted(note("torch", path, "Rows.", ["a", "b"]))
    assert source is not None
    assert source["file"] == "a\\xff\n.pt"
    assert source["sha256"].startswith("ba7816bf8f01cfea")
    assert source["found"] == ["a", "b"]


@pytest.mark.parametrize("text", ["", "[]", '{"format": "a"}', "[" * 100_000, "null"])
def test_a_note_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"metadata\['source'\] must be what gru writes"):
        noted({"source": text})
