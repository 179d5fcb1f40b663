"""Reads the arrays of a .pt file without running its pickle; knows no meaning of names.

``torch.save`` writes a zip file: a pickle of the object, in which each array stands as a call of
``torch._utils._rebuild_tensor_v2`` on a storage, and the storages' bytes as members of their own.
A pickle is a program, and Python's ``pickle`` would run it. Here the program is read opcode by
opcode with ``pickletools``, which only decodes, by an interpreter that can make numbers, strings,
plain containers and descriptions of arrays, and has no way to call anything.
"""

from __future__ import annotations

import io
import os
import pickletools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from gru.convert.archive import Member, members
from gru.convert.damage import DamagedFileError, UnsupportedError, quoted, taking
from gru.convert.regions import KINDS, LONGEST_NAME, Region, Source, header_limit

__all__ = ["read"]

STORAGES = {
    "torch.HalfStorage": "F16",
    "torch.BFloat16Storage": "BF16",
    "torch.FloatStorage": "F32",
    "torch.DoubleStorage": "F64",
    "torch.BoolStorage": "BOOL",
    "torch.ByteStorage": "U8",
    "torch.CharStorage": "I8",
    "torch.ShortStorage": "I16",
    "torch.IntStorage": "I32",
    "torch.LongStorage": "I64",
    "torch.ComplexFloatStorage": "C64",
    "torch.ComplexDoubleStorage": "C128",
}
DTYPES = """float16 bfloat16 float32 float64 half float double bool uint8 int8 int16 short int32 int
int64 long complex64 complex128""".split()  # noqa: SIM905
CALLS = {
    "collections.OrderedDict",
    "torch._utils._rebuild_tensor_v2",
    "torch._utils._rebuild_parameter",
    "torch.Size",
    "torch.device",
}
NAMES = CALLS | STORAGES.keys() | {f"torch.{name}" for name in DTYPES}
SAVE = "save the numbers alone: torch.save(model.state_dict(), path)"
MOST_AXES = 32  # NumPy's own limit before 2.0
# What an opcode's object and its places on the stack and in the memo may take in memory.
OBJECT = 100
PIECE = 1 << 16  # bytes of a pickle that are read at a time
DESCRIPTION = 500  # an array's, or a new dict


class Name(NamedTuple):
    """A global name: it stands for itself."""

    text: str


class Storage(NamedTuple):
    """The bytes of one or more arrays."""

    kind: str
    member: Member
    name: str


class Mark(NamedTuple):
    """Where a list of arguments begins."""


def read(path: str | bytes | os.PathLike[Any]) -> Any:
    r"""Return what a .pt file holds, with each tensor as an array that is read when it is used.

    Parameters
    ----------
    path : str or path
        Written by ``torch.save`` in the zip format, the default since PyTorch 1.6.

    Returns
    -------
    object
        As it was saved: dicts, lists, tuples, numbers, strings, and a
        :class:`gru.convert.regions.Region` for each tensor.

    Raises
    ------
    ValueError
        If the file is damaged, is in the format from before PyTorch 1.6, or its pickle names
        anything that is not needed to rebuild tensors and dicts.
    OSError
        If it cannot be read.

    Examples
    --------
    >>> import tempfile, zipfile
    >>> with tempfile.NamedTemporaryFile(suffix=".pt") as file:
    ...     with zipfile.ZipFile(file, "w") as archive:
    ...         archive.writestr("m/data.pkl", b"cos\nsystem\n(X\x04\0\0\0exittR.")
    ...     file.flush()
    ...     read(file.name)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    gru.convert.damage.UnsupportedError: /...pt: its pickle asks for os.system; nothing was run...
    """
    source = Source(path)
    found = members(source)
    tops = [name for name in found if name.count("/") == 1 and name.endswith("/data.pkl")]
    if len(tops) != 1:
        what = f"no file of torch.save: {len(tops)} members are a top folder's data.pkl"
        raise DamagedFileError(source.path, what)
    archive = Archive(source, found, tops[0].removesuffix("data.pkl"))
    with taking(source.path, ValueError, LookupError, TypeError, AttributeError, OverflowError):
        return Reader(archive).run(Program(source, archive.checked("data.pkl")))


