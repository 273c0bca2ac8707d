"""`datasets` and `transformers` against the Hub server, each in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.fixtures.hub import HubServer


def run_client(hub_server: HubServer, cache: Path, library: str, repo: str) -> dict[str, Any]:
    """Run one round trip of hub_clients.py and return what it saw."""
    script = Path(__file__).with_name("hub_clients.py")
    done = subprocess.run(
        [sys.executable, str(script), library, repo],
        env={**os.environ, **hub_server.environment(cache), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return dict(json.loads(done.stdout.splitlines()[-1]))


def test_dataset_with_an_audio_column(hub_server: HubServer, tmp_path: Path) -> None:
    repo = hub_server.new_name()
    saw = run_client(hub_server, tmp_path, "datasets", repo)
    assert saw["rows"] == {"train": 3, "test": 1}
    assert saw["column"].startswith("Audio(")
    assert saw["same_bytes"]
    assert saw["by_file"] == "tone 400"
    files = hub_server.api().get_paths_info(repo, "data", repo_type="dataset")
    assert [item.path for item in files] == ["data"]


def test_model_processor_and_card(hub_server: HubServer, tmp_path: Path) -> None:
    saw = run_client(hub_server, tmp_path, "transformers", hub_server.new_name())
    assert saw == {
        "same_weights": True,
        "token_ids": [2, 3],
        "mel_bins": 80,
        "config": "whisper",
        "license": "mit",
    }
