"""Opens files of Keras and finds each layer's configuration and numbers; knows no layer's meaning.

``.keras`` is a zip of ``config.json``, ``metadata.json`` and ``model.weights.h5``. In the last, and
in ``.weights.h5``, a layer's path counts the layers of its class (``layers/gru_1/cell/vars/0``). A
``.h5`` of Keras 2 has the configuration in an attribute, and paths of the layers' own names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from gru.convert.archive import members
from gru.convert.damage import DamagedFileError, UnsupportedError, json_size, strict_json
from gru.convert.hdf5 import Hdf5, Node
from gru.convert.regions import LONGEST_NAME, Region, Source, header_limit

__all__ = ["KerasFile", "KerasLayer", "Store"]

WEIGHTS = "model.weights.h5"
NO_MODEL = {"optimizer", "optimizer_weights", "top_level_model_weights"}
BUILT_IN = {"keras", "tensorflow", "tf_keras"}
DEEPEST = 16
UNPACKED = "; Keras writes its members as they are: pack it again with zip -0"


class Store(Protocol):
    """Where the numbers of one layer are."""

    def arrays(self, inside: str, roles: Sequence[str]) -> list[Region]:
        """Return the arrays of the layer, or of what lies ``inside`` it, in Keras's order."""


class KerasLayer(NamedTuple):
    """A layer of the file's configuration.

    Attributes
    ----------
    name, kind : str
        Its name, and its class; one that is not Keras's own has its module or package before it.
    config : dict
        Its arguments.
    inbound : object
        What its inputs are, in a functional model.
    store : Store
        Its numbers.
    inner : list of KerasLayer or None
        The layers of a nested model.
    file : KerasFile
        Where it stands.
    """

    name: str
    kind: str
    config: Mapping[str, Any]
    inbound: Any
    store: Store
    inner: list[KerasLayer] | None
    file: KerasFile

    def __str__(self) -> str:
        """Show name and class."""
        return f"layer {self.name!r} ({ascii(self.kind)[1:-1]})"

    def refused(self, what: str) -> UnsupportedError:
        """Return the error of a layer that cannot be represented."""
        return UnsupportedError(self.file.path, f"{self}: {what}")

    def option(self, key: str, kind: type | tuple[type, ...], wanted: str, default: Any) -> Any:
        """Return an argument of the layer, of one type.

        Raises
        ------
        ValueError
            If it is of another.
        """
        value = self.config.get(key, default)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise self.refused(f"{key} must be {wanted}, got {_shown(value)}")
        return value

    def flag(self, key: str, default: bool = False) -> bool:
        """Return an argument that is true or false."""
        return bool(self.option(key, bool, "true or false", default))

    def wrapped(self, key: str) -> KerasLayer:
        """Return the layer that a wrapper such as Bidirectional holds."""
        entry = self.option(key, dict, "a layer", None)
        name, kind, config = _described(entry, self.file)
        return KerasLayer(name, kind, config, None, self.store, None, self.file)


def _shown(value: Any) -> str:
    whole = ascii(value) if isinstance(value, (str, int, float, type(None))) else ""
    return whole if whole and len(whole) <= 60 else f"a {type(value).__name__}"


