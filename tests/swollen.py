"""Files of a few megabytes that would become a multiple of them in memory, one for each way in."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

SIZE = 4 << 20
HEADER = 950_000  # of JSON: more is refused by its length
WIDE = "\U0001f600"  # a letter that makes each one beside it take four bytes
LONG = WIDE + "\x7f" * HEADER  # each of which is four letters in a message
COMMITTED = Path(__file__).parent / "data" / "convert"


# --- protobuf ---------------------------------------------------------------------------------


def field(number: int, content: bytes) -> bytes:
    """A field of bytes, which may be a message."""
    length, left = bytearray(), len(content)
    while left > 127:
        length.append(left & 127 | 128)
        left >>= 7
    return bytes([number << 3 | 2, *length, left]) + content


def onnx(graph: bytes) -> bytes:
    return b"\x08\x08" + field(8, b"\x10\x0e") + field(7, graph)


def often(piece: bytes) -> bytes:
    return piece * (SIZE // len(piece))


def chain(count: int) -> bytes:
    """Nodes that read each other's output."""
    nodes = (
        field(1, b"%x" % i) + field(2, b"%x" % (i + 1)) + field(4, b"Relu") for i in range(count)
    )
    return b"".join(field(1, node) for node in nodes)


def tensors(count: int) -> bytes:
    return b"".join(field(5, field(8, b"%x" % i)) for i in range(count))


def recurrent(attribute: bytes) -> bytes:
    node = field(1, b"x") + field(2, b"y") + field(4, b"GRU")
    return field(1, node + field(5, attribute + b"\xa0\x01\x03")) + inout()


def inout() -> bytes:
    kind = field(2, field(1, b"\x08\x01" + field(2, field(1, b"") * 3)))
    return field(11, field(1, b"x") + kind) + field(12, field(1, b"y") + kind)


def bfloat16_of_itself() -> bytes:
    """Forty tensors whose numbers lie in this file, which is given as their external data."""
    entries = b"".join(
        field(13, field(1, key) + field(2, value))
        for key, value in ((b"location", b"./bfloat16 of itself.onnx"), (b"length", b"500000"))
    )
    sizes = b"\x08\x90\xa1\x0f\x10\x10"  # 250,000 of them
    made = (field(5, sizes + field(8, b"w%d" % i) + entries + b"\x70\x01") for i in range(40))
    node = field(1, b"x") + b"".join(field(1, b"w%d" % i) for i in range(40))
    concat = field(1, node + field(2, b"y") + field(4, b"Concat"))
    return b"".join(made) + concat + inout() + field(15, bytes(500_000))


