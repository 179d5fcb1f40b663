"""Files of Keras without Keras: real ones of TensorFlow 2, what is refused, and damaged ones."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gru
from reference import Array

FILES = Path(__file__).parent / "data" / "keras"
CHAIN, OLD, MASKED = FILES / "chain.keras", FILES / "chain.h5", FILES / "masked.h5"
OUTPUTS = dict(np.load(FILES / "outputs.npz"))
Change = Callable[[dict[str, Any]], object]


# --- files that TensorFlow 2.15 wrote -------------------------------------------------------------


@pytest.mark.parametrize("path", [CHAIN, OLD, MASKED], ids=lambda path: path.name)
def test_tensorflow(path: Path) -> None:
    model = gru.load_keras(path)
    x, y = OUTPUTS[f"{path.stem}/x"], OUTPUTS[f"{path.stem}/y"]
    assert model.dtype == y.dtype == ("float64" if path == MASKED else "float32")
    np.testing.assert_allclose(model(x), y, rtol=0, atol=1e-12 if path == MASKED else 1e-6)


@pytest.mark.parametrize("path", [CHAIN, OLD], ids=lambda path: path.name)
def test_layers_by_name(path: Path) -> None:
    found = gru.load_keras_layers(path)
    shown = {name: repr(layer) for name, layer in found.items()}
    assert shown == {
        "first": "GRU(3, 4)",
        "both": "LSTM(4, 3, bidirectional=True)",
        "second": "GRU(3, 2, reset_after=False)",
    }
    for layer, whole in zip(found.values(), recurrent_layers(gru.load_keras(path)), strict=True):
        for key, value in layer.parameters.items():
            np.testing.assert_array_equal(whole.parameters[key], value)


def recurrent_layers(model: gru.Sequential) -> list[gru.Layer]:
    return [layer for layer in model.layers if isinstance(layer, (gru.GRU, gru.LSTM, gru.RNN))]


def test_go_backwards_alone_is_read_in_reverse() -> None:
    assert repr(gru.load_keras_layers(MASKED)["gru"]) == "GRU(4, 3, reverse=True, dtype='float64')"


# --- what is refused ------------------------------------------------------------------------------


def entries(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def packed(path: Path, members: dict[str, bytes], **options: Any) -> Path:
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def edited(folder: Path, change: Change) -> Path:
    """The chain with another configuration."""
    found = entries(CHAIN)
    model = json.loads(found["config.json"])
    change(model)
    return packed(folder / "m.keras", {**found, "config.json": json.dumps(model).encode()})


def layer_of(model: dict[str, Any], name: str) -> dict[str, Any]:
    return next(one for one in model["config"]["layers"] if one["config"].get("name") == name)


def sets(layer: str, inside: str = "", **options: Any) -> Change:
    def change(model: dict[str, Any]) -> None:
        config = layer_of(model, layer)["config"]
        (config[inside]["config"] if inside else config).update(options)

    return change


def becomes(layer: str, kind: str) -> Change:
    return lambda model: layer_of(model, layer).update(class_name=kind, module="keras.layers")


def registered(layer: str, module: str | None, name: str) -> Change:
    """As Keras writes a layer whose class a program registered."""
    return lambda model: layer_of(model, layer).update(module=module, registered_name=name)


REFUSED: dict[str, tuple[Change, str]] = {
    "hard_sigmoid of Keras 2": (
        sets("first", recurrent_activation="hard_sigmoid"),
        r"layer 'first' \(GRU\): recurrent_activation must be sigmoid.*Keras 2's, clip\(0\.2",
    ),
    "relu in a cell": (sets("first", activation="relu"), "activation must be tanh"),
    "a function of the caller's own": (
        sets("first", activation={"class_name": "Mine", "config": {}}),
        "activation must be a function of Keras itself",
    ),
    "hard_sigmoid below Bidirectional": (
        sets("both", "layer", recurrent_activation="hard_sigmoid"),
        "must be sigmoid",
    ),
    "sum of directions": (sets("both", merge_mode="sum"), "merge_mode must be 'concat', got 'sum'"),
    "both directions backward": (
        sets("both", "layer", go_backwards=True),
        "its layer must read forward",
    ),
    "states as outputs": (sets("second", return_state=True), "return_state must be false"),
    "time first": (sets("second", time_major=True), "time_major must be false"),
    "another reset": (sets("first", reset_after=False), "reset_after is False, but its bias has"),
    "another number of units": (sets("first", units=5), "units is 5, but its weights"),
    "units of no number": (sets("first", units="4"), "units must be a number of units, got '4'"),
    "no biases": (
        sets("first", use_bias=False),
        "must hold kernel and recurrent_kernel, but holds",
    ),
    "a rate above 1": (sets("first", dropout=2.0), "dropout must be from 0 to 1"),
    "wrapped cells": (becomes("first", "RNN"), r"'first' \(RNN\): it wraps cells of its own"),
    "a cell of TensorFlow 1": (becomes("first", "CuDNNGRU"), "is a layer of TensorFlow 1"),
    "ConvLSTM": (becomes("first", "ConvLSTM1D"), "convolves, which gru does not"),
    "a class of the caller's own": (
        lambda model: layer_of(model, "first").update(module="mine.layers"),
        r"mine\.layers\.GRU\): it is none of the layers that gru has.*gru\.load_keras_layers",
    ),
    "a registered class": (
        registered("first", None, "Custom>GRU"),
        r"'first' \(Custom>GRU\): it is none of the layers that gru has",
    ),
    "a registered class below Bidirectional": (
        lambda model: layer_of(model, "both")["config"]["layer"].update(
            module=None, registered_name="Custom>GRU"
        ),
        r"Custom>.*is no GRU, LSTM or SimpleRNN",
    ),
    "a class without a module": (
        registered("first", None, "GRU"),
        r"'first' \(custom>GRU\): it is none of the layers that gru has",
    ),
    "a registered dense layer": (registered("dense_1", None, "Mine>Dense"), r"\(Mine>Dense\)"),
    "a convolution": (becomes("first", "Conv1D"), r"\(Conv1D\): it is none of the layers"),
    "an axis of time": (sets("batch_normalization", axis=[1]), "axis must be the last one"),
    "variances below 0": (sets("batch_normalization", epsilon=-9.0), "must be above 0 everywhere"),
    "swish": (sets("dense_1", activation="swish"), "activation must be linear, relu.*got 'swish'"),
    "eight bits": (sets("dense_1", dtype="int8"), "its dtype must be one of float16"),
    "a cast of what comes in": (
        sets("first", dtype="float64"),
        r"'input_1' \(InputLayer\): Keras casts .* 'float32', .*'first' \(GRU\) computes in f",
    ),
    "a cast to whole numbers": (sets("input_1", dtype="int32"), "its dtype, 'int32', which gru"),
    "another layer below TimeDistributed": (
        lambda model: layer_of(model, "time_distributed")["config"]["layer"].update(
            class_name="Conv1D"
        ),
        "it must hold a Dense layer",
    ),
    "a mask in the middle": (becomes("dropout", "Masking"), "a mask must be in the first layer"),
    "a model of code": (
        lambda model: model.update(class_name="Mine", config={"name": "mine"}),
        r"it is no Sequential or functional model; .*save_weights\('m\.weights\.h5'\), then gru",
    ),
    "two layers exchanged": (
        lambda model: layer_of(model, "first").update(layer_of(model, "second")),
        "units is 2, but its weights have shape",
    ),
    "a layer left out": (
        lambda model: model["config"]["layers"].remove(layer_of(model, "dense_1")),
        r"dense.* would be left unread",
    ),
    "a name of no text": (sets("first", name=3), "the name of a layer is 3"),
    "no arguments": (
        lambda model: layer_of(model, "first").update(config=7),
        "layer 'GRU' has no arguments",
    ),
    "a list for a layer": (
        lambda model: model["config"]["layers"].insert(2, []),
        "a layer is described by a list",
    ),
    "a name that a terminal obeys": (
        sets("first", activation="\x1b[31m\u202e"),
        r"got '\\x1b\[31m\\u202e'",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str, tmp_path: Path) -> None:
    change, message = REFUSED[name]
    path = edited(tmp_path, change)
    with pytest.raises(ValueError, match=message) as caught:
        gru.load_keras(path)
    assert str(caught.value).startswith(str(path))
    assert str(caught.value).isprintable()


def rewired(change: Change) -> Change:
    """The chain as a functional model, with one thing changed."""

    def made(model: dict[str, Any]) -> None:
        model["class_name"] = "Functional"
        layers = model["config"]["layers"]
        before = None
        for layer in layers:
            layer["name"] = layer["config"]["name"]
            call = {"args": [tensor(before)], "kwargs": {"training": False, "mask": None}}
            layer["inbound_nodes"] = [call] if before else []
            before = layer["name"]
        model["config"]["output_layers"] = [[before, 0, 0]]
        change(model)

    return made


def tensor(name: str | None) -> dict[str, Any]:
    return {"class_name": "__keras_tensor__", "config": {"keras_history": [name, 0, 0]}}


def node_of(model: dict[str, Any], name: str) -> dict[str, Any]:
    return layer_of(model, name)["inbound_nodes"][0]  # type: ignore[no-any-return]


WIRED: dict[str, tuple[Change, str]] = {
    "an input skipped": (
        lambda model: node_of(model, "both").update(args=[tensor("first")]),
        r"'both'.*its input must be 'batch_normalization', but is 'first': no chain",
    ),
    "two inputs": (
        lambda model: node_of(model, "both").update(args=[[tensor("first"), tensor("both")]]),
        "no chain",
    ),
    "an initial state": (
        lambda model: node_of(model, "second")["kwargs"].update(initial_state=[tensor("dropout")]),
        "called with 'initial_state'",
    ),
    "training": (
        lambda model: node_of(model, "dropout")["kwargs"].update(training=True),
        "called with 'training'",
    ),
    "a mask of its own": (
        lambda model: node_of(model, "second")["kwargs"].update(mask=tensor("first")),
        "called with a mask of its own",
    ),
    "called twice": (
        lambda model: layer_of(model, "second")["inbound_nodes"].append(node_of(model, "second")),
        "must be called once",
    ),
    "an output in the middle": (
        lambda model: model["config"].update(output_layers=[["both", 0, 0]]),
        "its output must be that of its last layer alone",
    ),
    "calls of no list": (
        lambda model: layer_of(model, "both").update(inbound_nodes=[7]),
        "must be called with one input",
    ),
}


def test_the_chain_as_a_functional_model(tmp_path: Path) -> None:
    model = gru.load_keras(edited(tmp_path, rewired(lambda model: None)))
    y = model(OUTPUTS["chain/x"])
    np.testing.assert_array_equal(y, gru.load_keras(CHAIN)(OUTPUTS["chain/x"]))


@pytest.mark.parametrize("name", WIRED)
def test_no_chain(name: str, tmp_path: Path) -> None:
    change, message = WIRED[name]
    path = edited(tmp_path, rewired(change))
    with pytest.raises(ValueError, match=message):
        gru.load_keras(path)
    assert set(gru.load_keras_layers(path)) == {"first", "both", "second"}


def test_max_pooling_after_a_mask_is_refused(tmp_path: Path) -> None:
    def change(model: dict[str, Any]) -> None:
        layers = model["config"]["layers"]
        layers.insert(1, {"class_name": "Masking", "config": {"name": "mask"}})
        layers[-2:] = [{"class_name": "GlobalMaxPooling1D", "config": {"name": "max"}}]

    with pytest.raises(ValueError, match="Keras pools the steps that a mask leaves out as well"):
        gru.load_keras(edited(tmp_path, change))


def test_a_cell_that_the_configuration_does_not_name(tmp_path: Path) -> None:
    """A layer of the caller's own that holds a GRU: its numbers are there, its options are not."""
    path = edited(tmp_path, becomes("first", "Encoder"))
    with pytest.raises(ValueError, match="units is 2, but its weights"):
        gru.load_keras_layers(path)


