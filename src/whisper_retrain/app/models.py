"""The models that are tried: found by the Hub's tags, loaded when first used, three at most.

A champion that is promoted meanwhile is taken up by the next request. While a tag is being moved,
or the Hub does not answer, the last known champion goes on answering.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from whisper_retrain.app.transcription import ModelAt, ModelRole
from whisper_retrain.config import ReleaseConfig
from whisper_retrain.edges.hub import Hub
from whisper_retrain.edges.store import ObjectStore
from whisper_retrain.errors import WhisperRetrainError
from whisper_retrain.evaluation.transcriber import Transcriber
from whisper_retrain.history.retrainings import Retraining, latest_retraining, retrained_last
from whisper_retrain.model_files import fetch_revision
from whisper_retrain.release.transaction import champions, current_champion

LOADED_AT_MOST = 3
"""Champion, previous champion and base model."""
LOOK_EVERY_S = 2.0

Load = Callable[[Path], Transcriber]
"""Loads the transcriber of a model's folder."""

log = logging.getLogger("whisper_retrain.app")


class Release:
    """A release repo: who is champion in it, who was before, and what all began with."""

    def __init__(self, hub: Hub, store: ObjectStore, place: str | None = None) -> None:
        self._hub, self._store, self._place = hub, store, place
        self._lock = threading.Lock()
        self._roles: dict[ModelRole, ModelAt] = {}
        self._looked_s = -LOOK_EVERY_S

    @property
    def config(self) -> ReleaseConfig | None:
        """The repo given (with `@tag` another tag), or the one that was retrained last."""
        if self._place is None:
            last = retrained_last(self._store)
            return last.request.release if last else None
        repo, _, tag = self._place.partition("@")
        return ReleaseConfig(repo=repo, champion_tag=tag) if tag else ReleaseConfig(repo=repo)

    def roles(self) -> dict[ModelRole, ModelAt]:
        """The models by role, the champion first; empty without a champion."""
        with self._lock:
            if time.monotonic() - self._looked_s >= LOOK_EVERY_S:
                try:
                    self._roles = self._look() or self._roles
                except WhisperRetrainError as error:
                    if not self._roles:
                        raise
                    log.warning("the champion of before goes on: %s", type(error).__name__)
                self._looked_s = time.monotonic()
            return dict(self._roles)

    def retraining(self) -> Retraining | None:
        """The newest finished retraining."""
        config = self.config
        return latest_retraining(self._store, config) if config else None

    def _look(self) -> dict[ModelRole, ModelAt]:
        config = self.config
        champion = current_champion(config, self._hub) if config else None
        if config is None or champion is None:
            return {}
        roles: dict[ModelRole, ModelAt] = {"champion": ModelAt(config.repo, champion)}
        past = [one for one in champions(self._store, config) if one.revision == champion]
        if past and past[-1].previous_revision:
            roles["previous"] = ModelAt(config.repo, past[-1].previous_revision)
        last = self.retraining()
        base = last.evidence.run.base_model if last else None
        if base and base.repo and base.revision:
            roles["base"] = ModelAt(base.repo, base.revision)
        return roles


class Models:
    """Loaded transcribers, one copy of each model, for one request at a time."""

    def __init__(self, hub: Hub, cache_dir: Path, load: Load) -> None:
        self._hub, self._cache, self._load = hub, cache_dir, load
        self._loaded: OrderedDict[ModelAt, Transcriber] = OrderedDict()
        self._lock = threading.Lock()

    @contextmanager
    def use(self, model: ModelAt) -> Iterator[Transcriber]:
        """The transcriber of a model, for oneself alone as long as the block lasts."""
        with self._lock:
            if model not in self._loaded:
                while len(self._loaded) >= LOADED_AT_MOST:
                    self._loaded.popitem(last=False)
                folder = fetch_revision(self._hub, model.repo, model.revision, self._cache)
                self._loaded[model] = self._load(folder)
            self._loaded.move_to_end(model)
            yield self._loaded[model]
