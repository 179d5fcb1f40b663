"""Every example in a docstring runs and gives what it shows."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import gru

MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(gru.__path__, "gru.")
    if module.name not in ("gru._core", "gru.__main__")
)
# What the examples of some modules need besides NumPy.
NEEDS = {
    "gru.plot": "matplotlib",
    "gru.estimators": "sklearn",
    "gru.service": "starlette",
    "gru.service.server": "uvicorn",
}


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name: str) -> None:
    for package in (package for start, package in NEEDS.items() if name.startswith(start)):
        pytest.importorskip(package)
    result = doctest.testmod(importlib.import_module(name), verbose=False)
    assert result.failed == 0


def test_every_public_object_has_a_docstring_and_an_example() -> None:
    for name in gru.__all__:
        thing = getattr(gru, name)
        if name == "__version__" or isinstance(thing, type(gru)):
            continue
        assert thing.__doc__, name
        assert name in ("Layer", "History") or "Examples" in thing.__doc__, name
