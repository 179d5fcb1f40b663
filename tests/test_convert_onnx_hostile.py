"""Damaged and hostile ONNX files: one clear ValueError each, little memory, and never a crash."""

from __future__ import annotations

import re
import tracemalloc
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import gru
from gru.convert.onnx_graph import load_onnx
from gru.convert.onnx_nodes import load_onnx_node
from gru.convert.onnx_proto import (
    Attribute,
    Entry,
    Graph,
    Model,
    Node,
    Opset,
    Tensor,
    decode,
    encode,
)
from gru.convert.onnx_write import to_onnx
from gru.convert.regions import Objects

LOADERS: tuple[Callable[[Path], object], ...] = (load_onnx, load_onnx_node)


def content() -> bytes:
    layers = [gru.GRU(3, 4, 2, bidirectional=True, seed=0), gru.Last(bidirectional=True)]
    return to_onnx(gru.Sequential([*layers, gru.Linear(8, 2, seed=1)]))


def told(path: Path) -> list[str]:
    """What both loaders say, "" for a file that still opens; any other exception fails the test."""
    found = []
    for load in LOADERS:
        try:
            load(path)
            found.append("")
        except ValueError as error:
            found.append(str(error))
    for message in filter(None, found):
        assert message.startswith(f"{path}: "), message
    return found


def test_cut_off_at_every_byte(tmp_path: Path) -> None:
    whole = to_onnx(gru.Sequential([gru.GRU(2, 2, seed=0)]))
    path = tmp_path / "cut.onnx"
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert all(told(path)), length


def test_mutations(tmp_path: Path) -> None:
    """Bits flipped, bytes replaced, removed and inserted, up to three at a time."""
    rng = np.random.default_rng(0)
    path, whole = tmp_path / "mutated.onnx", content()
    clear = 0
    for _ in range(400):
        data = bytearray(whole)
        for _ in range(int(rng.integers(1, 4))):
            at, size = int(rng.integers(len(data))), int(rng.integers(1, 9))
            how = rng.integers(4)
            if how == 0:
                data[at] ^= 1 << int(rng.integers(8))
            elif how == 1:
                data[at] = int(rng.integers(256))
            elif how == 2:
                del data[at : at + size]
            else:
                data[at:at] = rng.bytes(size)
        path.write_bytes(data)
        clear += all(told(path))
    assert clear > 200


# --- files made by hand ---------------------------------------------------------------------------


def numbers(name: str, array: np.ndarray) -> Tensor:  # type: ignore[type-arg]
    kind = {"float32": 1, "int64": 7}[array.dtype.name]
    return Tensor(list(array.shape), kind, name=name, raw_data=array.tobytes())


def weights() -> list[Tensor]:
    shapes = {"W": (1, 12, 3), "R": (1, 12, 4), "B": (1, 24)}
    return [numbers(name, np.ones(shape, np.float32)) for name, shape in shapes.items()]


def file_of(nodes: list[Node], tensors: list[Tensor], opset: int = 17) -> bytes:
    graph = Graph(nodes, "hostile", tensors)
    return encode(Model(8, [Opset(version=opset)], graph=graph))


CELL = Node(["X", "W", "R", "B"], ["Y"], "cell", "GRU")


def changed(**fields: object) -> list[Tensor]:
    first, *rest = weights()
    for name, value in fields.items():
        setattr(first, name, value)
    return [first, *rest]


def nested(depth: int) -> list[Node]:
    node = CELL
    for _ in range(depth):
        body = Attribute("then_branch", g=Graph([node]), type=5)
        node = Node([], ["out"], "if", "If", [body])
    return [node]


def chained(count: int) -> list[Node]:
    names = ["W", *(f"w{i}" for i in range(count))]
    steps = [Node([a], [b], "", "Identity") for a, b in pairwise(names)]
    return [*steps, Node(["X", names[-1], "R", "B"], ["Y"], "cell", "GRU")]


