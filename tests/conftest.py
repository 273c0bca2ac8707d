"""Fixtures for all tests: real servers on loopback, started once a session when first asked for."""

from importlib.util import find_spec

pytest_plugins = [
    name
    for name in ("tests.fixtures.s3", "tests.fixtures.hub", "tests.fixtures.recordings")
    if find_spec(name) is not None
]