def test_a_recurrent_class_of_the_callers_own(tmp_path: Path) -> None:
    """Its name says nothing of what it computes; other classes do not matter to the layers."""
    path = edited(tmp_path, registered("first", None, "Custom>GRU"))
    with pytest.raises(ValueError, match=r"'first' \(Custom>GRU\): it is a class of a program's"):
        gru.load_keras_layers(path)
    other = edited(tmp_path, registered("dense_1", "mine.layers", "Custom>Dense"))
    assert gru.load_keras_layers(other).keys() == gru.load_keras_layers(CHAIN).keys()


def test_the_layers_of_a_model_of_code(tmp_path: Path) -> None:
    path = edited(tmp_path, lambda model: model.update(class_name="Mine", config={"name": "m"}))
    with pytest.raises(
        ValueError, match=r"not describe.*save_weights\('m\.weights\.h5'\), then gru"
    ):
        gru.load_keras_layers(path)


# --- damaged and hostile files --------------------------------------------------------------------


def test_members(tmp_path: Path) -> None:
    found = entries(CHAIN)
    compressed = packed(tmp_path / "a.keras", found, compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(ValueError, match=r"'metadata.json' is compressed.*zip -0"):
        gru.load_keras(compressed)
    for name in ("config.json", "model.weights.h5"):
        rest = {key: value for key, value in found.items() if key != name}
        path = packed(tmp_path / "b.keras", {**rest, "../../etc/x": b""})
        with pytest.raises(ValueError, match=f"{name} is missing"):
            gru.load_keras(path)
    assert {file.name for file in tmp_path.iterdir()} == {"a.keras", "b.keras"}


CONFIGS = {
    "deep": (b'{"a":' * 5_000 + b"1" + b"}" * 5_000, "nested too deeply"),
    "deeper": (b'{"a":' * 50_000 + b"1" + b"}" * 50_000, "would take more than"),
    "models in models": (
        b'{"class_name":"Sequential","config":{"layers":[' * 40 + b"]}}" * 40,
        "deep",
    ),
    "long": (b'{"a":"' + b" " * 2_000_000 + b'"}', "longer than a model's"),
    "no object": (b"[]", "a layer is described by a list"),
    "no text": (b"\xff\xfe{}", "config.json"),
    "twice": (b'{"config":1,"config":2}', "occurs twice"),
    "a number without end": (b'{"a":' + b"9" * 10_000 + b"}", "config.json"),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_configurations(name: str, tmp_path: Path) -> None:
    content, message = CONFIGS[name]
    path = packed(tmp_path / "m.keras", {**entries(CHAIN), "config.json": content})
    for read in (gru.load_keras, gru.load_keras_layers):
        with pytest.raises(ValueError, match=message) as caught:
            read(path)
        assert str(path) in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"epoch,loss\n1,0.5\n", b"\x89HDF\r\n\x1a\n", b"PK\3\4"])