AXIS = Attribute("axis", i=0, type=2)
DOUBLED = [Node([f"d{i}"] * 2, [f"d{i + 1}"], "", "Concat", [AXIS]) for i in range(40)]
HOSTILE: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "no ONNX model can be read from it: it is empty"),
    "text": (b"This is a text file, named like a model.\n" * 50, "no ONNX model can be read"),
    "zeros": (bytes(1000), "a field has the number 0"),
    "ones": (b"\xff" * 1000, "a number has no end"),
    "no graph": (encode(Model(8, [Opset(version=17)])), "it has no graph or no version"),
    "no version": (encode(Model(8, graph=Graph([CELL]))), "it has no graph or no version"),
    "an old version": (file_of([CELL], weights(), 6), "operators of at least 7, got 6"),
    "the wrong wire type": (b"\x3a\x02\x08\x07", "field 'node' of a Graph has wire type 0"),
    "terabytes": (
        file_of([CELL], changed(dims=[2**40, 12, 3])),
        "tensor 'W' of shape .* needs 158329674399744 bytes, got 144",
    ),
    "sizes beyond any": (file_of([CELL], changed(dims=[2**62] * 8)), "tensor 'W' of shape"),
    "a size below 0": (file_of([CELL], changed(dims=[-1, 12, 3])), "must have at most 32 sizes"),
    "40 axes": (file_of([CELL], changed(dims=[1] * 40)), "must have at most 32 sizes"),
    "no such type": (file_of([CELL], changed(data_type=99)), "has the data type 99"),
    "text as numbers": (file_of([CELL], changed(data_type=8)), "has the data type 8"),
    "another type": (file_of([CELL], changed(data_type=11)), "needs 288 bytes, got 144"),
    "few varints": (
        file_of([CELL], changed(raw_data=None, data_type=10, int32_data=[b"\x01\x02"])),
        "tensor 'W' of shape .* holds at most 2 numbers",
    ),
    "too large varints": (
        file_of([CELL], changed(raw_data=None, data_type=10, int32_data=[b"\xff\xff\x7f" * 36])),
        "tensor 'W' holds a number that is no float16",
    ),
    "segments": (file_of([CELL], changed(segment=b"\x08\x00")), "is given in segments"),
    "graphs inside graphs": (file_of(nested(32), weights()), "nested deeper than 30"),
    "messages inside messages": (file_of(nested(60), weights()), "nested deeper than 100"),
    "a long chain": (file_of(chained(5000), weights()), "more than 100 operators"),
    "a cycle": (
        file_of(
            [Node(["V"], ["W"], "", "Identity"), Node(["W"], ["V"], "", "Identity"), CELL],
            weights()[1:],
        ),
        "or of a cycle",
    ),
    "a node that reads itself": (
        file_of([Node(["W"], ["W"], "", "Identity"), CELL], weights()[1:]),
        "or of a cycle",
    ),
    "a name twice": (file_of([CELL], [*weights(), *weights()]), "the name 'W' is given twice"),
    "an attribute twice": (
        file_of([Node(CELL.input, ["Y"], "cell", "GRU", [AXIS, AXIS])], weights()),
        "attribute 'axis' occurs twice",
    ),
    "an attribute of no type": (
        file_of([Node(CELL.input, ["Y"], "cell", "GRU", [Attribute("layout", i=1)])], weights()),
        "attribute 'layout' has the type 0",
    ),
    "a function's attribute": (
        file_of(
            [
                Node(
                    CELL.input,
                    ["Y"],
                    "cell",
                    "GRU",
                    [Attribute("layout", type=2, ref_attr_name="a")],
                )
            ],
            weights(),
        ),
        "refers to a function's attribute",
    ),
    "constants that double": (
        file_of(
            [*DOUBLED, Node(["X", "d40", "R", "B"], ["Y"], "cell", "GRU")],
            [*weights()[1:], numbers("d0", np.ones((64, 12, 3), np.float32))],
        ),
        "Concat node 'd.*: cannot be computed .* more memory than the file has bytes",
    ),
    "a shape that does not fit": (
        file_of(
            [Node(["V", "shape"], ["W"], "", "Reshape"), CELL],
            [
                *weights()[1:],
                numbers("V", np.ones(7, np.float32)),
                numbers("shape", np.array([2**62, 2])),
            ],
        ),
        "Reshape node 'W': cannot be computed from constants",
    ),
    "inputs that are missing": (
        file_of([Node([], ["W"], "", "Transpose"), CELL], weights()[1:]),
        "Transpose node 'W': cannot be computed from constants",
    ),
    "too many inputs": (
        file_of([Node([*CELL.input] * 50, ["Y"], "cell", "GRU")], weights()),
        "GRU node 'cell' must have at most 6 inputs, got 200",
    ),
    "no units": (
        file_of([CELL], [*weights()[:1], numbers("R", np.ones((1, 0, 0), np.float32))]),
        "GRU node 'cell'",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile(name: str, tmp_path: Path) -> None:
    data, message = HOSTILE[name]
    path = tmp_path / "hostile.onnx"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=f"^{re.escape(str(path))}: .*{message}"):
        load_onnx_node(path)
    assert all(told(path))


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("../secret.bin", "it must lie in the model's folder or below"),
        ("/etc/passwd", "it must lie in the model's folder or below"),
        ("link.bin", "it must lie in the model's folder or below"),
        ("", "it must lie in the model's folder or below"),
        ("missing.bin", "cannot be used: .*No such file"),
        (".", "cannot be used: "),
        ("a\0b", "cannot be used: "),
        ("short.bin", "ends at byte 144 of 'short.bin', which has 10"),
    ],
)
def test_external_data_elsewhere(location: str, message: str, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "secret.bin").write_bytes(bytes(144))
    (folder / "link.bin").symlink_to(tmp_path / "secret.bin")
    (folder / "short.bin").write_bytes(bytes(10))
    places = [Entry("location", location), Entry("length", "144")]
    tensors = changed(raw_data=None, data_location=1, external_data=places)
    path = folder / "hostile.onnx"
    path.write_bytes(file_of([CELL], tensors))
    with pytest.raises(ValueError, match=f"^{re.escape(str(path))}: tensor 'W' .*{message}"):
        load_onnx_node(path)


