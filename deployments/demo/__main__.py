"""`python -m deployments.demo [--next]`, in the environment of the embedded stack."""

from __future__ import annotations

import argparse
import sys

from deployments.demo.prepare import deploy, publish
from deployments.terminal.session import session

DEPLOYMENT = "retrain/demo"


def main() -> int:
    """Prepare, trigger, follow, show; the exit code says whether the chain worked."""
    arguments = argparse.ArgumentParser(prog="demo", description=__doc__)
    arguments.add_argument(
        "--next", action="store_true", help="the next drop of recordings arrives"
    )
    drop = 2 if arguments.parse_args().next else 1
    with session() as one:
        publish(one.local_dir, drop, one.console)
        deploy(one.local_dir, one.console)
        return one.retrain(DEPLOYMENT)


if __name__ == "__main__":
    sys.exit(main())