def test_no_model(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "m.keras"
    path.write_bytes(content)
    for read in (gru.load_keras, gru.load_keras_layers):
        with pytest.raises(ValueError, match=r"m\.keras: "):
            read(path)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        gru.load_keras(tmp_path / "m.keras")
    with pytest.raises(IsADirectoryError):
        gru.load_keras(tmp_path)
    with pytest.raises(TypeError, match="path must be a string or a path, got 3"):
        gru.load_keras(3)  # type: ignore[arg-type]


FUZZ = """
import resource, sys, warnings
from pathlib import Path
import gru
from mutations import mutated
warnings.simplefilter("error")
path, count = Path(sys.argv[1]), int(sys.argv[2])
counts = {"opened": 0, "refused": 0}
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for sample in map(Path, sys.argv[3:]):
    data, kind = sample.read_bytes(), "keras" if sample.suffix == ".keras" else "hdf5"
    for number in range(count):
        cut = len(data) * number // (count // 4)
        start = cut if number < count // 4 else len(data) + number
        path.write_bytes(mutated(data, kind, 7, start))
        for read in (gru.load_keras, gru.load_keras_layers):
            try:
                read(path)
                counts["opened"] += 1
            except (ValueError, OSError) as error:
                assert str(path) in str(error) and str(error).isprintable(), (sample, number, error)
                counts["refused"] += 1
growth = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
assert growth < 32_000, growth
print(counts["opened"], counts["refused"])
"""


def test_damaged_files_are_refused_or_whole(tmp_path: Path) -> None:
    """A thousand damages of each file: a model or a ValueError that names it, nothing else."""
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            FUZZ,
            str(tmp_path / "m"),
            "1000",
            str(CHAIN),
            str(OLD),
            str(MASKED),
        ],
        cwd=Path(__file__).parent,
        check=True,
        capture_output=True,
        text=True,
        timeout=600,
    )
    opened, refused = map(int, done.stdout.split())
    assert opened + refused == 6000
    assert refused > 3000
    assert opened > 100


