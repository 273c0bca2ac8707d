"""Which checks belong to a scope, and running them all at once."""

from __future__ import annotations

import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from whisper_retrain.doctor import inputs, machine, services
from whisper_retrain.doctor.checks import Check, CheckResult, CheckScope
from whisper_retrain.edges.hub import HubClient
from whisper_retrain.settings import Settings


def run_checks(scope: CheckScope, settings: Settings) -> list[CheckResult]:
    """All checks of the scope, side by side, in a fixed order; never raises for what is wrong."""
    hub = services.hub_client()
    checks = [*_machine_checks(settings, scope), *_service_checks(settings, hub, scope)]
    checks += _input_checks(hub, scope)
    with ThreadPoolExecutor(max_workers=len(checks)) as pool:
        return list(pool.map(Check.run, checks))


def _machine_checks(settings: Settings, scope: CheckScope) -> list[Check]:
    folders = {settings.cache_dir.absolute(), Path(tempfile.gettempdir())}
    if home := os.environ.get("HF_HOME"):
        folders.add(Path(home))
    checks = [
        Check("Python", machine.python),
        Check("memory", machine.memory),
        *(Check("disk", partial(machine.disk, folder=folder)) for folder in sorted(folders)),
        Check("GPU", machine.gpu),
    ]
    if scope.training and scope.training.compile:
        checks.append(Check("torch.compile", machine.compiler))
    return checks


def _service_checks(settings: Settings, hub: HubClient, scope: CheckScope) -> list[Check]:
    urls = {"S3": services.s3_endpoint(), "Hub": hub.endpoint}
    checks = [
        Check("clock", partial(services.clock, urls=urls)),
        Check("S3", partial(services.s3, location=settings.store)),
        Check("Prefect", partial(services.prefect, stages=settings.stages)),
        Check("Hub token", partial(services.hub_token, hub=hub, release=scope.release)),
    ]
    if settings.stages and os.environ.get("PREFECT_API_URL"):
        look = partial(services.placed_stages, stages=settings.stages)
        checks.append(Check("placed stages", look))
    if scope.release:
        look = partial(services.release_repo, hub=hub, release=scope.release)
        checks.append(Check("release repo", look))
    return checks


def _input_checks(hub: HubClient, scope: CheckScope) -> list[Check]:
    checks = [
        Check(f"dataset {source.name}", partial(inputs.source, hub=hub, source=source))
        for source in (scope.dataset.sources if scope.dataset else ())
    ]
    if scope.base_model:
        look = partial(inputs.base_model, hub=hub, config=scope.base_model)
        checks.append(Check("base model", look))
    return checks
