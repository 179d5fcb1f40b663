"""Fixtures: one ISA level at a time, threads restored; warnings are errors."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

import gru
from commands import command, folder, saved_models
from model_files import path

__all__ = ["command", "folder", "path", "saved_models"]  # fixtures

os.environ.setdefault("KERAS_BACKEND", "torch")  # its own default need not be installed

LEVELS = ("baseline", "v3", "v4")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("filterwarnings", "error")
    config.addinivalue_line("markers", "exhaustive: minutes long; runs with GRU_EXHAUSTIVE=1")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.environ.get("GRU_EXHAUSTIVE") != "1":
        for item in items:
            if item.get_closest_marker("exhaustive"):
                item.add_marker(pytest.mark.skip(reason="GRU_EXHAUSTIVE=1 runs it"))


@pytest.fixture
def restore_isa() -> Iterator[None]:
    """The test may set the level."""
    before = gru.active_isa()
    yield
    gru.set_isa(before)


@pytest.fixture(params=LEVELS)
def isa(request: pytest.FixtureRequest, restore_isa: None) -> str:
    """Every level in turn, verified to be the one in use."""
    level: str = request.param
    if level not in gru.isa_levels():
        pytest.skip(f"this CPU or build has no {level}")
    gru.set_isa(level)
    assert gru.active_isa() == level
    return level


@pytest.fixture
def threads() -> Iterator[None]:
    """The test may set the number of threads."""
    before = gru.get_num_threads()
    yield
    gru.set_num_threads(before)