@pytest.mark.parametrize("text", ["-1", "1e3", "\u0661", "9" * 30, ""])
def test_external_data_at_no_place(text: str, tmp_path: Path) -> None:
    (tmp_path / "data.bin").write_bytes(bytes(144))
    places = [Entry("location", "data.bin"), Entry("offset", text)]
    path = tmp_path / "hostile.onnx"
    path.write_bytes(file_of([CELL], changed(raw_data=None, data_location=1, external_data=places)))
    with pytest.raises(
        ValueError, match=r"has external data of offset .*, which is no number of bytes"
    ):
        load_onnx_node(path)


def test_no_file_and_no_regular_file(tmp_path: Path) -> None:
    for load in LOADERS:
        with pytest.raises(FileNotFoundError):
            load(tmp_path / "missing.onnx")
        with pytest.raises(OSError, match="directory"):
            load(tmp_path)
        with pytest.raises(TypeError, match="path must be a string or a path, got 3"):
            load(3)  # type: ignore[arg-type]


def peak(run: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        run()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_reading_takes_no_copy_of_the_file(tmp_path: Path) -> None:
    """Weights are views of the mapped file until the layer has them, gate by gate."""
    path = tmp_path / "large.onnx"
    path.write_bytes(to_onnx(gru.Sequential([gru.GRU(400, 300, seed=0), gru.Linear(300, 2000)])))
    assert peak(lambda: load_onnx(path)) < 2 * path.stat().st_size


@pytest.mark.parametrize("piece", [b"\x0a\x00", b"\x2a\x00", b"\x0a\x04\x22\x02\x2a\x00"])
def test_many_small_messages_take_little_memory(piece: bytes, tmp_path: Path) -> None:
    """A graph of ten million empty nodes would become gigabytes of objects."""
    graph = piece * (2_000_000 // len(piece))
    path = tmp_path / "many.onnx"
    length = bytearray()
    left = len(graph)
    while left > 127:
        length.append(left & 127 | 128)
        left >>= 7
    path.write_bytes(b"\x08\x08\x3a" + bytes([*length, left]) + graph)
    with pytest.raises(ValueError, match="would take more than 5242880 bytes of memory"):
        load_onnx_node(path)


PERM = Attribute("perm", ints=[1] * 50_000, type=7)
LONGER = Attribute("perm", ints=[1] * 100_000, type=7)
RESHAPED = [Node(["V", "shape"], ["W"], "", "Reshape"), CELL]
V = numbers("V", np.ones(7, np.float32))
MANY = {
    "a packed shape": (
        RESHAPED,
        [Tensor([2_000_000], 7, name="shape", int64_data=[b"\x01" * 2_000_000])],
        "tensor 'shape' holds 2000000 packed integers",
    ),
    "a shape": (
        RESHAPED,
        [numbers("shape", np.ones(200_000, np.int64))],
        "Reshape node 'W': .*needs a few constant integers, got 200000",
    ),
    "an attribute": (
        [Node(["V"], ["W"], "", "Transpose", [PERM]), CELL],
        [],
        "Transpose node 'W': attribute 'perm' has 50000 values",
    ),
    "a longer attribute": (
        [Node(["V"], ["W"], "", "Transpose", [LONGER]), CELL],
        [],
        "what it describes would take more than",
    ),
    "a name": ([Node(CELL.input, ["Y"], "c" * 4000, "LSTM")], [], r"LSTM node 'ccc.* \.\.\. "),
    "a longer name": (
        [Node(CELL.input, ["Y"], "c" * 10**6, "LSTM")],
        [],
        "a name has 1000000 bytes, allowed are 4096",
    ),
}


@pytest.mark.parametrize("name", MANY)
def test_many_numbers_take_little_memory_and_a_short_message(name: str, tmp_path: Path) -> None:
    nodes, tensors, message = MANY[name]
    others = weights() if "name" in name else [V, *weights()[1:]]
    path = tmp_path / "many.onnx"
    path.write_bytes(file_of(nodes, [*others, *tensors]))

    def load() -> None:
        with pytest.raises(ValueError, match=message) as caught:
            load_onnx_node(path)
        assert len(str(caught.value)) < 1200

    assert peak(load) < 16_000_000


def packed_halves(bits: np.ndarray) -> bytes:  # type: ignore[type-arg]
    """int32_data of 16-bit numbers, each as a varint of three bytes."""
    parts = np.stack([bits & 127 | 128, bits >> 7 & 127 | 128, bits >> 14], -1)
    return bytes(parts.astype(np.uint8).tobytes())


def test_packed_halves_take_little_memory(tmp_path: Path) -> None:
    """400,000 numbers beyond one block of decoding, each as onnx's rules give it."""
    values = np.random.default_rng(0).normal(size=(1, 12, 33_333)).astype(np.float16)
    data = packed_halves(values.view(np.uint16))
    tensor = Tensor([*values.shape], 10, name="W", int32_data=[data])
    path = tmp_path / "halves.onnx"
    path.write_bytes(file_of([CELL], [tensor, *weights()[1:]]))
    found = []
    assert peak(lambda: found.append(load_onnx_node(path))) < 8 * len(data)
    z, r, h = np.split(values[0].astype(np.float32), 3)
    w = found[0].parameters["weight_ih_l0"]
    np.testing.assert_array_equal(np.sort(w, axis=0), np.sort(np.concatenate([r, z, h]), axis=0))


def test_the_reader_agrees_with_the_onnx_package() -> None:
    onnx = pytest.importorskip("onnx")
    whole = content()
    theirs, ours = onnx.load_from_string(whole), decode(whole, Objects("m.onnx", len(whole)))
    assert ours.graph is not None
    for a, b in zip(theirs.graph.node, ours.graph.node, strict=True):
        assert (list(a.input), list(a.output), a.name, a.op_type) == (
            list(b.input),
            list(b.output),
            b.name,
            b.op_type,
        )
        for p, q in zip(a.attribute, b.attribute, strict=True):
            assert (p.name, p.type, p.i, p.f, bytes(p.s), list(p.ints)) == (
                q.name,
                q.type,
                q.i,
                q.f,
                bytes(q.s),
                list(q.ints),
            )
    for c, d in zip(theirs.graph.initializer, ours.graph.initializer, strict=True):
        assert (c.name, list(c.dims), c.raw_data) == (d.name, list(d.dims), bytes(d.raw_data))
    assert theirs.SerializeToString(deterministic=True) == encode(ours)
