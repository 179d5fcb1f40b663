"""The compiled module: plain arrays in, plain arrays out. Private; ``gru`` is the public face.

Every class exists twice, for float32 (``...32``) and float64 (``...64``), with one interface.
Checks of dtype, shape and lengths happen here, once; Python code above does not repeat them.
"""

from __future__ import annotations

from typing import Any, TypedDict

from numpy.typing import NDArray

Array = NDArray[Any]
# A GRU or RNN state is one array (B, num_layers * directions, hidden); an LSTM's is the pair (h, c).
State = Array | tuple[Array, Array]

class LayerSpec(TypedDict, total=False):
    """What a layer is, apart from its numbers. ``kind`` says which of the other keys exist."""

    # "gru" | "lstm" | "rnn" | "embedding" | "linear" | "activation" | "dropout" | "pool" |
    # "affine" | "reverse" | "masking"
    kind: str
    input_size: int  # gru, lstm, rnn, linear, affine; embedding: the vocabulary
    hidden_size: int  # gru, lstm, rnn; linear and embedding: the width of the output
    num_layers: int  # gru, lstm, rnn
    direction: str  # "forward" | "reverse" | "both"
    bias: bool  # gru, lstm, rnn, linear
    reset_after: bool  # gru
    update_gate: str  # gru: "keep" | "new"
    layer_norm: bool  # gru
    nonlinearity: str  # rnn: "tanh" | "relu"; activation: "relu" | "tanh" | "sigmoid" | "softmax"
    dropout: float  # gru, lstm, rnn: between stacked layers; dropout: the rate
    input_dropout: float  # gru, lstm, rnn; so are the next two
    recurrent_dropout: float
    zoneout: float
    pool: str  # pool: "last" | "mean" | "max"
    mask_value: float  # masking
    bidirectional: bool  # pool "last": second half of the features is taken at the first valid step

class PlanFields(TypedDict):
    """The fields of :class:`gru.Plan`."""

    available: int
    threads: int
    slices: int
    members: int
    reason: str

class Tape:
    """What a training forward pass keeps for its backward pass; opaque. May be used many times."""

    nbytes: int

class _Layer:
    def __init__(self, spec: LayerSpec) -> None: ...
    spec: LayerSpec
    dtype: str
    frozen: bool
    def parameters(self) -> dict[str, Array]:
        """Live views of ``flat()`` in the order of the block; read-only when frozen."""
    def flat(self) -> Array:
        """The whole parameter block as one vector; a live view, read-only when frozen."""
    def views(self, block: Array) -> dict[str, Array]:
        """Named views of another block of the same size, such as a gradient."""
    def freeze(self) -> None: ...
    def unfreeze(self) -> None: ...
    # x: (B, T, I) of the layer's dtype; embedding: (B, T) integers; linear, activation and dropout
    # also take (B, F). state, lengths and mask as in the public API. Pools return (B, F).
    # Layers without a state take and return None for it.
    def forward(
        self,
        x: Array,
        state: State | None = None,
        lengths: Any = None,
        mask: Any = None,
    ) -> tuple[Array, State | None]: ...
    # threads: 0 is automatic.
    def plan(
        self, batch: int, steps: int, lengths: Any, mask: Any, training: bool, threads: int
    ) -> PlanFields: ...
    def forward_train(
        self,
        x: Array,
        state: State | None = None,
        lengths: Any = None,
        mask: Any = None,
        seed: int = 0,
        memory_limit: int = 0,
    ) -> tuple[Array, State | None, Tape]: ...
    # Recurrent layers: name -> (B, T, N * D, H).
    def trace(
        self, x: Array, state: State | None = None, lengths: Any = None, mask: Any = None
    ) -> dict[str, Array]: ...
    # -> dx (None for an embedding), dstate, and the gradient of flat() as a fresh vector.
    # dy may be None (zero) where dstate is given.
    # With traced (recurrent layers), also name -> (B, T, N * D, H).
    def backward(
        self, tape: Tape, dy: Array | None, dstate: State | None = None, traced: bool = False
    ) -> tuple[Any, ...]: ...

class Layer32(_Layer): ...
class Layer64(_Layer): ...

