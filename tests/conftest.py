"""Fixtures for all tests: real servers on loopback, started once a session when first asked for."""

import os

# Two workers share the cores: libraries read this at their first import, child processes too.
os.environ.setdefault("OMP_NUM_THREADS", "1")

pytest_plugins = [
    "tests.fixtures.s3",
    "tests.fixtures.corpus",
    "tests.fixtures.hub",
    "tests.fixtures.recordings",
    "tests.fixtures.releases",
    "tests.fixtures.chain",
]
