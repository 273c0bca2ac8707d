"""The embedded stack: Prefect server and worker, S3, Hub and a webhook receiver, on loopback.

    up(local_dir)            start what is missing or broken, leave the rest alone
    down(local_dir)          stop everything, orphans included
    status(local_dir)        what runs, as values
    environment(local_dir)   the variables that point every client at the stack

There is no supervising process that could die: `up` starts detached services and returns. What
runs is read from the process table, where each service carries the stack's folder in its
environment, so no pid file can be stale. All state lies under the folder (`.local`).
"""

from whisper_retrain.local.stack.environment import environment
from whisper_retrain.local.stack.supervisor import ServiceStatus, Stack, down, status, up

__all__ = ["ServiceStatus", "Stack", "down", "environment", "status", "up"]