class KerasFile:
    """A file that Keras wrote.

    Parameters
    ----------
    path : str or path
        The file; what it is follows from its content.

    Attributes
    ----------
    path : str
        Its name.
    version : str
        Keras's that wrote it; empty if it does not say.
    root : Node
        Where the model's numbers begin.
    model : KerasLayer or None
        The model as its outermost layer; none where the file holds weights alone.

    Raises
    ------
    ValueError
        If it is damaged, or no such file.
    """

    def __init__(self, path: Any) -> None:
        source = Source(path)
        self.path, self._objects = source.path, source.objects
        self.used: set[str] = set()
        self.by_name = False
        with_zip = source.size >= 4 and source.read(0, 4).tobytes() == b"PK\3\4"
        config = self._from_zip(source) if with_zip else self._from_hdf5(source)
        self.model = None if config is None else self._layer(config, self._top(), 0)

    def _from_zip(self, source: Source) -> Any:
        found = members(source, UNPACKED)
        for name in ("config.json", WEIGHTS):
            if name not in found:
                held = ", ".join(map(repr, list(found)[:8]))
                raise DamagedFileError(self.path, f"{name} is missing; it holds {held}")
        for name in ("config.json", "metadata.json", WEIGHTS):
            if name in found:
                member = found[name]
                source.verify(member.start, member.size, member.crc, f"member {name!r}")
        texts = {}
        for name in ("config.json", "metadata.json"):
            start, size, _ = found.get(name, (0, 0, 0))
            if size > header_limit(source.size):
                raise DamagedFileError(self.path, f"{name} is longer than a model's")
            texts[name] = source.read(start, size).tobytes() or b"{}"
        about = self._json("metadata.json", texts["metadata.json"])
        self.version = _version(about.get("keras_version") if isinstance(about, dict) else None)
        self.root = Hdf5(source, *found[WEIGHTS][:2]).root
        return self._json("config.json", texts["config.json"])

    def _from_hdf5(self, source: Source) -> Any:
        self.root = Hdf5(source).root
        if not self.root.is_group:
            raise DamagedFileError(self.path, "no HDF5 file of Keras")
        self.version = _version(self.root.text("keras_version"))
        text = self.root.text("model_config")
        if text is not None:
            below = self.root.find("model_weights")
            if below is None:
                raise DamagedFileError(self.path, "group 'model_weights' is missing")
            self.root, self.by_name = below, True
            return self._json("model_config", text.encode())
        self.by_name = _names(self.root, "layer_names") is not None
        if not self.by_name and not {"layers", "vars", "cell"} & self.root.children.keys():
            held = ", ".join(map(repr, list(self.root.children)[:8])) or "nothing"
            raise UnsupportedError(self.path, f"HDF5, but no model of Keras: it holds {held}")
        return None

    def _json(self, name: str, text: bytes) -> Any:
        self._objects.take(json_size(text))
        try:
            return strict_json(text)
        except ValueError as error:
            raise DamagedFileError(self.path, f"{name}: {ascii(str(error))[1:-1][:200]}") from None

    def _top(self) -> Store:
        return ByName(self, []) if self.by_name else ByPlace(self, self.root)

    def _layer(self, entry: Any, store: Store, depth: int) -> KerasLayer:
        name, kind, config = _described(entry, self)
        inner = None
        if isinstance(config.get("layers"), list):
            if depth > DEEPEST:
                raise UnsupportedError(self.path, f"models are nested more than {DEEPEST} deep")
            inner = self._inner(config["layers"], kind, store, depth)
        return KerasLayer(name, kind, config, entry.get("inbound_nodes"), store, inner, self)

    def _inner(self, entries: list[Any], kind: str, store: Store, depth: int) -> list[KerasLayer]:
        """Return the layers of a model with their numbers, which are found by counting."""
        made, counts = [], dict[str, int]()
        for entry in entries:
            name, _, _ = _described(entry, self)
            below = store
            if isinstance(store, ByPlace):
                snake = _snake(entry["class_name"])
                number = counts[snake] = counts.get(snake, -1) + 1
                place = f"layers/{snake}_{number}" if number else f"layers/{snake}"
                below = ByPlace(self, store.node and store.node.find(place))
                below.check_name(name)
            elif depth == 0:
                below = ByName(self, self._listed(name))
            elif isinstance(store, ByName):
                below = ByName(self, store.listed, (*store.inside, name))
            made.append(self._layer(entry, below, depth + 1))
        return made

    def _listed(self, layer: str) -> list[tuple[str, Node]]:
        """Return name and place of a layer's arrays in a file of Keras 2."""
        group = self.root.children.get(layer)
        if group is None:
            return []
        found = []
        names = _names(group, "weight_names") or []
        if len(set(names)) < len(names):
            raise DamagedFileError(self.path, f"an array of layer {layer!r} is listed twice")
        for name in names:
            node = group.find(name)
            if node is None:
                raise DamagedFileError(self.path, f"array {f'{group.path}/{name}'!r} is missing")
            found.append((name, node))
        return found

    def take(self, node: Node) -> Region:
        """Return an array and remember that it was read."""
        self.used.add(node.path)
        found = node.array()
        found.claim()
        return found

    def unread(self) -> list[str]:
        """Return the paths of the model's arrays that were not read; a state of seeds is none."""
        return [path for path in _arrays(self.root) if path not in self.used]

    def listed_layers(self) -> Iterator[tuple[str, list[tuple[str, Node]]]]:
        """Yield the layers of a file of Keras 2 that has no configuration, and their arrays."""
        for name in _names(self.root, "layer_names") or []:
            yield name, self._listed(name)


def _version(value: Any) -> str:
    """Return a version that can be printed, as "3.13.2"."""
    return value if isinstance(value, str) and re.fullmatch(r"[\w.+-]{1,40}", value) else ""


def _described(entry: Any, file: KerasFile) -> tuple[str, str, Mapping[str, Any]]:
    """Return name, class and arguments of an entry of the configuration."""
    if not isinstance(entry, dict) or not isinstance(entry.get("class_name"), str):
        raise DamagedFileError(file.path, f"a layer is described by {_shown(entry)}")
    kind, config = entry["class_name"], entry.get("config")
    if isinstance(config, list):  # a Sequential before Keras 2.2.3
        config = {"layers": config}
    if not isinstance(config, dict):
        raise DamagedFileError(file.path, f"a layer {_shown(kind)} has no arguments")
    name = config.get("name", entry.get("name", kind))
    if not isinstance(name, str):
        raise DamagedFileError(file.path, f"the name of a layer is {_shown(name)}")
    if max(len(name), len(kind)) > LONGEST_NAME:
        what = f"has {max(len(name), len(kind))} letters, allowed are {LONGEST_NAME}"
        raise DamagedFileError(file.path, f"the name or class of a layer {what}")
    return name, _origin(entry) + kind, config