ONNX: dict[str, Callable[[], bytes]] = {
    "empty nodes": lambda: often(field(1, b"")),
    "empty initializers": lambda: often(field(5, b"")),
    "empty inputs": lambda: often(field(11, b"")),
    "nodes of one input": lambda: often(field(1, field(1, b"a"))),
    "nodes of an empty attribute": lambda: often(field(1, field(5, b""))),
    "a node of empty attributes": lambda: field(1, often(field(5, b""))),
    "a node of empty inputs": lambda: field(1, often(field(1, b""))),
    "graphs in a node": lambda: field(1, field(5, often(field(11, b"")))),
    "tensors in a node": lambda: field(1, field(5, often(field(5, b"")))),
    "a tensor of sizes": lambda: field(5, often(b"\x08\x7f")),
    "a tensor of packed sizes": lambda: field(5, field(1, b"\x7f" * SIZE)),
    "a tensor of blocks": lambda: field(5, often(field(4, b""))),
    "packed floats": lambda: field(1, field(5, field(7, bytes(SIZE)))),
    "texts": lambda: field(1, field(5, often(field(9, b"")))),
    "wide letters": lambda: field(1, often(field(1, "a\U0001f600".encode()))),
    "unknown fields": lambda: often(b"\x78\x00"),
    "chain": lambda: chain(SIZE // 20),
    "chain within its limit": lambda: chain(4500) + field(15, bytes(SIZE - 100_000)),
    "tensors with names": lambda: tensors(SIZE // 9),
    "tensors within their limit": lambda: tensors(5500) + field(15, bytes(SIZE - 60_000)),
    "a long name": lambda: field(1, field(3, LONG.encode())),
    "a long text": lambda: recurrent(field(1, b"direction") + field(4, LONG.encode())),
    "empty graphs": lambda: field(1, field(5, field(11, b"") * 20_000)),
    "bfloat16 of itself": bfloat16_of_itself,
}


# --- HDF5 -------------------------------------------------------------------------------------


class Hdf5:
    """Writes superblock 0, version 1 headers and symbol tables."""

    def __init__(self) -> None:
        self.data = bytearray(96)

    def put(self, content: bytes) -> int:
        at = len(self.data)
        self.data += content + bytes(-len(content) % 8)
        return at

    def header(self, *messages: tuple[int, bytes]) -> int:
        body = b"".join(
            struct.pack("<HHB3x", kind, len(content), 0) + content for kind, content in messages
        )
        return self.put(struct.pack("<BxHII4x", 1, len(messages), 1, len(body)) + body)

    def table(self, children: list[tuple[bytes, int]]) -> tuple[int, bytes]:
        names, entries = bytearray(8), b""
        parts = []
        for name, address in children:
            parts.append(struct.pack("<QQ24x", len(names), address))
            names += name + b"\0"
        entries = b"".join(parts)
        heap = self.put(struct.pack("<4s4x3Q", b"HEAP", len(names), 0, len(self.data) + 32) + names)
        leaf = self.put(struct.pack("<4sBxH", b"SNOD", 1, len(children)) + entries)
        tree = self.put(
            struct.pack("<4sBBH2QQQQ", b"TREE", 0, 0, 1, 2**64 - 1, 2**64 - 1, 0, leaf, 8)
        )
        return 0x11, struct.pack("<2Q", tree, heap)

    def group(self, children: list[tuple[bytes, int]]) -> int:
        return self.header(self.table(children))

    def file(self, root: int) -> bytes:
        head = b"\x89HDF\r\n\x1a\n" + bytes(5) + b"\x08\x08" + bytes(9)
        addresses = struct.pack("<4Q", 0, 2**64 - 1, len(self.data), 2**64 - 1)
        self.data[:96] = head + addresses + struct.pack("<QQ24x", 0, root)
        return bytes(self.data)


def deep_groups() -> bytes:
    file = Hdf5()
    below = file.header((1, b"\1\0\0\0\0\0\0\0"))
    while len(file.data) < SIZE - 2000:
        below = file.group([(b"n" * 1000, below)])
    return file.file(file.group([(b"layers", below)]))


def wide_groups(digits: int, end: bytes = b"") -> bytes:
    """Groups of a thousand groups with nothing in them, or fewer if their names are long."""
    file = Hdf5()
    groups: list[tuple[bytes, int]] = []
    each = 10_000 // digits
    while len(file.data) < SIZE - each * (digits + 70):
        names = (b"%0*x%s" % (digits, len(groups) * each + i, end) for i in range(each))
        inside = [(name, file.header((1, b""))) for name in names]
        groups.append((b"layer_%d" % len(groups), file.group(inside)))
    return file.file(file.group([(b"layers", file.group(groups))]))


def many_messages() -> bytes:
    file = Hdf5()
    groups = []
    while len(file.data) < SIZE - 300_000:
        groups.append((b"g%d" % len(groups), file.header(*[(1, b"")] * 30_000)))
    return file.file(file.group([(b"layers", file.group(groups))]))


def many_attributes() -> bytes:
    file = Hdf5()
    groups = []
    while len(file.data) < SIZE - 100_000:
        messages = [
            (12, struct.pack("<BB3H", 3, 0, 4, 0, 0) + b"\0" + b"%04x" % i + b"\0\0\0")
            for i in range(1000)
        ]
        table = file.table([(b"vars", file.group([]))])
        groups.append((b"gru%d" % len(groups), file.header(table, *messages)))
    return file.file(file.group([(b"layers", file.group(groups))]))


def one_leaf_often() -> bytes:
    """Ten thousand entries of one name, where a tree leads to them a hundred times."""
    file = Hdf5()
    names = bytes(8) + b"a" * 1000 + WIDE.encode() + b"\0"
    head = struct.pack("<4s4x3Q", b"HEAP", len(names), 0, len(file.data) + 32)
    heap, group = file.put(head + names), file.header((1, b""))
    entries = struct.pack("<QQ24x", 8, group) * 10_000
    leaf = file.put(struct.pack("<4sBxH", b"SNOD", 1, 10_000) + entries)
    node = struct.pack("<4sBBH2Q", b"TREE", 0, 0, 100, 2**64 - 1, 2**64 - 1)
    tree = file.put(node + struct.pack("<QQ", 0, leaf) * 100)
    return file.file(file.header((0x11, struct.pack("<2Q", tree, heap))))


def text_attribute(name: bytes, texts: list[bytes]) -> tuple[int, bytes]:
    size = max(map(len, texts))
    head = struct.pack("<BB3H", 3, 0, len(name) + 1, 8, 16) + b"\0" + name + b"\0"
    kind = struct.pack("<BBHI", 0x13, 0, 0, size) + struct.pack("<4B4xQ", 1, 1, 0, 0, len(texts))
    return 12, head + kind + b"".join(text.ljust(size, b"\0") for text in texts)


def listed_arrays(same: bool) -> bytes:
    """A nested model of many layers, each of which looks through one long list of arrays."""
    layers = b",".join([b'{"class_name":"GRU","config":{}}'] * 1500)
    inner = b'{"class_name":"Sequential","config":{"name":"m","layers":[%s]}}' % layers
    config = b'{"class_name":"Sequential","config":{"layers":[%s]}}' % inner
    file = Hdf5()
    names = [b"a/%x" % (0 if same else i) for i in range(3000)]
    arrays = [(name[2:], file.header((1, b""))) for name in sorted(set(names))]
    group = file.header(
        file.table([(b"a", file.group(arrays))]), text_attribute(b"weight_names", names)
    )
    weights = file.group([(b"m", group)])
    table = file.table([(b"model_weights", weights)])
    return file.file(file.header(table, text_attribute(b"model_config", [config])))


HDF5: dict[str, Callable[[], bytes]] = {
    "deep groups": deep_groups,
    "many groups": lambda: wide_groups(5),
    "groups with long names": lambda: wide_groups(900),
    "groups with wide names": lambda: wide_groups(900, WIDE.encode()),
    "one leaf often": one_leaf_often,
    "arrays listed twice": lambda: listed_arrays(True),
    "arrays listed": lambda: listed_arrays(False),
    "messages": many_messages,
    "attributes": many_attributes,
}


# --- JSON -------------------------------------------------------------------------------------


def array(item: bytes) -> Callable[[], bytes]:
    return lambda: b"[%s]" % b",".join([item] * (HEADER // (len(item) + 1)))


JSON: dict[str, Callable[[], bytes]] = {
    "lists": array(b"[]"),
    "objects": array(b"{}"),
    "filled objects": array(b'{"a":0}'),
    "texts": array(b'"\xe2\x82\xac"'),
    "numbers": array(b"1e9"),
    "keys": lambda: b"{%s}" % b",".join(b'"%06x":0' % i for i in range(HEADER // 11)),
    "a wide text": lambda: f'"{LONG}"'.encode(),
    "an escaped wide text": lambda: f'"{LONG[1:]}\\ud83d\\ude00"'.encode(),
}


def safetensors(header: bytes) -> bytes:
    return struct.pack("<Q", len(header)) + header


def stored(entries: dict[str, bytes]) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return target.getvalue()


def keras(config: bytes) -> bytes:
    with zipfile.ZipFile(COMMITTED / "model.keras") as whole:
        entries = {name: whole.read(name) for name in whole.namelist()}
    return stored(entries | {"config.json": config})


# --- pickles ----------------------------------------------------------------------------------


def torch(program: bytes, others: dict[str, bytes] | None = None) -> bytes:
    return stored({"m/data.pkl": program, "m/version": b"3", **(others or {})})


def text(content: str) -> bytes:
    return b"X" + struct.pack("<I", len(content.encode())) + content.encode()


def long_storage() -> bytes:
    """A thousand tensors of one storage, whose name is long."""
    key = "\x7f" * 60_000
    program = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\nq\x000("
    program += text("storage") + b"ctorch\nFloatStorage\n" + text(key) + text("cpu")
    program += b"K\x01tQq\x010K\x01\x85q\x020(" + b"h\x00(h\x01K\x00h\x02h\x02tR" * 1000 + b"t."
    return torch(program, {f"m/data/{key}": b"\0\0\0\1"})


def long_keys(inside: bytes, times: int) -> bytes:
    """A list below a long name, of parts that would each repeat it."""
    start = b"\x80\x02]q\x000}" + text("a" * 4080 + WIDE) + b"]("
    return start + inside * times + b"es."


PICKLES: dict[str, Callable[[], bytes]] = {
    "lists": lambda: b"\x80\x02(" + b"]" * SIZE + b"t.",
    "dicts": lambda: b"\x80\x02(" + b"}" * SIZE + b"t.",
    "small numbers": lambda: b"\x80\x02(" + b"K\xff" * (SIZE // 2) + b"t.",
    "long numbers": lambda: (
        b"\x80\x02(" + (b"\x8b" + struct.pack("<I", 10**6) + b"\x7f" * 10**6) * 8 + b"t."
    ),
    "floats": lambda: b"\x80\x02(" + (b"G" + b"\x3f" * 8) * (SIZE // 9) + b"t.",
    "texts": lambda: b"\x80\x04(" + b"\x8c\x00" * (SIZE // 2) + b"t.",
    "memo": lambda: b"\x80\x04(" + b"]\x94" * (SIZE // 2) + b"t.",
    "tuples": lambda: b"\x80\x02(" + b"K\x01\x85" * (SIZE // 3) + b"t.",
    "a wide text": lambda: b"\x80\x02" + text(LONG) + b".",
    "a very wide text": lambda: b"\x80\x02" + text(LONG * 4) + b".",
    "a long line": lambda: b"\x80\x02c" + b"a" * SIZE,
    "one list often": lambda: long_keys(b"h\x00", 8000),
    "lists below a long name": lambda: long_keys(b"]", 8000),
}


def of(wrap: Callable[[bytes], bytes], inside: Callable[[], bytes]) -> Callable[[], bytes]:
    """What makes the content of a file around what makes its inside."""
    return lambda: wrap(inside())


def own(header: bytes) -> bytes:
    return safetensors(b'{"__metadata__":{"format":"gru"},"w":%s}' % header)


def files() -> Iterator[tuple[str, Callable[[], bytes]]]:
    """Names, whose suffix says the kind, and what makes the content."""
    for name, graph in ONNX.items():
        yield f"{name}.onnx", of(onnx, graph)
    for name, made in HDF5.items():
        yield f"{name}.h5" if "listed" in name else f"{name}.weights.h5", made
    for name, value in JSON.items():
        yield f"{name}.safetensors", of(lambda text: safetensors(b'{"w":%s}' % text), value)
        yield f"{name}.keras", of(lambda text: keras(b'{"config":%s}' % text), value)
        yield f"{name}, gru's own.safetensors", of(own, value)
    yield "a long name.safetensors", lambda: safetensors(b'{"%s":1}' % LONG.encode())
    for name, program in PICKLES.items():
        yield f"{name}.pt", of(torch, program)
    yield "a long storage.pt", long_storage
    yield "members.pt", lambda: torch(b"\x80\x02}.", {f"m/data/{i}": b"" for i in range(15_000)})
