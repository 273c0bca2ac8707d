"""README's "Your own recordings", on a real stack, as far as nothing needs to be trained.

The whole way, with training, is walked by `.ci/run`.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.fixtures.recordings import corpus, write_folder
from whisper_retrain.local import stack

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@dataclass(frozen=True)
class Newcomer:
    """A home folder, and a stack that is not running yet."""

    home: Path

    @property
    def recordings(self) -> Path:
        return self.home / "recordings"

    def types(self, command: str) -> subprocess.CompletedProcess[str]:
        """What a shell in the checkout makes of a command."""
        own = {"HOME": str(self.home), "WHISPER_RETRAIN_LOCAL_DIR": str(self.home / ".local")}
        command = command.replace(
            ".venv/bin/whisper-retrain", f"{shlex.quote(sys.executable)} -m whisper_retrain"
        )
        return subprocess.run(
            ["bash", "-c", command],
            env=os.environ | own,
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture(scope="module")
def newcomer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Newcomer]:
    home = tmp_path_factory.mktemp("home")
    try:
        yield Newcomer(home)
    finally:
        stack.down(home / ".local", progress=lambda _: None)


def the_readme_says() -> str:
    section = (
        (ROOT / "README.md").read_text().split("## Your own recordings\n")[1].split("\n## ")[0]
    )
    [command] = re.findall(r"```\n(.*?)```", section, re.DOTALL)
    return str(command).strip()


def test_what_can_never_be_decided_is_said_before_anything_is_trained(newcomer: Newcomer) -> None:
    rows = corpus(speakers=2, phrases=40)
    faulty = {**rows[0], "id": "broken", "path": b"no audio at all", "sentence": "I am broken now."}
    write_folder(newcomer.recordings, [*rows, faulty])
    done = newcomer.types(the_readme_says())
    said = re.sub(r"\s+", " ", done.stdout)
    assert done.returncode == 3, done.stdout + done.stderr
    assert "audio file_name (guessed)" in said
    assert "reference sentence (guessed)" in said
    assert "speaker speaker_id (guessed)" in said
    assert "test: 20% of the speakers, not in train (chosen for 21 recordings)" in said
    assert re.search(r"quarantined │ 1 │ │ │ undecodable", said), said
    assert re.search(r"test-set-size: the test set has \d+ reference words, 200 are needed;", said)
    assert re.search(r"what helps: about \d+\.\d times as many recordings like these", said)
    assert "medical-terms: the test set has 10 medical terms, 30 are needed" in said
    assert "Nothing was trained" in said
    assert "retrain/demo" not in said


def test_a_wrong_column_or_place_is_said_at_once(newcomer: Newcomer) -> None:
    write_folder(newcomer.recordings, corpus(speakers=2, phrases=4))
    wrong = newcomer.types(f"{the_readme_says()} --reference-column words")
    assert wrong.returncode == 1
    assert "no column 'words'" in wrong.stderr
    gone = newcomer.types(the_readme_says().replace("~/recordings", "~/recordingz"))
    assert gone.returncode == 1
    assert "no such folder" in gone.stderr
    for done in (wrong, gone):
        assert "Traceback" not in done.stderr
        assert done.stdout == "", "no service was started"
