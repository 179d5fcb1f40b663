"""How much each target counts in the loss: weights of samples and of classes; knows no loss."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gru import check
from gru._types import Array

__all__ = ["ClassWeights", "class_values", "sample_weights"]


def _checked(name: str, weight: Any) -> Array:
    """Return weights as float64 if all are finite and at least 0."""
    values = check.numbers(name, weight).astype(np.float64, copy=False)
    wrong = ~(np.isfinite(values) & (values >= 0))
    if wrong.any():
        where = ", ".join(str(int(i)) for i in np.argwhere(wrong)[0])
        place = f" at {name}[{where}]" if where else ""
        raise ValueError(f"{name} must be finite and at least 0, got {values[wrong][0]}{place}")
    return values


def class_values(given: Mapping[Any, Any]) -> dict[Any, float]:
    """Check the weights of classes, which may be labels of any kind.

    Raises
    ------
    TypeError
        If one is no number.
    ValueError
        If one is below 0 or not finite.

    Examples
    --------
    >>> class_values({"up": 2, "down": -1})
    Traceback (most recent call last):
    ...
    ValueError: class_weight['down'] must be finite and at least 0, got -1.0
    """
    named = {key: f"class_weight[{key!r}]" for key in given}
    return {
        key: float(_checked(name, check.number(name, given[key]))) for key, name in named.items()
    }


def sample_weights(
    weight: Any, steps: list[int] | None, count: int, shape: tuple[int, ...], *, part: bool = False
) -> Array | list[Array]:
    """Check the weights of samples, or of their steps.

    Parameters
    ----------
    weight : array_like or sequence of array_like
        Shape (B,), or one number a step: (B, T), or for ragged sequences a list of (T_i,).
    steps : list of int or None
        The lengths of ragged sequences; ``None`` for an array.
    count : int
        B.
    shape : tuple of int
        The shape that an array may have besides (B,), () if none. With neither ``steps`` nor
        this there is one target a sequence.
    part : bool
        Whether these are the weights of a part of the data, which may all be 0.

    Returns
    -------
    ndarray or list of ndarray
        In float64.

    Raises
    ------
    TypeError
        If they are no numbers.
    ValueError
        If their shape does not fit, one is below 0 or not finite, or all are 0 and no part.

    Examples
    --------
    >>> sample_weights([1, 2, 0.5], None, 3, ())
    array([1. , 2. , 0.5])
    """
    given = check.several("sample_weight", weight, "an array of numbers, one a sequence or a step")
    many = given.ndim > 1 if isinstance(given, np.ndarray) else any(map(np.ndim, given))
    if many and steps is None and not shape:
        raise ValueError(
            "sample_weight must have one number a sequence, as y has one target a sequence, "
            "got numbers for steps"
        )
    ragged = steps is not None and many
    if ragged:
        items = [_checked(f"sample_weight[{i}]", item) for i, item in enumerate(given)]
        if [item.shape for item in items] != [(n,) for n in steps or []]:
            raise ValueError("sample_weight must have one number a step of each sequence of X")
        total = sum(float(item.sum()) for item in items)
    else:
        array = _checked("sample_weight", given)
        if array.shape not in {(count,), shape or (count,)}:
            wanted = f"({count},)" + (f" or {shape}" if shape else "")
            raise ValueError(f"sample_weight must have shape {wanted}, got {array.shape}")
        total = float(array.sum())
    if not total and not part:
        raise ValueError("sample_weight must hold at least one number above 0, got none")
    return items if ragged else array


def _labels(y: Array) -> Array:
    """Return targets as labels: integers, of which a last axis of 1 is dropped."""
    if y.dtype.kind not in "biu":
        raise TypeError(f"class_weight needs integer classes in y, got {y.dtype}")
    return y[..., 0] if y.ndim > 1 and y.shape[-1] == 1 else y


def _check_some(classes: Array, targets: Iterable[Array]) -> None:
    """Refuse classes of which targets have none; looks no further than the first they have."""
    there: set[int] = set()
    for part in targets:
        labels = _labels(part)
        if np.isin(labels, classes).any():
            return
        there.update(np.unique(labels)[:5].tolist())
    raise ValueError(
        f"class_weight must name a class that y holds, such as {sorted(there)[:5]}, "
        f"got {classes[:5].tolist()}"
    )


@dataclass(frozen=True)
class ClassWeights:
    """The weight of each class; a class that has none counts 1.

    Attributes
    ----------
    classes : ndarray of int64
        Sorted, shape (k,).
    weights : ndarray of float64
        Theirs, shape (k,).

    Examples
    --------
    >>> import numpy as np
    >>> balanced = ClassWeights.of("balanced", [np.array([0, 0]), np.array([0, 1])])
    >>> balanced(np.array([[0], [1]]))
    array([0.66666667, 2.        ])
    """

    classes: Array
    weights: Array

    @classmethod
    def of(cls, given: Any, targets: Iterable[Array] | None) -> ClassWeights:
        """Check a dict of weights, or balance the targets that count.

        Parameters
        ----------
        given : dict or str
            Class -> weight; or ``"balanced"``: n / (k * count), as in scikit-learn.
        targets : iterable of ndarray or None
            All targets that count, some at a time; ``None`` if they are not known beforehand.

        Raises
        ------
        TypeError, ValueError
            If it is neither, a class is no integer, a weight is below 0 or not finite, no target
            has any of the classes, or targets must be counted that are no integers or not known.
        """
        wanted = "a dict of class -> weight or 'balanced'"
        if isinstance(given, str):
            if given != "balanced":
                raise ValueError(f"class_weight must be {wanted}, got {given!r}")
            if targets is None:
                raise ValueError("class_weight='balanced' needs targets in arrays; give a dict")
            return cls._balanced(targets)
        check.instance("class_weight", given, Mapping, wanted)
        for key in given:
            check.integer("a class of class_weight", key, -(2**63), 2**63 - 1)
        classes = np.array(sorted(given), dtype=np.int64)
        values = class_values(given)
        weights = np.array([values[key] for key in classes.tolist()], dtype=np.float64)
        if len(classes) and targets is not None:
            _check_some(classes, targets)
        return cls(classes, weights)

    @classmethod
    def _balanced(cls, targets: Iterable[Array]) -> ClassWeights:
        counts: Counter[int] = Counter()
        for part in targets:
            labels, times = np.unique(_labels(part).astype(np.int64), return_counts=True)
            counts.update(dict(zip(labels.tolist(), times.tolist(), strict=True)))
        classes = np.array(sorted(counts), dtype=np.int64)
        each = np.array([counts[label] for label in classes.tolist()], dtype=np.int64)
        return cls(classes, each.sum() / (len(classes) * each))

    def __call__(self, y: Array) -> Array:
        """Return the weight of each target, of the shape of y without a last axis of 1."""
        labels = _labels(y)
        if not len(self.classes):
            return np.ones(labels.shape)
        at = np.searchsorted(self.classes, labels).clip(max=len(self.classes) - 1)
        return np.where(self.classes[at] == labels, self.weights[at], 1.0)
