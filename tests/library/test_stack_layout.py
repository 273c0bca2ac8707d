"""The stack's folder: ports, credentials, state, and what is wrong with each."""

from __future__ import annotations

import json
import socket
import stat
from pathlib import Path

import pytest

from whisper_retrain.errors import InputError
from whisper_retrain.local.stack import environment
from whisper_retrain.local.stack.layout import (
    GRPC_OFFSET,
    PORT_NAMES,
    CorruptStateError,
    Layout,
    State,
    choose_ports,
    is_free,
    new_credentials,
)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    found = Layout(tmp_path / "a folder" / ".local")
    found.create()
    return found


def settled(layout: Layout) -> Layout:
    layout.save_state(State(ports=choose_ports(PORT_NAMES, keep={})))
    layout.save_credentials(new_credentials(), "demo")
    return layout


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_credentials_are_for_their_owner_only(layout: Layout) -> None:
    settled(layout)
    assert mode(layout.dir) == 0o700
    for file in (layout.credentials_file, layout.s3_keys_file, layout.hub_tokens_file):
        assert mode(file) == 0o600, file


def test_credentials_that_others_could_read_are_closed_again(layout: Layout) -> None:
    credentials = new_credentials()
    layout.credentials_file.write_text(credentials.model_dump_json())
    layout.credentials_file.chmod(0o644)
    layout.save_credentials(credentials, "demo")
    assert mode(layout.credentials_file) == 0o600
    assert layout.load_credentials() == credentials


def test_every_stack_has_its_own_credentials() -> None:
    assert new_credentials() != new_credentials()


def test_the_hub_has_a_write_and_a_read_token(layout: Layout) -> None:
    credentials = new_credentials()
    layout.save_credentials(credentials, "demo")
    tokens = json.loads(layout.hub_tokens_file.read_text())
    assert tokens[credentials.hub_token]["role"] == "write"
    assert tokens[credentials.hub_read_token]["role"] == "read"


def test_unreadable_credentials_are_none(layout: Layout) -> None:
    layout.credentials_file.write_bytes(b"\xff{")
    assert layout.load_credentials() is None


@pytest.mark.parametrize("content", ["", "{", "[]", '{"format": 1}', '{"format": 1, "ports": 3}'])
def test_a_corrupt_state_is_told_from_none(layout: Layout, content: str) -> None:
    assert layout.load_state() is None
    layout.state_file.write_text(content)
    with pytest.raises(CorruptStateError, match="stack up"):
        layout.load_state()


def test_a_state_of_another_version_is_not_touched(layout: Layout) -> None:
    layout.state_file.write_text('{"format": 99, "anything": "else"}')
    with pytest.raises(InputError, match="another version") as caught:
        layout.load_state()
    assert not isinstance(caught.value, CorruptStateError)


def test_a_state_of_before_a_service_was_added_keeps_its_ports(layout: Layout) -> None:
    layout.save_state(State(ports={"prefect": 12_345}))
    assert layout.load_state() == State(ports={"prefect": 12_345})


def test_ports_are_distinct_and_free() -> None:
    ports = choose_ports(PORT_NAMES, keep={})
    assert len(set(ports.values())) == len(PORT_NAMES)
    assert all(is_free(port) for port in ports.values())


@pytest.mark.parametrize("offset", [0, GRPC_OFFSET])
@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])
def test_a_port_or_its_grpc_twin_may_be_taken(address: str, offset: int) -> None:
    port = choose_ports(["any"], keep={})["any"]
    with socket.socket() as taken:
        taken.bind((address, port + offset))
        taken.listen()
        assert not is_free(port)
    assert is_free(port)


def test_ports_that_are_kept_stay() -> None:
    ports = choose_ports(["hub"], keep={"s3": 12_001}, taken=[12_002])
    assert ports["s3"] == 12_001
    assert ports["hub"] not in {12_001, 12_002}


def test_the_environment_of_no_stack_says_how_to_start_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="stack up"):
        environment(tmp_path / "nothing")


def test_the_environment_overrides_what_would_lead_elsewhere(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = {
        "PREFECT_API_URL": "https://api.prefect.cloud/x",
        "PREFECT_API_KEY": "secret",
        "AWS_PROFILE": "work",
        "AWS_SESSION_TOKEN": "secret",
        "HF_TOKEN": "hf_real",
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": "/home/somebody",
        "NO_PROXY": "intranet",
    }
    found = {**elsewhere, **environment(settled(layout).dir)}
    assert found["PREFECT_API_URL"].startswith("http://127.0.0.1:")
    assert {found["PREFECT_API_KEY"], found["AWS_SESSION_TOKEN"]} == {""}
    assert found["AWS_PROFILE"] == "default"
    assert found["HF_TOKEN"] != "hf_real"
    assert found["HF_HUB_OFFLINE"] == "0"
    assert Path(found["HF_HOME"]).is_relative_to(layout.dir)
    monkeypatch.setenv("NO_PROXY", "intranet")
    assert environment(layout.dir)["NO_PROXY"] == "127.0.0.1,localhost,intranet"


def test_nothing_in_the_environment_lies_in_the_home(layout: Layout) -> None:
    """An empty HOME must do."""
    values = environment(settled(layout).dir).values()
    assert not [value for value in values if value.startswith(("~", str(Path.home()) + "/."))]


def test_a_folder_that_cannot_be_made() -> None:
    with pytest.raises(InputError, match="--dir"):
        Layout(Path("/proc/nowhere")).create()
