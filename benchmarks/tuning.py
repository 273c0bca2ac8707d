"""What a tuning is worth: its proposal against the settings as they are and against random search.

    python benchmarks/tuning.py [--seeds 1 2 3] [--json FILE] [--cache DIR]

A seed deals the demo's sentences to its voices in another way, and is the seed of all trainings
and random points. The flow `tune` runs for real: a Prefect server, S3 and a Hub on loopback,
tiny.en, the demo's two drops with a third of their phrases for validation. Then random points
of the same space are trained for the longest rung, for as many compute-seconds as the tuning
spent, and the best of them is chosen as a tuning chooses. Proposal, random choice and the settings
as they are meet on the year's vault: 1,200 utterances of voices and sentences that none of them
has heard. Each seed has a process and a place in S3 of its own, so that no tuning learns from
another one's trials. What was done lies in --cache: a stopped run goes on.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.fixtures.hub import HubServer
from tests.fixtures.s3 import BUCKET, running_s3
from whisper_retrain.local.demo.base_model import convert_base_model

ROOT = Path(__file__).parents[1]
BASE_REPO = "demo/whisper-tiny.en"
RIVALS = ("as now", "random")
WHO = ("as now", "proposed", "random")

Figures = dict[str, Any]


def main() -> None:
    """A tuning and its rivals for each seed."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped; run again to go on"))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--cache", type=Path, default=Path(".local/cache/tuning"))
    arguments = parser.parse_args()
    cache: Path = arguments.cache.absolute()
    with serving(cache) as environment:
        found = {seed: _asked(seed, cache, environment) for seed in arguments.seeds}
    print(table(found))
    text = json.dumps(summary(found), indent=1)
    print(text)
    if arguments.json:
        arguments.json.write_text(text + "\n")


@contextmanager
def serving(cache: Path) -> Iterator[dict[str, str]]:
    """S3 with what was done before, a Hub with the base model; the variables that name them."""
    for name in ("s3", "hub"):
        (cache / name).mkdir(parents=True, exist_ok=True)
    hub = HubServer(cache / "hub")
    with running_s3(cache / "s3", keep=True) as s3:
        s3.store("ready")  # makes the bucket
        hub.start()
        try:
            hub.api().create_repo(BASE_REPO, exist_ok=True)
            folder = convert_base_model(cache / "whisper-tiny.en")
            hub.api().upload_folder(repo_id=BASE_REPO, folder_path=folder)
            yield s3.environment() | hub.environment(cache / "hf")
        finally:
            hub.stop()


def _asked(seed: int, cache: Path, environment: Mapping[str, str]) -> Figures:
    """One seed in a process of its own."""
    print(f"seed {seed}", flush=True)
    answer = cache / f"seed-{seed}.json"
    own = {
        "WHISPER_RETRAIN_STORE": f"s3://{BUCKET}/tuning-{seed}",
        "WHISPER_RETRAIN_CACHE_DIR": str(cache),
        "WHISPER_RETRAIN_LOCAL_DIR": str(cache / "local"),
        "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)]),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    }
    command = [sys.executable, "-m", "benchmarks.tuning_seed", str(seed), BASE_REPO, str(answer)]
    with subprocess.Popen(command, env=os.environ | dict(environment) | own, cwd=ROOT) as process:
        try:
            failed = process.wait()
        except SystemExit:
            process.terminate()  # it ends its Prefect server and the training under way
            raise
    if failed:
        sys.exit(f"seed {seed} ended with exit code {failed}")
    found: Figures = json.loads(answer.read_text())
    return found


def summary(found: Mapping[int, Figures]) -> Figures:
    """All that the JSON holds: means over seeds, and each seed's own."""
    seeds = list(found.values())
    return {
        "vault_wer": {who: _mean([one["vault_wer"][who] for one in seeds]) for who in WHO},
        "against": {
            rival: _mean([one["against"][rival]["difference"] for one in seeds]) for rival in RIVALS
        },
        "surely_better": {
            rival: sum(one["against"][rival]["high"] < 0 for one in seeds) for rival in RIVALS
        },
        "seeds": found,
    }


def table(found: Mapping[int, Figures]) -> str:
    """Markdown: a row a seed, WER on the vault, and what was spent."""
    lines = [
        "| seed | as now | proposed | random | to as now | to random | trials | seconds |",
        "|---:|---:|---:|---:|---|---|---|---:|",
    ]
    for seed, one in found.items():
        wers = " | ".join(f"{100 * one['vault_wer'][who]:.1f} %" for who in WHO)
        against = " | ".join(_points(one["against"][rival]) for rival in RIVALS)
        trials = f"{one['trials']} and {one['random_trials']}"
        lines.append(f"| {seed} | {wers} | {against} | {trials} | {one['spent_s']:.0f} |")
    return "\n".join(lines)


def _points(change: Mapping[str, float]) -> str:
    points = (100 * change[name] for name in ("difference", "low", "high"))
    return "{:+.1f} ({:+.1f} to {:+.1f})".format(*points)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


if __name__ == "__main__":
    main()