class Archive:
    """The members of one file below its top folder."""

    def __init__(self, source: Source, found: dict[str, Member], top: str) -> None:
        self.source, self._members, self._top = source, found, top
        order = self.content("byteorder") if top + "byteorder" in found else b"little"
        if order not in (b"little", b"big"):
            raise DamagedFileError(source.path, f"byteorder is {order[:20]!r}")
        self.big = order == b"big"

    def member(self, name: str) -> Member:
        """Return one member, or say that it is missing."""
        if self._top + name not in self._members:
            raise DamagedFileError(self.source.path, f"member {quoted(name)} is missing")
        return self._members[self._top + name]

    def checked(self, name: str) -> Member:
        """Return a member whose sum is right."""
        member = self.member(name)
        if member.crc:
            what = f"member {quoted(name)}"
            self.source.verify(member.start, member.size, member.crc, what)
        return member

    def content(self, name: str) -> bytes:
        """Return the bytes of a small member."""
        member = self.checked(name)
        if member.size > PIECE:
            raise DamagedFileError(self.source.path, f"member {quoted(name)} is too long")
        return self.source.read(member.start, member.size).tobytes()

    def refused(self, what: str) -> UnsupportedError:
        """Return the error for what is not read."""
        return UnsupportedError(self.source.path, what)

    def region(self, storage: Storage, offset: int, shape: Any, strides: Any) -> Region:
        """Return an array that lies in a storage, or say that it does not."""
        sizes = (offset, *shape, *strides)
        if not all(type(n) is int and 0 <= n < 2**63 for n in sizes):
            raise ValueError("a tensor's shape, strides and offset must be numbers of at least 0")
        if len(shape) != len(strides) or len(shape) > MOST_AXES:
            raise ValueError(f"a tensor has {len(shape)} sizes and {len(strides)} strides")
        kind, member, name = storage
        width = np.dtype(KINDS[kind]).itemsize
        steps = (step * (n - 1) for n, step in zip(shape, strides, strict=True))
        last = offset if 0 in shape else offset + sum(steps) + 1
        if last * width > member.size:
            raise ValueError(
                f"a tensor of shape {tuple(shape)} reaches beyond storage {quoted(name)}"
            )
        sealed = (member.start, member.size, member.crc, f"storage {quoted(name)}")
        return Region(
            self.source,
            kind,
            member.start + offset * width,
            shape,
            strides,
            big=self.big,
            sealed=sealed if member.crc else None,  # 0 is what torch writes if told to skip it
        )


class Bytes(io.RawIOBase):
    """A member's bytes, read from the file as they are asked for."""

    def __init__(self, source: Source, member: Member) -> None:
        super().__init__()
        self._source, self._start, self._at = source, member.start, member.start
        self._end = member.start + member.size

    def seekable(self) -> bool:
        """Say that a place can be told."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Go to a place, and tell it."""
        begin = {io.SEEK_SET: self._start, io.SEEK_CUR: self._at, io.SEEK_END: self._end}[whence]
        self._at = min(max(begin + offset, self._start), self._end)
        return self._at - self._start

    def readable(self) -> bool:
        """Say that they can be read."""
        return True

    def readinto(self, into: Any) -> int:
        """Read the next ones."""
        count = min(len(into), self._end - self._at)
        into[:count] = self._source.read(self._at, count).data
        self._at += count
        return count


class Program(io.BufferedReader):
    """A pickle's bytes, of which no text is read that is longer than a model's."""

    def __init__(self, source: Source, member: Member) -> None:
        super().__init__(Bytes(source, member), PIECE)
        self._longest = header_limit(source.size)

    def read(self, size: int | None = -1, /) -> bytes:
        """Return the next bytes: a number, or a text."""
        if size is None or not 0 <= size <= self._longest:
            raise ValueError(f"a text of {size} bytes is longer than a model's")
        return super().read(size)

    def readline(self, size: int | None = -1, /) -> bytes:
        """Return the next line, as names are written, or the begin of one that is too long."""
        return super().readline(LONGEST_NAME)


