"""Files of a few megabytes that would become a multiple of them in memory, one for each way in.

``python swollen.py FOLDER`` writes them there, opens each in a process of its own and prints, as
JSON, what became of it, its size and by how much the memory of that process grew at most, beyond
what opening a file of a few bytes takes.
"""

from __future__ import annotations

import io
import json
import os
import struct
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

from hostile import opens, reader_of

SIZE = 4 << 20
COMMITTED = Path(__file__).parent / "data" / "convert"
# A whole file of each kind, opened beforehand: what its reader itself takes.
WHOLE = (
    "torch.pt",
    "torch.safetensors",
    "gru.safetensors",
    "model.keras",
    "model.weights.h5",
    "model.onnx",
)


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


ONNX = {
    "empty nodes": often(field(1, b"")),
    "empty initializers": often(field(5, b"")),
    "empty inputs": often(field(11, b"")),
    "nodes of one input": often(field(1, field(1, b"a"))),
    "nodes of an empty attribute": often(field(1, field(5, b""))),
    "a node of empty attributes": field(1, often(field(5, b""))),
    "a node of empty inputs": field(1, often(field(1, b""))),
    "graphs in a node": field(1, field(5, often(field(11, b"")))),
    "tensors in a node": field(1, field(5, often(field(5, b"")))),
    "a tensor of sizes": field(5, often(b"\x08\x7f")),
    "a tensor of packed sizes": field(5, field(1, b"\x7f" * SIZE)),
    "a tensor of blocks": field(5, often(field(4, b""))),
    "packed floats": field(1, field(5, field(7, bytes(SIZE)))),
    "texts": field(1, field(5, often(field(9, b"")))),
    "wide letters": field(1, often(field(1, "a\U0001f600".encode()))),
    "unknown fields": often(b"\x78\x00"),
    "chain": chain(SIZE // 20),
    "chain within its limit": chain(4500) + field(15, bytes(SIZE - 100_000)),
    "tensors with names": tensors(SIZE // 9),
    "tensors within their limit": tensors(5500) + field(15, bytes(SIZE - 60_000)),
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


def wide_groups(digits: int) -> bytes:
    """Groups of a thousand groups with nothing in them, or fewer if their names are long."""
    file = Hdf5()
    groups: list[tuple[bytes, int]] = []
    each = 10_000 // digits
    while len(file.data) < SIZE - each * (digits + 70):
        names = (b"%0*x" % (digits, len(groups) * each + i) for i in range(each))
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


HDF5: dict[str, Callable[[], bytes]] = {
    "deep groups": deep_groups,
    "many groups": lambda: wide_groups(5),
    "groups with long names": lambda: wide_groups(900),
    "messages": many_messages,
    "attributes": many_attributes,
}


# --- JSON -------------------------------------------------------------------------------------

JSON = {
    "lists": b"[%s]" % b",".join([b"[]"] * (SIZE // 3)),
    "objects": b"[%s]" % b",".join([b"{}"] * (SIZE // 3)),
    "filled objects": b"[%s]" % b",".join([b'{"a":0}'] * (SIZE // 8)),
    "keys": b"{%s}" % b",".join(b'"%x":0' % i for i in range(SIZE // 10)),
    "texts": b"[%s]" % b",".join([b'"\xe2\x82\xac"'] * (SIZE // 6)),
    "numbers": b"[%s]" % b",".join([b"1e9"] * (SIZE // 4)),
    "a wide text": '["{}\U0001f600"]'.format("a" * SIZE).encode(),
}


def cut(text: bytes, size: int) -> bytes:
    """Less of the same: elements are left out in the middle."""
    if len(text) <= size:
        return text
    end = text.rindex(b",", 0, size - 10) if b"," in text[: size - 10] else size - 8
    return text[:end] + (text[-1:] if b"," in text[: size - 10] else b'"]')


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

PICKLES = {
    "lists": b"\x80\x02(" + b"]" * SIZE + b"t.",
    "dicts": b"\x80\x02(" + b"}" * SIZE + b"t.",
    "numbers": b"\x80\x02(" + b"K\xff" * (SIZE // 2) + b"t.",
    "floats": b"\x80\x02(" + (b"G" + b"\x3f" * 8) * (SIZE // 9) + b"t.",
    "texts": b"\x80\x04(" + b"\x8c\x00" * (SIZE // 2) + b"t.",
    "memo": b"\x80\x04(" + b"]\x94" * (SIZE // 2) + b"t.",
    "tuples": b"\x80\x02(" + b"K\x01\x85" * (SIZE // 3) + b"t.",
    "wide text": b"\x80\x02X"
    + struct.pack("<I", SIZE)
    + b"a" * (SIZE - 4)
    + "\U0001f600".encode()
    + b".",
}


def files() -> Iterator[tuple[str, bytes]]:
    """Names, whose suffix says the kind, and contents."""
    for name, graph in ONNX.items():
        yield f"{name}.onnx", onnx(graph[:SIZE] if len(graph) > 2 * SIZE else graph)
    for name, made in HDF5.items():
        yield f"{name}.weights.h5", made()
    for name, text in JSON.items():
        for size, called in ((SIZE, "4 MB"), (1 << 20, "1 MB"), (1 << 18, "256 KB")):
            header = cut(text, size - 1000)
            yield f"{name} {called}.safetensors", safetensors(b'{"w":%s}' % header)
            yield f"{name} {called}.keras", keras(b'{"config":%s}' % header)
            gru_notes = b'{"__metadata__":{"format":"gru"},"w":%s}' % header
            yield f"{name} {called}, gru's own.safetensors", safetensors(gru_notes)
    for name, program in PICKLES.items():
        yield f"{name}.pt", stored({"m/data.pkl": program, "m/version": b"3"})
    members = {f"m/data/{i}": b"" for i in range(SIZE // 110)}
    yield "members.pt", stored({"m/data.pkl": b"\x80\x02}.", **members})


def grown(folder: Path, name: str, content: bytes) -> tuple[str, int]:
    """What became of a file, and by how much memory grew, in a child that begins as we are."""
    path = folder / name
    path.write_bytes(content)
    del content
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        Path("/proc/self/clear_refs").write_text("5")  # the most that was resident, from now on
        before = peak()
        found = opens(path, reader_of(path))
        os.write(writer, json.dumps([found, peak() - before]).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answers:
        text = answers.read()
    os.waitpid(child, 0)
    path.unlink()
    what, most = json.loads(text) if text else ("died", 0)
    return what, most


def peak() -> int:
    """The most bytes that were resident."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def main() -> None:
    """Open them all."""
    folder = Path(sys.argv[1])
    for name in WHOLE:
        opens(COMMITTED / name, reader_of(COMMITTED / name))
    nothing = grown(folder, "nothing.onnx", b"nothing")[1]
    found = {}
    for name, content in files():
        what, most = grown(folder, name, content)
        found[name] = [what, len(content), max(most - nothing, 0)]
    print(json.dumps(found))


if __name__ == "__main__":
    main()