class _Stream:
    """Runs a model (or one recurrent layer) step by step; belongs to one thread at a time."""

    def __init__(self, model: Any, batch: int = 1) -> None: ...
    batch: int
    input_features: int
    output_features: int
    recurrent_layers: int
    def step(self, x: Array, out: Array | None = None) -> Array:
        """x (B, I), or (B,) integers where the model starts with an embedding -> y (B, K)."""
    def run(self, x: Array, out: Array | None = None) -> Array:
        """x (B, T, I), or (B, T) integers -> y (B, T, K)."""
    def fork(self) -> Any: ...
    # One entry a recurrent layer, as in the public API, then (values (B, F), steps (B,)) of each
    # running mean or maximum; settable.
    state: list[Any]
    def reset(self, rows: Any = None) -> None: ...

class Stream32(_Stream): ...
class Stream64(_Stream): ...

class _StreamPool:
    """Many sequences of a model, any of which advance together; belongs to one thread at a time."""

    def __init__(self, model: Any, capacity: int) -> None: ...
    capacity: int
    size: int
    input_features: int
    output_features: int
    def open(self) -> int: ...
    def is_open(self, id: int) -> bool: ...
    def close(self, id: int) -> None: ...
    def reset(self, ids: Any) -> None: ...
    def step(self, ids: Any, x: Array, out: Array | None = None) -> Array:
        """ids (n,), x (n, I) or (n,) integers -> y (n, K)."""

class StreamPool32(_StreamPool): ...
class StreamPool64(_StreamPool): ...

class _Model:
    def __init__(self, layers: list[Any]) -> None:
        """Shares the layers; checks that each one's output fits the next one's input."""
    layers: list[Any]
    def forward(self, x: Array, lengths: Any = None, mask: Any = None) -> Array: ...
    def forward_train(
        self,
        x: Array,
        lengths: Any = None,
        mask: Any = None,
        seed: int = 0,
        memory_limit: int = 0,
    ) -> tuple[Array, Tape]: ...
    # state: one entry a recurrent layer, or None for zero.
    def carry(
        self, x: Array, state: list[Any] | None, lengths: Any = None, mask: Any = None
    ) -> tuple[Array, list[Any]]: ...
    def forward_carry(
        self,
        x: Array,
        state: list[Any] | None,
        lengths: Any = None,
        mask: Any = None,
        seed: int = 0,
        memory_limit: int = 0,
    ) -> tuple[Array, list[Any], Tape]: ...
    # -> one gradient vector a layer (empty where it has no parameters), each like its flat().
    def backward(self, tape: Tape, dy: Array) -> list[Array]: ...
    def least_memory(self, batch: int, steps: int, lengths: Any = None) -> int: ...
    takes_tokens: bool
    def save(self, path: str | bytes, metadata: dict[str, str]) -> None:
        """Writes a model file atomically; ``metadata`` is kept beside the model as it is."""

class Model32(_Model): ...
class Model64(_Model): ...

def load(path: str | bytes) -> tuple[Any, dict[str, str]]:
    """-> (Model32 | Model64 with frozen layers, the metadata given to save)."""

# One fused pass over a parameter block, in place; g is only read. Formulas and defaults as PyTorch's.
def sgd_update(
    p: Array,
    g: Array,
    velocity: Array | None,
    *,
    lr: float,
    momentum: float,
    nesterov: bool,
    weight_decay: float,
) -> None: ...
def adam_update(
    p: Array,
    g: Array,
    m: Array,
    v: Array,
    *,
    step: int,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    decoupled: bool,
) -> None: ...
def rmsprop_update(
    p: Array,
    g: Array,
    square: Array,
    velocity: Array | None,
    *,
    lr: float,
    alpha: float,
    eps: float,
    momentum: float,
    weight_decay: float,
) -> None: ...
def sum_squares(g: Array) -> float:
    """Sum of squares in float64, in a fixed order."""

def scale(g: Array, factor: float) -> None:
    """g *= factor, in place."""

def sigmoid(x: Array) -> Array: ...
def tanh(x: Array) -> Array: ...
def active_isa() -> str: ...
def set_isa(name: str) -> None: ...
def isa_levels() -> list[str]:
    """The levels that are compiled in and that this CPU can run, slowest first."""

def get_num_threads() -> int | None: ...
def set_num_threads(n: int | None) -> None: ...
def max_threads() -> int:
    """Threads that a training call uses when none were set: affinity, quota and environment."""

def build_info() -> dict[str, Any]: ...