class Reader:
    """An interpreter of the opcodes that plain data need.

    Parameters
    ----------
    archive : Archive
        For the storages that the pickle refers to.
    """

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}
        self._objects = archive.source.objects

    def run(self, program: Program) -> Any:
        """Return the object that the program makes."""
        for opcode, argument, _ in pickletools.genops(program):
            act = OPCODES.get(opcode.name)
            if act is None:
                raise self._archive.refused(f"its pickle holds opcode {opcode.name}; {SAVE}")
            self._objects.take(COSTS.get(opcode.name, OBJECT), f"; {SAVE}")
            if isinstance(argument, (str, bytes)) or opcode.name in LONG:
                self._objects.add(argument)
            act(self, argument)
        if len(self._stack) != 1:
            raise ValueError(f"the pickle leaves {len(self._stack)} objects")
        return self._stack[0]

    def push(self, value: Any) -> None:
        """Take one object."""
        self._stack.append(value)

    def pop(self) -> Any:
        """Give the last object back."""
        found = self._stack.pop()
        if isinstance(found, Mark):
            raise ValueError("a mark stands where an object is needed")
        return found

    def top(self, kind: type) -> Any:
        """Return the last object, which must be of one type."""
        found = self._stack[-1]
        if type(found) is not kind:
            raise ValueError(f"the pickle fills {type(found).__name__} like {kind.__name__}")
        return found

    def since_mark(self) -> list[Any]:
        """Give back all objects after the last mark."""
        found = []
        while type(self._stack[-1]) is not Mark:
            found.append(self._stack.pop())
        self._stack.pop()
        return found[::-1]

    def drop(self) -> None:
        """Forget the last object or mark."""
        self._stack.pop()

    def drop_to_mark(self) -> None:
        """Forget all objects after the last mark."""
        self.since_mark()

    def tuple(self, count: int) -> None:
        """Replace some objects by a tuple of them."""
        self.push(tuple([self.pop() for _ in range(count)][::-1]))

    def put(self, argument: int | None) -> None:
        """Remember the last object."""
        found = self.pop()
        self._memo[len(self._memo) if argument is None else argument] = found
        self.push(found)

    def get(self, argument: int) -> None:
        """Recall an object."""
        self.push(self._memo[argument])

    def fill(self, pairs: list[Any]) -> None:
        """Put keys and values, which alternate, in a dict."""
        into = self.top(dict)
        if len(pairs) % 2:
            raise ValueError("a dict has a key without a value")
        for key, value in zip(pairs[::2], pairs[1::2], strict=True):
            if not _simple(key) and not (type(key) is tuple and all(map(_simple, key))):
                raise ValueError(f"a dict has a key of {type(key).__name__}")
            if key in into:
                raise ValueError(f"key {str(key)[:80]!r} occurs twice in a dict")
            into[key] = value

    def extend(self, values: list[Any]) -> None:
        """Put values at the end of a list."""
        self.top(list).extend(values)

    def named(self, name: str) -> None:
        """Take a global name, if it is one of those that plain data need."""
        if name not in NAMES:
            what = f"its pickle asks for {name[:200]}; nothing was run. Tensors and dicts alone "
            raise self._archive.refused(f"{what}are read; {SAVE}")
        self.push(Name(name))

    def joined(self) -> None:
        """Take a global name whose parts are on the stack."""
        name, module = self.pop(), self.pop()
        if type(name) is not str or type(module) is not str:
            raise ValueError("a global's name is no string")
        self.named(f"{module}.{name}")

    def build(self) -> None:
        """Leave out attributes of a dict, such as the versions that a state_dict carries."""
        self.pop()
        self.top(dict)

    def persistent(self) -> None:
        """Take a storage: what torch.save writes beside the pickle."""
        about = self.pop()
        if type(about) is not tuple or len(about) != 5 or about[0] != "storage":
            raise ValueError("a reference is no storage")
        _, kind, key, _, count = about
        if type(kind) is not Name or kind.text not in STORAGES:
            found = kind.text if type(kind) is Name else type(kind).__name__
            raise self._archive.refused(f"a storage is of {found}, which gru cannot read")
        if type(key) is not str or type(count) is not int:
            raise ValueError("a reference is no storage")
        member = self._archive.member(f"data/{key}")
        code = STORAGES[kind.text]
        if count * np.dtype(KINDS[code]).itemsize != member.size:
            raise ValueError(f"storage {quoted(key)} has {member.size} bytes for {count} of {code}")
        self.push(Storage(code, member, key))

    def call(self) -> None:
        """Make what one of the few known calls makes, without calling it."""
        arguments, name = self.pop(), self.pop()
        if type(name) is not Name or name.text not in CALLS or type(arguments) is not tuple:
            found = name.text if type(name) is Name else f"an object of {type(name).__name__}"
            raise self._archive.refused(f"its pickle calls {found}; nothing was run; {SAVE}")
        self._objects.take(DESCRIPTION)
        self.push(self._made(name.text, arguments))

    def _made(self, name: str, arguments: Any) -> Any:
        if name == "collections.OrderedDict":
            self.push({})
            pairs = arguments[0] if arguments else []
            self._objects.take(OBJECT * len(pairs))
            self.fill([value for pair in pairs for value in _both(pair)])
            return self.pop()
        if name == "torch._utils._rebuild_tensor_v2":
            storage, offset, shape, strides = arguments[:4]
            if type(storage) is not Storage or type(shape) is not tuple:
                raise ValueError("a tensor has no storage or no shape")
            if any(arguments[6:]):  # of which PyTorch negates or conjugates what is stored
                what = "a tensor whose sign is yet to be turned; save it with .resolve_neg()"
                raise self._archive.refused(f"it holds {what}")
            return self._archive.region(storage, offset, shape, strides)
        wanted = {"torch.Size": tuple, "torch.device": str}.get(name, Region)
        if not arguments or type(arguments[0]) is not wanted:
            raise ValueError(f"{name} has wrong arguments")
        return arguments[0]


