"""The variables that point every client at the stack, and away from everything else.

Knows the clients' names for things; starts nothing.
"""

from __future__ import annotations

import os
from pathlib import Path

from whisper_retrain.errors import InputError
from whisper_retrain.local.stack.layout import PORT_NAMES, Credentials, Layout, State

BUCKET = "whisper-retrain"
HUB_USER = "demo"
WORK_POOL = "whisper-retrain"
DEMO_SOURCE = "demo"
"""Name of the demo corpus among a dataset's sources: nobody's recordings, anybody may try them."""


def environment(local_dir: Path) -> dict[str, str]:
    """Variables for a process that is to use the stack in `local_dir`; merge over os.environ.

    Raises InputError when no stack, or only one of an earlier version, was started there.
    """
    layout = Layout(local_dir)
    state, credentials = layout.load_state(), layout.load_credentials()
    if state is None or credentials is None or not set(PORT_NAMES) <= state.ports.keys():
        raise InputError(
            "no stack of this version was started here",
            where=str(layout.dir),
            remedy=f"whisper-retrain stack up --dir '{local_dir}'",
        )
    return client_variables(layout, state, credentials)


def client_variables(layout: Layout, state: State, credentials: Credentials) -> dict[str, str]:
    """All variables, from the state as it is."""
    ports = state.ports
    return {
        "WHISPER_RETRAIN_LOCAL_DIR": str(layout.dir),
        "WHISPER_RETRAIN_CACHE_DIR": str(layout.dir / "cache"),
        "WHISPER_RETRAIN_STORE": f"s3://{BUCKET}",
        "WHISPER_RETRAIN_NOTIFICATION_URL": f"http://127.0.0.1:{ports['receiver']}/notify",
        "WHISPER_RETRAIN_APP_URL": f"http://127.0.0.1:{ports['app']}",
        "WHISPER_RETRAIN_APP_EXAMPLES": DEMO_SOURCE,
        **_prefect(layout, ports["prefect"]),
        **_s3(layout, ports["s3"], credentials),
        **_hub(layout, ports["hub"], credentials),
        **_tracking(layout),
        **_quiet(layout),
    }


def _prefect(layout: Layout, port: int) -> dict[str, str]:
    return {
        "PREFECT_HOME": str(layout.dir / "prefect"),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_UI_URL": f"http://127.0.0.1:{port}",
        # A wrong URL must fail, not silently start a throw-away server.
        "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_API_KEY": "",
        # Task results in S3 (the block is made by deployments.setup), our log lines in the UI.
        "PREFECT_DEFAULT_RESULT_STORAGE_BLOCK": "s3-bucket/whisper-retrain",
        "PREFECT_LOGGING_EXTRA_LOGGERS": "whisper_retrain",
    }


def _s3(layout: Layout, port: int, credentials: Credentials) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": credentials.s3_access_key,
        "AWS_SECRET_ACCESS_KEY": credentials.s3_secret_key,
        "AWS_SESSION_TOKEN": "",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        # A profile of the user's own must not come in between, nor a look at the cloud's metadata.
        "AWS_PROFILE": "default",
        "AWS_CONFIG_FILE": str(layout.aws_config_file),
        "AWS_SHARED_CREDENTIALS_FILE": str(layout.aws_config_file),
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def _hub(layout: Layout, port: int, credentials: Credentials) -> dict[str, str]:
    home = layout.dir / "hf"
    return {
        "HF_ENDPOINT": f"http://127.0.0.1:{port}",
        "HF_TOKEN": credentials.hub_token,
        "HF_HOME": str(home),
        "HF_HUB_CACHE": str(home / "hub"),
        "HF_DATASETS_CACHE": str(home / "datasets"),
        "HF_TOKEN_PATH": str(home / "token"),
        # The Hub server speaks LFS; see its package for what it leaves out.
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_OFFLINE": "0",
    }


def _tracking(layout: Layout) -> dict[str, str]:
    home = layout.dir / "wandb"
    return {
        "WANDB_MODE": os.environ.get("WANDB_MODE", "offline"),
        "WANDB_DIR": str(home),
        "WANDB_CACHE_DIR": str(home / "cache"),
        "WANDB_CONFIG_DIR": str(home / "config"),
        "WANDB_DATA_DIR": str(home / "data"),
        "WANDB_ERROR_REPORTING": "false",
    }


def _quiet(layout: Layout) -> dict[str, str]:
    direct = ["127.0.0.1", "localhost"]
    given = os.environ.get("NO_PROXY") or os.environ.get("no_proxy") or ""
    direct += [host for host in given.split(",") if host and host not in direct]
    return {
        "MPLCONFIGDIR": str(layout.dir / "matplotlib"),
        "XDG_CACHE_HOME": str(layout.dir / "cache" / "xdg"),
        "NO_PROXY": ",".join(direct),
        "no_proxy": ",".join(direct),
        "DO_NOT_TRACK": "1",
        "GRADIO_ANALYTICS_ENABLED": "False",
    }
