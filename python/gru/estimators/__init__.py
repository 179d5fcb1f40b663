"""The models as scikit-learn estimators; all that knows scikit-learn is in this folder."""

from __future__ import annotations

from gru.estimators.classifier import GRUClassifier
from gru.estimators.forecaster import GRUForecaster
from gru.estimators.regressor import GRURegressor

__all__ = ["GRUClassifier", "GRUForecaster", "GRURegressor"]