# --- HDF5 -----------------------------------------------------------------------------------------


def test_addresses_that_lead_round(tmp_path: Path) -> None:
    """Every tree node of the file says that it is its own child."""
    data = bytearray(OLD.read_bytes())
    at = data.find(b"TREE")
    assert at > 0
    while at >= 0:
        data[at + 5] = 1  # an inner node
        struct.pack_into("<Q", data, at + 32, at)
        at = data.find(b"TREE", at + 4)
    path = tmp_path / "m.h5"
    path.write_bytes(data)
    with pytest.raises(ValueError, match="tree of a group's names is damaged"):
        gru.load_keras(path)


def small(path: Path, change: Callable[[Any], object], **options: Any) -> Path:
    """Weights of one GRU(2, 3) as Keras 3 lays them out, one thing of them changed."""
    h5py = pytest.importorskip("h5py")
    rng = np.random.default_rng(0)
    with h5py.File(path, "w", **options) as file:
        cell = file.create_group("layers/gru/cell/vars")
        for name, shape in (("0", (2, 9)), ("1", (3, 9)), ("2", (2, 9))):
            cell[name] = rng.normal(size=shape).astype(np.float32)
        cell.attrs["name"] = "gru_cell"
        file["layers/gru"].create_group("vars").attrs["name"] = "mine"
        change(cell)
    return path


