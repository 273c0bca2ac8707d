"""Fixtures for all tests: real servers on loopback, started once a session when first asked for."""

import os
from pathlib import Path

import pytest

# Workers share the cores: libraries read this at their first import, child processes too.
os.environ.setdefault("OMP_NUM_THREADS", "1")

pytest_plugins = [
    "tests.fixtures.s3",
    "tests.fixtures.corpus",
    "tests.fixtures.hub",
    "tests.fixtures.recordings",
    "tests.fixtures.releases",
    "tests.fixtures.chain",
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests first, so that no worker is left alone with one of them at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """The folder that all workers of a test run have in common, for what is made once."""
    own = tmp_path_factory.getbasetemp()
    return own if worker_id == "master" else own.parent
