"""Where the stack keeps things: folders, the ports it chose, the credentials it made.

Knows files and sockets, not services: which port belongs to whom is a name here.
"""

from __future__ import annotations

import json
import os
import random
import secrets
import socket
import tempfile
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from whisper_retrain.errors import InputError
from whisper_retrain.whole import write_whole

FORMAT = 1
PORT_NAMES = (
    "prefect",
    "worker",
    "s3",
    "s3-master",
    "s3-volume",
    "s3-filer",
    "s3-admin",
    "hub",
    "receiver",
    "app",
)
# SeaweedFS also takes each port + GRPC_OFFSET; both lie below Linux' ephemeral ports (32768 up),
# so no outgoing connection can hold one of them by chance.
PORT_RANGE = range(12_000, 22_000)
GRPC_OFFSET = 10_000

FOLDERS = ("home", "logs", "prefect", "s3", "hub", "hf", "wandb", "matplotlib", "cache")


class Credentials(BaseModel):
    """Made at first start; the file is readable by its owner only."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    s3_access_key: str
    """Of the S3 server."""
    s3_secret_key: str
    """Of the S3 server."""
    hub_token: str
    """May write."""
    hub_read_token: str
    """May only read."""


class State(BaseModel):
    """What `stack.json` holds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = FORMAT
    """Of the file."""
    ports: dict[str, int]
    """Name -> TCP port."""


class Layout:
    """The folder of one stack."""

    def __init__(self, local_dir: Path) -> None:
        self.dir = Path(os.path.realpath(local_dir))
        self.state_file = self.dir / "stack.json"
        self.credentials_file = self.dir / "credentials.json"
        self.lock_file = self.dir / "stack.lock"
        self.notifications_file = self.dir / "notifications.jsonl"
        self.s3_keys_file = self.dir / "s3-keys.json"
        self.hub_tokens_file = self.dir / "hub-tokens.json"
        self.aws_config_file = self.dir / "aws-config"

    def log_file(self, service: str) -> Path:
        """Where a service's output goes."""
        return self.dir / "logs" / f"{service}.log"

    def create(self) -> None:
        """Make the folders; the outermost is closed to other users."""
        try:
            self.dir.mkdir(parents=True, exist_ok=True, mode=0o700)
            for name in FOLDERS:
                (self.dir / name).mkdir(exist_ok=True)
        except OSError as error:
            raise InputError(
                "the stack's folder cannot be written",
                where=str(self.dir),
                got=str(error),
                remedy="give it to this user, or choose another one with --dir",
            ) from error

    def load_state(self) -> State | None:
        """The stored state, maybe without a port that a newer version needs; None without one.

        Raises InputError when it is unreadable.
        """
        try:
            raw = json.loads(self.state_file.read_text("utf-8"))
            found = raw.get("format") if isinstance(raw, dict) else None
            if isinstance(found, int) and found != FORMAT:
                raise InputError(
                    "the stack was made by another version",
                    where=str(self.state_file),
                    expected=f"format {FORMAT}",
                    got=f"format {found}",
                    remedy="use that version, or remove the folder to start anew",
                )
            state = State.model_validate(raw)
        except FileNotFoundError:
            return None
        except (ValueError, ValidationError) as error:
            raise CorruptStateError(
                "not a state of this stack",
                where=str(self.state_file),
                got=str(error),
                remedy="`whisper-retrain stack up` makes a new one; no data is lost",
            ) from error
        return state

    def save_state(self, state: State) -> None:
        """Replace the stored state at once."""
        write_whole(self.state_file, state.model_dump_json(indent=1), private=True)

    def load_credentials(self) -> Credentials | None:
        """The stored credentials; None when there are none that can be read."""
        try:
            return Credentials.model_validate_json(self.credentials_file.read_text("utf-8"))
        except (FileNotFoundError, ValidationError, UnicodeDecodeError):
            return None

    def save_credentials(self, credentials: Credentials, hub_user: str) -> None:
        """Store credentials, in the forms that the services read too; owner only, each file."""
        write_whole(self.credentials_file, credentials.model_dump_json(indent=1), private=True)
        write_whole(
            self.s3_keys_file, json.dumps(_s3_identities(credentials), indent=1), private=True
        )
        tokens = {
            credentials.hub_token: {"user": hub_user, "role": "write", "orgs": []},
            credentials.hub_read_token: {"user": hub_user, "role": "read", "orgs": []},
        }
        write_whole(self.hub_tokens_file, json.dumps(tokens, indent=1), private=True)
        write_whole(self.aws_config_file, "[default]\nregion = us-east-1\n", private=True)


class CorruptStateError(InputError):
    """`stack.json` holds no state; it can be made anew."""


def temporary_dir() -> Path:
    """A folder for temporary files of this user alone; short, since sockets may lie in it.

    Prefect's worker keeps files in `runner_storage` there, which whoever came first would own.
    """
    name, above = f"whisper-retrain-{os.getuid()}", Path(tempfile.gettempdir())
    folder = above if above.name == name else above / name
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise InputError(
            "the folder for temporary files belongs to somebody else",
            where=str(folder),
            remedy="remove it, or set TMPDIR to another place",
        )
    return folder


def new_credentials() -> Credentials:
    """Random credentials."""
    return Credentials(
        s3_access_key=secrets.token_hex(10),
        s3_secret_key=secrets.token_hex(20),
        hub_token=f"hf_{secrets.token_hex(17)}",
        hub_read_token=f"hf_{secrets.token_hex(17)}",
    )


def _s3_identities(credentials: Credentials) -> dict[str, object]:
    key = {"accessKey": credentials.s3_access_key, "secretKey": credentials.s3_secret_key}
    actions = ["Admin", "Read", "Write", "List", "Tagging"]
    return {"identities": [{"name": "owner", "credentials": [key], "actions": actions}]}


def is_free(port: int) -> bool:
    """Whether a server could listen on the port, and on its gRPC twin, on loopback."""
    for number in (port, port + GRPC_OFFSET):
        with socket.socket() as probe:
            # Without it, connections of a server that just ended would count as taken.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", number))
            except OSError:
                return False
    return True


def choose_ports(
    names: Iterable[str], keep: Mapping[str, int], taken: Collection[int] = ()
) -> dict[str, int]:
    """A free port for each name, beside those in `keep`; random, so that two stacks don't race."""
    ports = dict(keep)
    for name in names:
        used = {*ports.values(), *taken}
        candidates = (random.choice(PORT_RANGE) for _ in range(1000))
        port = next((p for p in candidates if p not in used and is_free(p)), None)
        if port is None:
            raise InputError(
                "no free port",
                where=f"127.0.0.1, {PORT_RANGE.start} to {PORT_RANGE.stop - 1}",
                remedy="stop what holds them",
            )
        ports[name] = port
    return ports
