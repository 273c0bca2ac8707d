"""Where the services are: environment variables or `.env`, and nothing else.

Credentials keep the names that their own clients read (AWS_*, HF_*, PREFECT_*, WANDB_*), so that
no secret passes through this library's own values, parameters or logs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

StageName = Annotated[str, Field(pattern=r"^(fine-tune|gate)$")]
DeploymentName = Annotated[str, Field(pattern=r"^[^/\s]+/[^/\s]+$")]


class Settings(BaseSettings):
    """Settings of this project; see .env.example for the clients' own variables."""

    model_config = SettingsConfigDict(
        env_prefix="WHISPER_RETRAIN_", env_file=".env", extra="ignore", frozen=True
    )

    store: str = Field(
        default="s3://whisper-retrain",
        pattern=r"^s3://[a-z0-9.\-]{3,63}(/.*)?$",
        description="S3 bucket and optional prefix of all artifacts.",
    )
    cache_dir: Path = Field(
        default=Path(".local/cache"), description="Local cache of downloaded artifacts."
    )
    cache_max_bytes: int = Field(default=20 * 2**30, ge=2**20)
    """Cap of the local cache of audio shards."""
    local_dir: Path = Field(
        default=Path(".local"), description="Data of the embedded stack and of the demo."
    )
    wandb_project: str = Field(
        default="whisper-retrain", min_length=1, description="W&B project of the training runs."
    )
    gpu_slots: int | None = Field(
        default=None,
        ge=1,
        description="GPU tasks at once, over all machines; None: one, or what a person has set.",
    )
    stages: dict[StageName, DeploymentName] = Field(
        default={},
        description="Stage -> deployment (flow/name) that does it on a work pool of its own.",
    )
    shards: str = Field(
        default="threads:2",
        pattern=r"^(threads:[1-9]\d*|dask://[^\s/:]+:\d+)$",
        description="Who works on shards: threads, at a refresh; or a Dask cluster, at a gate too.",
    )
    app_url: str | None = Field(
        default=None,
        pattern=r"^https?://[^/\s]+$",
        description="Address of the web application as people open it; reports are linked there.",
    )
    app_accounts: Path | None = Field(
        default=None, description="Accounts of the web application; without one: loopback only."
    )
    app_release: str | None = Field(
        default=None,
        description="Release repo whose champion is tried; None: the one that was retrained last.",
    )
    app_examples: str | None = Field(
        default=None,
        description="Dataset source whose validation recordings anybody may try; None: none.",
    )


def load_settings() -> Settings:
    """The settings as the environment has them now."""
    return Settings()
