"""Scikit-learn's own checks on every estimator; those that cannot apply are listed with why."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import gru

pytest.importorskip("sklearn", reason="the estimators need scikit-learn")

from sklearn.utils import estimator_checks
from sklearn.utils.estimator_checks import estimator_checks_generator, parametrize_with_checks

EXACT: dict[str, Any] = {"batch_size": 256, "dtype": "float64", "learning_rate": 0.03}
SHORT: dict[str, Any] = {"epochs": 1, "horizon": 2, "window": 4, "calibration": 0.0}


class ThreeAxes:
    """Gives what the checks bring as a table to the estimator as one step with all its columns."""

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Any:
        return super().fit(deep(X), y, sample_weight)  # type: ignore[misc]

    def _answer(self, X: Any) -> Any:
        return super()._answer(deep(X))  # type: ignore[misc]


def deep(X: Any) -> Any:
    if hasattr(X, "toarray"):  # sparse
        return X
    array = np.asarray(X)
    return array[:, None] if array.ndim == 2 else X


class DeepClassifier(ThreeAxes, gru.GRUClassifier):
    """Classifies arrays (B, 1, I)."""


class DeepRegressor(ThreeAxes, gru.GRURegressor):
    """Regresses arrays (B, 1, I)."""


class RowForecaster(gru.GRUForecaster):
    """Forecasts what follows the table that it is given, so that predict can be checked at all."""

    def fit(self, X: Any, y: Any = None) -> Any:
        return super().fit(X)

    def predict(self, X: Any) -> Any:
        return super().predict(y=X)

    def score(self, X: Any, y: Any = None) -> float:
        return super().score(X)


SERIES = "rows of y are steps in order, not samples"
ONE_AXIS = "one axis is one series here, and welcome"
INPUTS = "n_features_in_ counts the exogenous inputs: columns of y are series that are alike"
STEPS = "predict takes a number of steps, not rows; run on RowForecaster"
SPELT = "the error names the place, 'nan at y[0, 0]', where the check wants the letters NaN"

# What a check wants that cannot be, estimator by estimator. A check that is not here must pass.
UNMET: dict[str, dict[str, str]] = {
    "GRUClassifier": {},
    "GRURegressor": {},
    "GRUClassifier in batches": {
        "check_sample_weight_equivalence_on_dense_data": (
            "other numbers of rows make other batches; equal only where one batch holds all"
        )
    },
    # All there is about arrays of three axes.
    "DeepClassifier": {"check_estimators_empty_data_messages": "wants the shape of two axes"},
    "DeepRegressor": {"check_estimators_empty_data_messages": "wants the shape of two axes"},
    "GRUForecaster": {
        "check_fit_score_takes_y": "what is fitted is y, and comes first: fit(y, exog)",
        "check_n_features_in_after_fitting": INPUTS,
        "check_n_features_in": INPUTS,
        "check_estimators_nan_inf": SPELT,
        "check_fit2d_1sample": "the error counts steps, where the check wants '1 sample'",
        "check_fit1d": ONE_AXIS,
        "check_fit2d_predict1d": STEPS,
        "check_estimators_dtypes": STEPS,
        "check_dtype_object": STEPS,
        "check_estimators_pickle": STEPS,
        "check_f_contiguous_array_estimator": STEPS,
        "check_methods_sample_order_invariance": SERIES,
        "check_methods_subset_invariance": SERIES,
        "check_dict_unchanged": STEPS,
        "check_fit_idempotent": STEPS,
    },
    "RowForecaster": {
        "check_n_features_in_after_fitting": INPUTS,
        "check_n_features_in": INPUTS,
        "check_estimators_nan_inf": SPELT,
        "check_fit2d_1sample": "the error counts steps, where the check wants '1 sample'",
        "check_fit1d": ONE_AXIS,
        "check_fit2d_predict1d": ONE_AXIS,
        "check_methods_sample_order_invariance": SERIES,
        "check_methods_subset_invariance": SERIES,
    },
}

ESTIMATORS: dict[str, Any] = {
    "GRUClassifier": gru.GRUClassifier(8, epochs=30, **EXACT),
    "GRURegressor": gru.GRURegressor(8, epochs=60, **EXACT),
    "GRUClassifier in batches": gru.GRUClassifier(random_state=0),
    "DeepClassifier": DeepClassifier(8, epochs=30, **EXACT),
    "DeepRegressor": DeepRegressor(8, epochs=60, **EXACT),
    "GRUForecaster": gru.GRUForecaster(4, **SHORT),
    "RowForecaster": RowForecaster(4, **SHORT),
}

# Checks that scikit-learn itself does not choose for an estimator, by what it says of itself.
NOT_CHOSEN = {
    r"check_estimator|check_estimators_data_not_an_array|check_classifiers_predictions": (
        "runs or is part of other checks"
    ),
    r"check_(global_)?set_output.*|check_global_output.*|check_.*get_feature_names_out.*"
    r"|check_transformer.*": "for transformers",
    r"check_cluster.*": "for what finds clusters",
    r"check_outlier.*": "for what finds outliers",
    r"check_array_api.*": "arrays of other libraries are not taken; one of them is run below",
    r"check_.*_on_sparse_data|check_sparsify.*": "sparse data are refused",
    r"check_fit_non_negative": "numbers below 0 are welcome",
    r"check_nonsquare_error": "for tables of distances",
    r"check_param_validation": "needs a private table of scikit-learn; settings are tested here",
    r"check_class_weight_balanced.*": "for scikit-learn's own linear models",
    r"check_classifiers?_multi.*": "a sequence has one label",
    r"check_classifier_not_supporting_multiclass": "there may be any number of classes",
}
OF_OTHERS = {
    "GRUClassifier": {r"check_regressor.*": "for regressors"},
    "GRURegressor": {
        r"check_classifier.*|check_class_weight.*|check_decision_.*": "for classifiers"
    },
    "GRUForecaster": {
        r"check_regressor.*": "for regressors",
        r"check_classifier.*|check_class_weight.*|check_decision_.*": "for classifiers",
        r"check_.*sample_weight.*": "steps of a series have no weights",
        r"check_supervised_y.*|check_requires_y_none": "there are no targets beside the series",
        r"check_.*partial_fit.*|check_non_transformer_estimators_n_iter": (
            "for classifiers and regressors"
        ),
    },
}
APART = ["check_dataframe_column_names_consistency", "check_inplace_ensure_writeable"]


def name_of(check: Any) -> str:
    return str(getattr(check, "func", check).__name__)


def unmet(estimator: Any) -> dict[str, str]:
    """The table of an estimator, which comes here as it is or as a clone."""
    in_batches = type(estimator) is gru.GRUClassifier and estimator.batch_size < 256
    return UNMET["GRUClassifier in batches" if in_batches else type(estimator).__name__]


@parametrize_with_checks(list(ESTIMATORS.values()), expected_failed_checks=unmet)
def test_the_checks_of_scikit_learn(estimator: Any, check: Any) -> None:
    check(estimator)


@pytest.mark.parametrize(
    ("which", "name"), [(which, name) for which, table in UNMET.items() for name in table]
)
def test_nothing_is_excused_that_passes(which: str, name: str) -> None:
    found = [c for _, c in estimator_checks_generator(ESTIMATORS[which]) if name_of(c) == name]
    assert found
    for check in found:
        with pytest.raises((AssertionError, TypeError, ValueError, IndexError)):
            check(ESTIMATORS[which])


@pytest.mark.parametrize("which", ["GRUClassifier", "GRURegressor", "GRUForecaster"])
def test_every_check_is_run_or_listed_with_its_reason(which: str) -> None:
    """New checks of a new scikit-learn show here; so do names that it no longer knows."""
    known = {
        name
        for name, what in inspect.getmembers(estimator_checks, inspect.isfunction)
        if name.startswith("check_") and what.__module__ == estimator_checks.__name__
    }
    run = {name_of(check) for _, check in estimator_checks_generator(ESTIMATORS[which])}
    table = {**NOT_CHOSEN, **OF_OTHERS[which]}
    left = known - run - set(APART)
    assert {name for name in left if not any(re.fullmatch(p, name) for p in table)} == set()
    assert [p for p in table if not any(re.fullmatch(p, name) for name in left)] == []
    assert set(APART) <= known


@pytest.mark.parametrize("which", ["GRUClassifier", "GRURegressor"])
@pytest.mark.parametrize("name", APART)
def test_the_checks_that_scikit_learn_runs_apart(which: str, name: str) -> None:
    getattr(estimator_checks, name)(which, ESTIMATORS[which])


@pytest.mark.parametrize("which", ["GRUClassifier", "DeepRegressor", "RowForecaster"])
def test_the_check_of_array_dispatch(which: str) -> None:
    """It is skipped unless this variable is set before SciPy is imported."""
    known = {name_of(check) for _, check in estimator_checks_generator(ESTIMATORS[which])}
    if "check_array_api_input" not in known:
        pytest.skip("an older scikit-learn, which does not choose it")
    code = (
        "from test_sklearn_checks import ESTIMATORS, estimator_checks_generator, name_of\n"
        f"for estimator, check in estimator_checks_generator(ESTIMATORS[{which!r}]):\n"
        "    if name_of(check) == 'check_array_api_input':\n"
        "        check(estimator)\n"
        "        print('run')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        text=True,
        cwd=os.path.dirname(__file__),
        env={**os.environ, "SCIPY_ARRAY_API": "1"},
    )
    assert done.stdout == "run\n"
