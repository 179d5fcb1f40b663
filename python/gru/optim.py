"""Optimisers over named parameter arrays; know no model: each step is one pass in the engine."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from gru import _core, check
from gru._types import Array

__all__ = ["SGD", "Adam", "AdamW", "Optimizer", "RMSprop", "clip_grad_norm"]


def _flat(array: Array, name: str) -> Array:
    """View an array as one vector."""
    check.instance(name, array, np.ndarray, "an array")
    if not array.flags.c_contiguous:
        raise ValueError(f"{name} must be contiguous to be updated in place")
    return array.reshape(-1)


def _check(**bounds: tuple[float, float]) -> None:
    """Refuse a setting below 0 or, where the limit is finite, not below the limit."""
    for name, (value, limit) in bounds.items():
        if not 0 <= check.number(name, value) < limit:
            wanted = "at least 0" if limit == np.inf else f"in [0, {limit:g})"
            raise ValueError(f"{name} must be {wanted}, got {value}")


class Optimizer:
    """What the optimisers share: a step count and state vectors for each named array.

    Attributes
    ----------
    lr : float
        Learning rate; may be changed between steps.
    steps : int
        Steps taken.
    """

    _slots = 0  # state vectors of one parameter array

    def __init__(self, lr: float, weight_decay: float) -> None:
        _check(lr=(lr, np.inf), weight_decay=(weight_decay, np.inf))
        self.lr = float(lr)
        self.weight_decay = float(weight_decay)
        self.steps = 0
        self.state: dict[str, list[Array]] = {}

    def step(self, parameters: Mapping[str, Array], gradients: Mapping[str, Array]) -> None:
        """Move parameters against their gradients, in place.

        Parameters
        ----------
        parameters : mapping of str to ndarray
            ``layer.parameters``, ``model.parameters`` or ``model.blocks()``.
        gradients : mapping of str to ndarray
            By the same names; parameters without a gradient stay as they are.

        Raises
        ------
        KeyError
            If a gradient has no parameter of its name.
        ValueError
            If a shape differs, or the parameters are frozen.
        """
        self.steps += 1
        for name, gradient in gradients.items():
            p, g = _flat(parameters[name], name), _flat(gradient, name)
            if name not in self.state:
                self.state[name] = [np.zeros_like(p) for _ in range(self._slots)]
            self._update(p, g, self.state[name])

    def _update(self, p: Array, g: Array, state: list[Array]) -> None:
        raise NotImplementedError

    def __repr__(self) -> str:
        """Show the settings."""
        hidden = ("steps", "state", "_slots")
        shown = [f"{name}={value!r}" for name, value in vars(self).items() if name not in hidden]
        return f"{type(self).__name__}({', '.join(shown)})"


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum as in Sutskever et al. 2013 if asked for.

    PyTorch's formula: ``v = momentum * v + g``; then ``p -= lr * v``, or with Nesterov
    ``p -= lr * (g + momentum * v)``, where ``g`` includes ``weight_decay * p``.

    Parameters
    ----------
    lr : float
        Learning rate.
    momentum : float
        In [0, 1).
    nesterov : bool
        Needs momentum.
    weight_decay : float
        L2 penalty.

    Examples
    --------
    >>> import numpy as np, gru
    >>> p = {"w": np.array([1.0])}
    >>> gru.SGD(0.5).step(p, {"w": np.array([1.0])})
    >>> p["w"].tolist()
    [0.5]
    """

    def __init__(
        self,
        lr: float = 1e-3,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(lr, weight_decay)
        _check(momentum=(momentum, 1.0))
        if nesterov and not momentum:
            raise ValueError("nesterov needs a momentum above 0")
        self.momentum = float(momentum)
        self.nesterov = bool(nesterov)
        self._slots = 1 if momentum else 0

    def _update(self, p: Array, g: Array, state: list[Array]) -> None:
        _core.sgd_update(
            p,
            g,
            state[0] if state else None,
            lr=self.lr,
            momentum=self.momentum,
            nesterov=self.nesterov,
            weight_decay=self.weight_decay,
        )


class Adam(Optimizer):
    """Adam (Kingma and Ba 2015): ``p -= lr * m_hat / (sqrt(v_hat) + eps)``.

    PyTorch's formula and defaults; ``weight_decay`` is an L2 penalty on the gradient.

    Parameters
    ----------
    lr : float
        Learning rate.
    betas : pair of float
        Decay of the running means m (of g) and v (of g * g), each in [0, 1).
    eps : float
        Added to the denominator.
    weight_decay : float
        L2 penalty.

    Examples
    --------
    >>> import numpy as np, gru
    >>> p = {"w": np.array([1.0])}
    >>> gru.Adam(0.1).step(p, {"w": np.array([3.0])})
    >>> p["w"].round(6).tolist()
    [0.9]
    """

    _slots = 2
    _decoupled = False

    def __init__(
        self,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(lr, weight_decay)
        beta1, beta2 = check.pair("betas", betas, "a pair of numbers")
        _check(beta1=(beta1, 1.0), beta2=(beta2, 1.0), eps=(eps, np.inf))
        self.betas = (float(beta1), float(beta2))
        self.eps = float(eps)

    def _update(self, p: Array, g: Array, state: list[Array]) -> None:
        _core.adam_update(
            p,
            g,
            *state,
            step=self.steps,
            lr=self.lr,
            beta1=self.betas[0],
            beta2=self.betas[1],
            eps=self.eps,
            weight_decay=self.weight_decay,
            decoupled=self._decoupled,
        )


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019): ``p *= 1 - lr * decay`` first.

    Parameters as in :class:`Adam`; PyTorch's formula and defaults.

    Examples
    --------
    >>> import numpy as np, gru
    >>> p = {"w": np.array([1.0])}
    >>> gru.AdamW(0.1, weight_decay=0.5).step(p, {"w": np.array([0.0])})
    >>> p["w"].round(6).tolist()
    [0.95]
    """

    _decoupled = True

    def __init__(
        self,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ) -> None:
        super().__init__(lr, betas, eps, weight_decay)


class RMSprop(Optimizer):
    """RMSprop (Tieleman and Hinton 2012): ``p -= lr * g / (sqrt(mean of g * g) + eps)``.

    PyTorch's formula and defaults.

    Parameters
    ----------
    lr : float
        Learning rate.
    alpha : float
        Decay of the running mean of g * g, in [0, 1).
    eps : float
        Added to the denominator.
    weight_decay : float
        L2 penalty.
    momentum : float
        In [0, 1).

    Examples
    --------
    >>> import numpy as np, gru
    >>> p = {"w": np.array([1.0])}
    >>> gru.RMSprop(0.01).step(p, {"w": np.array([3.0])})
    >>> p["w"].round(6).tolist()
    [0.9]
    """

    def __init__(
        self,
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
    ) -> None:
        super().__init__(lr, weight_decay)
        _check(alpha=(alpha, 1.0), eps=(eps, np.inf), momentum=(momentum, 1.0))
        self.alpha, self.eps, self.momentum = float(alpha), float(eps), float(momentum)
        self._slots = 2 if momentum else 1

    def _update(self, p: Array, g: Array, state: list[Array]) -> None:
        _core.rmsprop_update(
            p,
            g,
            state[0],
            state[1] if self.momentum else None,
            lr=self.lr,
            alpha=self.alpha,
            eps=self.eps,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
        )


def clip_grad_norm(gradients: Mapping[str, Array], max_norm: float) -> float:
    """Scale gradients in place so that their joint Euclidean norm is at most ``max_norm``.

    Pascanu, Mikolov and Bengio 2013; PyTorch's formula: the factor is
    ``max_norm / (norm + 1e-6)`` where that is below 1.

    Parameters
    ----------
    gradients : mapping of str to ndarray
        Contiguous arrays, changed in place.
    max_norm : float
        Above 0.

    Returns
    -------
    float
        The norm before scaling. If it is not finite nothing is scaled.

    Raises
    ------
    ValueError
        If ``max_norm`` is not above 0.

    Examples
    --------
    >>> import numpy as np, gru
    >>> g = {"w": np.array([3.0, 4.0])}
    >>> gru.clip_grad_norm(g, 1.0), g["w"].round(3).tolist()
    (5.0, [0.6, 0.8])
    """
    if not check.number("max_norm", max_norm) > 0:
        raise ValueError(f"max_norm must be above 0, got {max_norm}")
    vectors = [_flat(gradient, name) for name, gradient in gradients.items()]
    norm = float(np.sqrt(sum(_core.sum_squares(g) for g in vectors)))
    factor = max_norm / (norm + 1e-6)
    if factor < 1.0 and np.isfinite(norm):
        for g in vectors:
            _core.scale(g, factor)
    return norm
