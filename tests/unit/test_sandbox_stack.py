from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from iexworker.errors import SandboxError
from iexworker.sandbox import children, stack
from iexworker.sandbox.children import Records
from iexworker.sandbox.network import Network
from iexworker.sandbox.stack import Options


@pytest.fixture
def standing(tmp_path: Path) -> Iterator[Path]:
    """A folder whose network looks up: its components sleep."""
    Network(str(tmp_path), "9", "127.0.0.1", 1, 2, 3, 4, 5).save()
    records = Records(tmp_path / "children.json")
    for name in stack.COMPONENTS:
        records.add(children.start(name, ["sleep", "60"], tmp_path / "logs" / f"{name}.log"))
    yield tmp_path
    records.stop_all()


def test_the_folder_follows_the_users_state_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert stack.default_directory() == tmp_path / "iexworker" / "sandbox"

    monkeypatch.setenv("XDG_STATE_HOME", "")
    monkeypatch.setenv("HOME", "/home/me")
    assert stack.default_directory() == Path("/home/me/.local/state/iexworker/sandbox")


def test_a_folder_with_other_files_is_neither_used_nor_deleted(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").touch()

    with pytest.raises(SandboxError, match="holds other files"):
        stack.up(tmp_path, Options())
    with pytest.raises(SandboxError, match="holds other files"):
        stack.down(tmp_path)

    assert (tmp_path / "thesis.txt").exists()


@pytest.mark.parametrize(
    ("listen", "words"),
    [("0.0.0.0", "address that workers shall call"), ("localhost", "an IP address")],
)
def test_an_address_that_cannot_be_advertised_is_refused(
    tmp_path: Path, listen: str, words: str
) -> None:
    with pytest.raises(SandboxError, match=words):
        stack.up(tmp_path, Options(listen=listen))


def test_a_port_that_was_asked_for_must_be_free(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        with pytest.raises(SandboxError, match=f"{port} is taken: give proxy another port"):
            stack.up(tmp_path, Options(ports={"proxy": port}))


def test_a_network_that_is_up_is_left_as_it_is(standing: Path) -> None:
    found, started = stack.up(standing, Options(profile="9", ports={"chain": 1, "proxy": 0}))

    assert not started
    assert found == stack.running(standing)
    assert all(child.alive for child in stack.components(standing))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (Options(profile="8"), "profile 9 is up .* not 8"),
        (Options(listen="127.0.0.2"), "listen 127.0.0.1 is up"),
        (Options(ports={"chain": 7}), "chain_port 1 is up .* not 7.*--fresh"),
    ],
)
def test_a_network_of_another_kind_is_not_passed_off_for_the_one_asked_for(
    standing: Path, options: Options, words: str
) -> None:
    with pytest.raises(SandboxError, match=words):
        stack.up(standing, options)


def test_down_stops_every_component_and_deletes_the_folder(standing: Path) -> None:
    alive = stack.components(standing)

    assert stack.down(standing) == ["server", "registry", "anvil"]

    assert not any(child.alive for child in alive)
    assert not standing.exists()


def test_down_without_a_network_stops_nothing(tmp_path: Path) -> None:
    assert stack.down(tmp_path / "none") == []


def test_a_network_with_a_dead_component_is_not_up(standing: Path) -> None:
    stack.components(standing)[0].stop()

    with pytest.raises(SandboxError, match="no network is up"):
        stack.running(standing)

    assert stack.down(standing) == ["server", "registry"]


def test_what_cannot_be_deleted_is_said(standing: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(1, "not yours", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", refuse)
        with pytest.raises(SandboxError, match="do it as root"):
            stack.down(standing)

    stack.down(standing)
    assert not standing.exists()
