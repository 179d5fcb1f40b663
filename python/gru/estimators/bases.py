"""The base classes of scikit-learn, or what says that it is missing; knows no model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__all__ = ["BaseEstimator", "ClassifierMixin", "RegressorMixin"]

MISSING = 'estimators need scikit-learn; pip install "gru-engine[sklearn]" brings it'

if TYPE_CHECKING:

    class BaseEstimator:
        """What estimators use of it; scikit-learn has no types of its own."""

        def __sklearn_tags__(self) -> Any:
            """Return what the estimator takes and gives."""

    class ClassifierMixin:
        """Adds ``score``: the accuracy."""

    class RegressorMixin:
        """Adds ``score``: the coefficient of determination."""

else:
    try:
        from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
    except ImportError:

        class BaseEstimator:
            """Stands in for scikit-learn's, so that the names exist; refuses to be made."""

            def __new__(cls, *arguments: Any, **settings: Any) -> Any:
                """Say what is missing."""
                raise ImportError(MISSING)

        class ClassifierMixin:
            """Stands in for scikit-learn's."""

        class RegressorMixin:
            """Stands in for scikit-learn's."""