def _simple(key: Any) -> bool:
    """Say whether hashing a key is a small matter: a deep tuple's can end the process."""
    return key is None or type(key) in (str, bytes, int, float, bool, Name)


def _both(pair: Any) -> Any:
    if type(pair) not in (tuple, list) or len(pair) != 2:
        raise ValueError("an OrderedDict is made of something else than pairs")
    return pair


def _constant(value: Any) -> Callable[[Reader, Any], None]:
    return lambda reader, _: reader.push(value)


def _nothing(reader: Reader, argument: Any) -> None:
    """Do nothing, for opcodes that only help a reader of streams."""


# Opcodes whose object is none, or a small one: histories of losses have hundreds of thousands.
COSTS = {
    **dict.fromkeys(("PROTO", "FRAME", "STOP", "MARK", "NONE", "NEWTRUE", "NEWFALSE"), 32),
    **dict.fromkeys(("BININT1", "APPENDS", "SETITEMS", "APPEND", "SETITEM", "BINGET"), 32),
    **dict.fromkeys(("BININT", "BININT2", "BINFLOAT", "EMPTY_TUPLE"), 40),
}
LONG = ("LONG1", "LONG4")  # numbers of any length
PLAIN = """BININT BININT1 BININT2 LONG1 LONG4 BINFLOAT BINUNICODE SHORT_BINUNICODE BINUNICODE8
BINBYTES SHORT_BINBYTES BINBYTES8""".split()  # noqa: SIM905
OPCODES: dict[str, Callable[[Reader, Any], None]] = {
    **dict.fromkeys(("PROTO", "FRAME", "STOP"), _nothing),
    **dict.fromkeys(
        PLAIN,
        Reader.push,
    ),
    "NONE": _constant(None),
    "NEWTRUE": _constant(True),
    "NEWFALSE": _constant(False),
    "MARK": _constant(Mark()),
    "POP": lambda reader, _: reader.drop(),
    "POP_MARK": lambda reader, _: reader.drop_to_mark(),
    "EMPTY_TUPLE": _constant(()),
    "EMPTY_LIST": lambda reader, _: reader.push([]),
    "EMPTY_DICT": lambda reader, _: reader.push({}),
    "TUPLE": lambda reader, _: reader.push(tuple(reader.since_mark())),
    "TUPLE1": lambda reader, _: reader.tuple(1),
    "TUPLE2": lambda reader, _: reader.tuple(2),
    "TUPLE3": lambda reader, _: reader.tuple(3),
    "APPEND": lambda reader, _: reader.extend([reader.pop()]),
    "APPENDS": lambda reader, _: reader.extend(reader.since_mark()),
    "SETITEM": lambda reader, _: reader.fill([reader.pop(), reader.pop()][::-1]),
    "SETITEMS": lambda reader, _: reader.fill(reader.since_mark()),
    **dict.fromkeys(("BINPUT", "LONG_BINPUT", "MEMOIZE"), Reader.put),
    **dict.fromkeys(("BINGET", "LONG_BINGET"), Reader.get),
    "GLOBAL": lambda reader, name: reader.named(name.replace(" ", ".", 1)),
    "STACK_GLOBAL": lambda reader, _: reader.joined(),
    "BUILD": lambda reader, _: reader.build(),
    "BINPERSID": lambda reader, _: reader.persistent(),
    "REDUCE": lambda reader, _: reader.call(),
}
