"""Twenty people at once, and a champion that is promoted while they wait."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.fixtures.app import Visitor, crown, running_app
from tests.fixtures.evaluation import tiny_whisper
from tests.fixtures.hub import HubServer
from tests.fixtures.s3 import S3Server
from whisper_retrain.app.desk import Desk
from whisper_retrain.app.transcription import Speech
from whisper_retrain.app.uploads import Decoded

pytestmark = pytest.mark.slow

PEOPLE = 20


def noise(seed: int) -> bytes:
    sink = io.BytesIO()
    samples = np.random.default_rng(seed).normal(0, 0.1, 16_000).astype(np.float32)
    soundfile.write(sink, samples, 16_000, format="WAV")
    return sink.getvalue()


def test_nobody_fails_and_the_new_champion_is_taken_up_without_a_restart(
    hub_server: HubServer, s3_server: S3Server, tmp_path: Path
) -> None:
    model = tiny_whisper(tmp_path / "model" / "tiny")
    with running_app(hub_server, s3_server.store(), model, tmp_path / "cache") as app:
        visitors = [Visitor(app.url) for _ in range(PEOPLE)]
        first = app.hub.tags(app.repo)["champion"]
        with ThreadPoolExecutor(PEOPLE) as pool:
            jobs = {pool.submit(visitors[n].transcribe, noise(n)): n for n in range(PEOPLE)}
            earliest = next(as_completed(jobs))
            second = crown(app.hub, app.repo, model, note="second")
            found = [job.result() for job in jobs]
        assert [said for _, said in found] == [""] * PEOPLE
        assert len({token for token, _ in found}) == PEOPLE
        before = champion_of(visitors[jobs[earliest]], earliest.result()[0])
        after = champion_of(visitors[0], visitors[0].transcribe(noise(99))[0])
        assert (before, after) == (first, second)


def champion_of(visitor: Visitor, token: str) -> str:
    """The revision that heard a recording as champion."""
    facts = visitor.client.get(f"/transcripts/{token}/file.json").json()
    return str(facts["transcripts"]["champion"]["model"]["revision"])


def test_the_desk_forgets(tmp_path: Path) -> None:
    """After half an hour, at the end, and at the next start after a crash."""
    now_s = [0.0]
    speech = Speech("a" * 64, 1.0, 16_000, 16_000, -20.0, 0.0)
    samples = np.ones(16_000, dtype=np.int16)
    desk = Desk(tmp_path / "desk", clock=lambda: now_s[0])
    token = desk.put("ada", Decoded(speech, samples))
    assert desk.get(token, "bob") is None
    assert desk.get(token, "ada") is not None
    now_s[0] = 1801.0
    assert desk.get(token, "ada") is None
    assert list((tmp_path / "desk").iterdir()) == []
    desk.put("ada", Decoded(speech, samples))
    Desk(tmp_path / "desk")
    assert list((tmp_path / "desk").iterdir()) == []
