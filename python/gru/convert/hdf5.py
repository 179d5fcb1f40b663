"""Reads HDF5 as Keras writes it: groups, contiguous arrays, attributes of text; nothing beyond.

h5py writes superblock 0, groups by symbol tables and version 1 headers unless told otherwise, and
Keras never tells it. The HDF5 library itself loops without end on some damaged files, and follows
links out of a file. Here every address is checked, every loop is counted, and arrays stay in the
file until they are asked for.
"""

from __future__ import annotations

from math import prod

from gru.convert.hdf5_layout import (
    ATTRIBUTE,
    DENSE,
    FILTERS,
    LAYOUT,
    LINK,
    LINKS,
    OUTSIDE,
    SPACE,
    TABLE,
    TYPE,
    Layout,
)
from gru.convert.regions import Region, Source

__all__ = ["Hdf5", "Node"]

NODE = 750  # bytes that a group or an array takes in memory, besides its path


class Node:
    """A group or an array of the file, read when it is first asked for.

    Attributes
    ----------
    path : str
        Its name with those of the groups around it, for messages.
    """

    __slots__ = ("_address", "_attributes", "_children", "_file", "_messages", "path")

    def __init__(self, file: Hdf5, address: int, path: str) -> None:
        self.path = path
        self._file = file
        self._address = address
        self._messages: list[tuple[int, int, int]] | None = None
        self._children: dict[str, Node] | None = None
        self._attributes: dict[str, tuple[int, int, int, int]] | None = None

    def _bodies(self, *kinds: int) -> list[tuple[int, int]]:
        """Return where the messages of some kinds lie, and how long they are."""
        if self._messages is None:
            self._messages = self._file.messages(self._address, self.path)
        return [(at, size) for kind, at, size in self._messages if kind in kinds]

    def _one(self, kind: int, what: str) -> int:
        found = self._bodies(kind)
        if len(found) != 1:
            raise self._file.damaged(f"{self.path!r} has {len(found)} {what}")
        return found[0][0]

    @property
    def file_path(self) -> str:
        """The file that it lies in."""
        return self._file.path

    @property
    def is_group(self) -> bool:
        """Whether it holds other nodes rather than numbers."""
        return bool(self._bodies(TABLE, LINKS, LINK))

    @property
    def children(self) -> dict[str, Node]:
        """What a group holds, by name; nothing for an array."""
        if self._children is None:
            if self._bodies(LINKS, LINK):
                raise self._file.foreign(f"{self.path!r} is a group of a newer form")
            self._children = {}
            if self._bodies(TABLE):
                at = self._one(TABLE, "tables of names")
                for name, address in self._file.entries(at, self.path):
                    if name in self._children:
                        raise self._file.damaged(f"{self.path!r} holds {name!r} twice")
                    self._children[name] = self._file.node(address, f"{self.path}/{name}")
        return self._children

    def find(self, path: str) -> Node | None:
        """Return the node below, such as ``"cell/vars"``, or ``None``."""
        node: Node | None = self
        for part in path.split("/"):
            node = node.children.get(part) if node is not None else None
        return node

    def texts(self, name: str) -> list[str] | None:
        """Return an attribute of one or many strings, or ``None`` if it does not exist.

        Raises
        ------
        ValueError
            If it holds something else.
        """
        if self._attributes is None:
            if self._bodies(DENSE):
                raise self._file.foreign(f"{self.path!r} has attributes of a newer form")
            found = [self._file.attribute(at, size) for at, size in self._bodies(ATTRIBUTE)]
            self._attributes = dict(found)
        place = self._attributes.get(name)
        return None if place is None else self._file.texts(place, f"{self.path}:{name}")

    def text(self, name: str) -> str | None:
        """Return an attribute of one string, or ``None`` if it does not exist."""
        found = self.texts(name)
        if found is not None and len(found) != 1:
            raise self._file.damaged(f"attribute {name!r} of {self.path!r} must be one text")
        return None if found is None else found[0]

    def _note(self) -> str | None:
        """Return what Keras notes where HDF5 has no name for a type."""
        return self.text("dtype") if self._bodies(ATTRIBUTE) else None

    def array(self) -> Region:
        """Return the numbers, which stay in the file until NumPy wants them.

        Raises
        ------
        ValueError
            If they are no floating-point numbers stored as they are.
        """
        file = self._file
        if self._bodies(OUTSIDE):
            raise file.foreign(f"{self.path!r} lies in another file")
        if self._bodies(FILTERS):
            raise file.foreign(f"{self.path!r} is compressed")
        shape = file.shape(self._one(SPACE, "shapes"), self.path)
        kind, size, big = file.number(self._one(TYPE, "types"), self.path, self._note())
        start, length = file.place(self._one(LAYOUT, "places"), self.path)
        if length != size * prod(shape):
            what = f"must take {size * prod(shape)} bytes for shape {shape}, got {length}"
            raise file.damaged(f"{self.path!r} {what}")
        return file.region(kind, start, length, shape, big)


class Hdf5(Layout):
    """An HDF5 file, or a part of a file that is one.

    Parameters
    ----------
    source : Source
        The file.
    start, size : int, optional
        The part; the whole file if not given.

    Attributes
    ----------
    root : Node
        The outermost group.

    Raises
    ------
    ValueError
        If it is no HDF5 file, cut off, or of a form that Keras does not write. What lies further
        inside is checked when it is read.
    """

    def __init__(self, source: Source, start: int = 0, size: int | None = None) -> None:
        super().__init__(source, start, size)
        self._seen: set[int] = set()
        self.root = self.node(self.superblock(), "")

    def node(self, address: int, path: str) -> Node:
        """Return the group or array at an address, which has one name only."""
        if address in self._seen:
            raise self.damaged(f"{path!r} is a second name of another part")
        self._seen.add(address)
        self._objects.take(NODE + len(path))  # a name is kept beside the path that ends with it
        self._objects.add(path)
        return Node(self, address, path)