def _origin(entry: Mapping[str, Any]) -> str:
    """Return what stands before the class of an entry: nothing if the class is Keras's own.

    Keras writes no module for a class that a program registered, but ``Package>Class``. Files of
    Keras 2 name neither, and put the package into ``class_name`` itself.
    """
    module, registered = entry.get("module"), entry.get("registered_name")
    named = module if isinstance(module, str) else ""
    known = "module" not in entry or named.partition(".")[0] in BUILT_IN
    if known and registered in (None, entry["class_name"]):
        return ""
    package = registered.rpartition(">")[0] if isinstance(registered, str) else ""
    return f"{named}." if named and not known else f"{package or 'custom'}>"


def _snake(name: str) -> str:
    """Return a class name as Keras writes it in paths: SimpleRNN as simple_rnn."""
    name = re.sub(r"\W+", "", name.rpartition(">")[2])
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


def _names(group: Node, key: str) -> list[str] | None:
    """Return an attribute of names, which Keras splits where it is long."""
    found = group.texts(key)
    if found is None and (part := group.texts(f"{key}0")) is not None:
        found, number = [], 0
        while part is not None:
            found += part
            number += 1
            part = group.texts(f"{key}{number}")
    return found


def _arrays(root: Node) -> Iterator[str]:
    waiting = [child for name, child in root.children.items() if name not in NO_MODEL]
    while waiting:
        node = waiting.pop()
        if node.is_group:
            waiting += [c for name, c in node.children.items() if name != "seed_generator"]
        else:
            yield node.path


class ByPlace:
    """Numbers of a layer in a file of Keras 3: ``vars/0``, ``cell/vars/0`` and so on."""

    def __init__(self, file: KerasFile, node: Node | None) -> None:
        self.file, self.node = file, node

    def check_name(self, name: str) -> None:
        """Refuse numbers that the file says belong to a layer of another name."""
        below = self.node and self.node.find("vars")
        found = below.text("name") if below else None
        if found is not None and found != name:
            what = f"{below and below.path!r} is of layer {found!r}, but should be of {name!r}"
            raise DamagedFileError(self.file.path, what)

    def arrays(self, inside: str, roles: Sequence[str]) -> list[Region]:
        """Return the arrays of the layer, or of what lies ``inside`` it, in Keras's order."""
        place = f"{inside}/vars" if inside else "vars"
        node = self.node and self.node.find(place)
        there = set(node.children) if node else set()
        if node is None or there != {str(i) for i in range(len(roles))}:
            where = f"{self.node.path if self.node else ''}/{place}"
            what = f"{where!r} must hold {' and '.join(roles)}, but holds {len(there)} arrays"
            raise DamagedFileError(self.file.path, what)
        return [self.file.take(node.children[str(i)]) for i in range(len(roles))]


class ByName:
    """Numbers of a layer in a file of Keras 2: ``gru/gru_cell/kernel:0``, in the layer's order.

    Of a nested model, the file lists all arrays together; a layer's have its name in theirs.
    """

    def __init__(
        self, file: KerasFile, names: list[tuple[str, Node]], inside: tuple[str, ...] = ()
    ) -> None:
        self.file, self.inside, self.listed = file, inside, names

    @property
    def names(self) -> list[tuple[str, Node]]:
        """Those of the layer, found anew: the layers of a nested model share one long list."""
        inside = self.inside
        return [
            (name, node)
            for name, node in self.listed
            if all(i in name.split("/")[:-1] for i in inside)
        ]

    def arrays(self, inside: str, roles: Sequence[str]) -> list[Region]:
        """Return the arrays of the layer, or of one side of a Bidirectional."""
        names, side = self.names, inside.partition("_")[0]
        if side in ("forward", "backward"):
            half = len(names) // 2
            names = names[:half] if side == "forward" else names[len(names) - half :]
            other = "backward_" if side == "forward" else "forward_"
            if any(part.startswith(other) for name, _ in names for part in name.split("/")):
                raise DamagedFileError(self.file.path, f"the arrays of {names[0][0]!r} are mixed")
        found = [name.rpartition("/")[2].partition(":")[0] for name, _ in names]
        if found != list(roles):
            held = ", ".join(repr(name) for name, _ in names[:8]) or "none"
            what = f"a layer must have the arrays {' and '.join(roles)}, but has {held}"
            raise DamagedFileError(self.file.path, what)
        return [self.file.take(node) for _, node in names]