def replaced(name: str = "0", **options: Any) -> Callable[[Any], object]:
    def change(cell: Any) -> None:
        value = cell[name][()]
        del cell[name]
        cell.create_dataset(name, **{"data": value, **options})

    return change


def linked(link: Callable[[Any, Any], Any]) -> Callable[[Any], object]:
    def change(cell: Any) -> None:
        h5py = pytest.importorskip("h5py")
        del cell["0"]
        cell["0"] = link(h5py, cell)

    return change


def virtual(cell: Any) -> None:
    h5py = pytest.importorskip("h5py")
    del cell["0"]
    layout = h5py.VirtualLayout((2, 9), np.float32)
    layout[:] = h5py.VirtualSource("/etc/passwd", "x", (2, 9))
    cell.create_virtual_dataset("0", layout)


def outside(cell: Any) -> None:
    del cell["0"]
    cell.create_dataset("0", (2, 9), np.float32, external=[("/etc/passwd", 0, 72)])


FOREIGN: dict[str, tuple[Callable[[Any], object], str]] = {
    "compressed": (replaced(compression="gzip"), "is compressed"),
    "in chunks": (replaced(chunks=(1, 9)), "is stored in chunks"),
    "terabytes in chunks": (
        replaced(data=None, shape=(2**20, 2**20), dtype="f4", chunks=(1024, 1024)),
        "is stored in chunks",
    ),
    "never stored": (replaced(data=None, shape=(2**20, 2**20), dtype="f4"), "missing or cut off"),
    "integers": (replaced(dtype="i4"), "must hold floating-point numbers"),
    "text": (replaced(data="a text"), "must hold floating-point numbers"),
    "a soft link": (linked(lambda h5py, cell: h5py.SoftLink("/layers/gru")), "is a link"),
    "an external link": (
        linked(lambda h5py, cell: h5py.ExternalLink("/etc/passwd", "/")),
        "is a link|of a newer form",
    ),
    "a hard link": (linked(lambda h5py, cell: cell["1"]), "is a second name of another part"),
    "a circle": (linked(lambda h5py, cell: cell.parent), "is a second name of another part"),
    "virtual": (virtual, "of a newer form|virtual|another form"),
    "outside": (outside, "lies in another file"),
    "four axes": (replaced(data=np.ones((2, 9, 1, 1), "f4")), "do not add up"),
    "eight columns": (replaced(data=np.ones((2, 8), "f4")), "gates"),
    "another cell": (lambda cell: cell.attrs.modify("name", "my_cell"), "cell of another kind"),
    "a name of a number": (lambda cell: cell.attrs.create("name", 3), "must be text"),
    "one array": (lambda cell: [cell.pop("1"), cell.pop("2")], "arrays are those of no GRU"),
    "four arrays": (lambda cell: cell.create_dataset("3", data=[1.0]), "those of no GRU"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_hdf5_that_keras_does_not_write(name: str, tmp_path: Path) -> None:
    change, message = FOREIGN[name]
    path = small(tmp_path / "m.weights.h5", change)
    with pytest.raises(ValueError, match=message) as caught:
        gru.load_keras_layers(path, standard=True)
    assert str(path) in str(caught.value)


def test_hdf5_of_a_newer_form(tmp_path: Path) -> None:
    path = small(tmp_path / "m.weights.h5", lambda cell: None, libver="latest")
    with pytest.raises(ValueError, match=r"newer form.*open it in Keras and save it again"):
        gru.load_keras_layers(path, standard=True)


def test_weights_alone_do_not_say_what_they_are_for(tmp_path: Path) -> None:
    path = small(tmp_path / "m.weights.h5", lambda cell: None)
    with pytest.raises(ValueError, match=r"gates are sigmoid.*read forward.*standard=True"):
        gru.load_keras_layers(path)
    with pytest.raises(ValueError, match=r"weights alone.*standard=True"):
        gru.load(path)
    assert repr(gru.load_keras_layers(path, standard=True)["mine"]) == "GRU(2, 3)"


def weights(path: Path) -> Array:
    (layer,) = gru.load_keras_layers(path, standard=True).values()
    return np.concatenate([value.ravel() for value in layer.parameters.values()])


@pytest.mark.parametrize("code", [">f4", "<f8", ">f8", "<f2"])
def test_number_types(code: str, tmp_path: Path) -> None:
    def change(cell: Any) -> None:
        for name in "012":
            replaced(name, data=cell[name][()].astype("f2").astype(code))(cell)

    def rounded(cell: Any) -> None:
        for name in "012":
            cell[name][...] = cell[name][()].astype("f2")

    found = weights(small(tmp_path / "a.weights.h5", change))
    wanted = weights(small(tmp_path / "b.weights.h5", rounded))
    assert found.dtype == (np.float64 if code[1:] == "f8" else np.float32)
    np.testing.assert_array_equal(found, wanted)


def test_bfloat16(tmp_path: Path) -> None:
    """Keras writes its two bytes as an opaque type, and says which in an attribute."""

    def change(cell: Any) -> None:
        for name in "012":
            bits = (cell[name][()].view(np.uint32) >> 16).astype("<u2")
            replaced(name, data=bits.view("V2"))(cell)
            cell[name].attrs["dtype"] = "bfloat16"

    def rounded(cell: Any) -> None:
        for name in "012":
            bits = cell[name][()].view(np.uint32) & 0xFFFF0000
            cell[name][...] = bits.view(np.float32)

    found = weights(small(tmp_path / "a.weights.h5", change))
    np.testing.assert_array_equal(found, weights(small(tmp_path / "b.weights.h5", rounded)))


def test_many_layers(tmp_path: Path) -> None:
    """Groups of many names take inner nodes of a tree, and attributes more than one block."""
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "m.h5"
    with h5py.File(path, "w") as file:
        names = [f"gru_{i}" for i in range(200)]
        file.attrs["layer_names0"] = [name.encode() for name in names[:100]]
        file.attrs["layer_names1"] = [name.encode() for name in names[100:]]
        for i, name in enumerate(names):
            group = file.create_group(name)
            group.attrs["weight_names"] = np.array([f"{name}/{end}:0".encode() for end in ROLES])
            for end, shape in zip(ROLES, ((2, 9), (3, 9), (2, 9)), strict=True):
                group[f"{name}/{end}:0"] = np.full(shape, i, np.float32)
    found = gru.load_keras_layers(path, standard=True)
    assert list(found) == names
    assert all((found[name].parameters["weight_hh_l0"] == i).all() for i, name in enumerate(names))


ROLES = ("kernel", "recurrent_kernel", "bias")


def test_memory_is_at_most_twice_the_file(tmp_path: Path) -> None:
    """A GRU of 25 MB, opened where only twice that may be taken."""

    def change(cell: Any) -> None:
        for name, shape in (("0", (1024, 3072)), ("1", (1024, 3072)), ("2", (2, 3072))):
            replaced(name, data=np.ones(shape, np.float32))(cell)

    path = small(tmp_path / "m.weights.h5", change)
    size = path.stat().st_size
    code = (
        "import gru, resource, sys\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024\n"
        "gru.load_keras_layers(sys.argv[1], standard=True)\n"
        "before = peak()\n"
        "found = gru.load_keras_layers(sys.argv[2], standard=True)\n"
        "print(peak() - before)"
    )
    first = small(tmp_path / "s.weights.h5", lambda cell: None)
    done = subprocess.run(
        [sys.executable, "-c", code, str(first), str(path)],
        check=True,
        capture_output=True,
        text=True,
    )
    assert size > 25_000_000
    assert int(done.stdout) < 2.2 * size


@pytest.mark.parametrize(
    ("letters", "message"),
    [
        (4096, "models around it have names that are too long"),
        (100_000, "name or class of a layer has 100000 letters, allowed are 4096"),
    ],
)
def test_names_of_models_in_models_take_no_memory(
    letters: int, message: str, tmp_path: Path
) -> None:
    """Each layer below a long name would repeat it."""
    with zipfile.ZipFile(CHAIN) as source:
        held = {name: source.read(name) for name in source.namelist()}
    config = json.loads(held["config.json"])
    cells = [{"class_name": "GRU", "config": {"name": f"g{i}", "units": 4}} for i in range(2000)]
    inner = {"class_name": "Sequential", "config": {"name": "k" * letters, "layers": cells}}
    config["config"]["layers"].append(inner)
    path = tmp_path / "long.keras"
    with zipfile.ZipFile(path, "w") as target:
        for name, content in (held | {"config.json": json.dumps(config).encode()}).items():
            target.writestr(name, content)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=message):
            gru.load_keras_layers(path)
        taken = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert taken < 20_000_000
