from __future__ import annotations

import json
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from iexworker.errors import SandboxError, SandboxUsage
from iexworker.sandbox import stack
from iexworker.sandbox.network import network, ports, processes
from iexworker.sandbox.network.network import Network, Timers
from iexworker.sandbox.network.processes import Records
from iexworker.sandbox.stack import Options, Start


@pytest.fixture
def standing(tmp_path: Path) -> Iterator[Path]:
    """A folder whose network looks up: its components sleep."""
    made = Network(str(tmp_path), "9", "127.0.0.1", 1, 2, 3, 4, 5)
    made.save()
    made.deployed_path.write_text("{}")
    records = Records(tmp_path / "children.json")
    for name in stack.COMPONENTS:
        records.add(processes.start(name, ["sleep", "60"], tmp_path / "logs" / f"{name}.log"))
    yield tmp_path
    records.stop_all()


@pytest.fixture
def kept(standing: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose network is down; nothing is really started in it again."""
    stack.down(standing)
    values = json.loads((standing / "network.json").read_text())
    values |= {f"{name}_port": ports.free("127.0.0.1") for name in stack.DEFAULT_PORTS}
    (standing / "network.json").write_text(json.dumps(values))
    monkeypatch.setattr(stack, "_start", lambda made, _options, _say: made.save())
    return standing


def test_the_folder_follows_the_users_state_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert network.default_directory() == tmp_path / "iexworker" / "sandbox"

    monkeypatch.setenv("XDG_STATE_HOME", "")
    monkeypatch.setenv("HOME", "/home/me")
    assert network.default_directory() == Path("/home/me/.local/state/iexworker/sandbox")


def test_a_folder_with_other_files_is_neither_used_nor_deleted(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").touch()

    with pytest.raises(SandboxError, match="holds other files"):
        stack.up(tmp_path, Options())
    with pytest.raises(SandboxError, match="holds other files"):
        stack.down(tmp_path)

    assert (tmp_path / "thesis.txt").exists()


@pytest.mark.parametrize(
    ("listen", "words"),
    [
        ("0.0.0.0", "address that workers shall call"),
        ("localhost", "is no IPv4 address"),
        ("192.0.2.1", "is no address of this machine"),
    ],
)
def test_an_address_that_cannot_be_advertised_is_refused(
    tmp_path: Path, listen: str, words: str
) -> None:
    with pytest.raises(SandboxError, match=words):
        stack.up(tmp_path, Options(listen=listen))


def test_a_port_that_was_asked_for_must_be_free(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        with pytest.raises(SandboxError, match=f"{port} is taken: give --proxy-port another"):
            stack.up(tmp_path, Options(ports={"proxy": port}))


def test_no_port_is_given_to_two_components(tmp_path: Path) -> None:
    usual = dict.fromkeys(stack.DEFAULT_PORTS, 0) | {"proxy": stack.DEFAULT_PORTS["chain"]}
    usual.pop("chain")

    chosen = stack._choose_ports("127.0.0.1", Options(ports=usual))

    assert chosen["proxy"] == stack.DEFAULT_PORTS["chain"] != chosen["chain"]
    assert len(set(chosen.values())) == len(stack.DEFAULT_PORTS)
    with pytest.raises(SandboxUsage, match="--chain-port and --registry-port are both 5"):
        stack.up(tmp_path, Options(ports={"chain": 5, "registry": 5}))


def test_a_network_that_is_up_is_left_as_it_is(standing: Path) -> None:
    found, started = stack.up(standing, Options(profile="9", ports={"chain": 1, "proxy": 0}))

    assert started is Start.NONE
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


@pytest.mark.parametrize("delete", [False, True])
def test_down_stops_every_component_and_deletes_the_folder_only_when_told(
    standing: Path, delete: bool
) -> None:
    alive = stack.components(standing)

    assert stack.down(standing, delete=delete) == ["server", "registry", "anvil"]

    assert not any(child.alive for child in alive)
    assert stack.has_state(standing) is not delete
    assert standing.exists() is not delete


def test_a_kept_network_comes_up_with_its_ports_and_profile(kept: Path) -> None:
    before = network.load(kept)

    found, started = stack.up(kept, Options(ports=dict.fromkeys(stack.DEFAULT_PORTS, 0)))

    assert started is Start.KEPT
    assert found == before


def test_ports_and_durations_of_a_kept_network_may_be_chosen_anew(kept: Path) -> None:
    port, timers = ports.free("127.0.0.1"), Timers(worker_lost_s=3)
    options = Options(ports={"chain": port}, timers=timers, block_time_s=0.5, ask_period_ms=9)

    found = stack.up(kept, options)[0]

    assert found == network.load(kept)
    assert (found.chain_port, found.timers, found.block_time_s) == (port, timers, 0.5)
    assert found.ask_period_ms == 9


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (Options(profile="8"), "profile 9 is kept in .* not 8: .*--fresh"),
        (Options(listen="127.0.0.2"), "listen 127.0.0.1 is kept"),
        (Options(categories=(("XXS", 7),)), "categories on its chain: .*--fresh"),
    ],
)
def test_a_kept_network_does_not_become_one_of_another_kind(
    kept: Path, options: Options, words: str
) -> None:
    with pytest.raises(SandboxError, match=words):
        stack.up(kept, options)


def test_a_kept_port_that_is_taken_meanwhile_is_said(kept: Path) -> None:
    port = network.load(kept).proxy_port
    with socket.create_server(("127.0.0.1", port)):
        words = f":{port}, the proxy of .* is taken by another program: .*--proxy-port"
        with pytest.raises(SandboxError, match=words):
            stack.up(kept, Options())


def test_a_folder_that_was_moved_is_where_it_is(kept: Path, tmp_path: Path) -> None:
    moved = kept.rename(tmp_path.parent / f"{tmp_path.name}-moved")

    assert stack.up(moved, Options())[0].directory == str(moved)


def test_a_chain_that_may_lack_something_is_said(standing: Path, kept: Path) -> None:
    anvil = processes.start("anvil", ["true"], standing / "logs" / "anvil.log")
    anvil.stop()
    Records(standing / "children.json").add(anvil)
    assert stack.up(kept, Options())[1] is Start.AFTER_KILL

    (kept / "chain").mkdir()
    (kept / "chain" / "state.json").write_text("{")
    assert stack.up(kept, Options())[1] is Start.TORN


def test_down_without_a_network_stops_nothing(tmp_path: Path) -> None:
    assert stack.down(tmp_path / "none") == []


def test_a_network_with_a_dead_component_is_not_up(standing: Path) -> None:
    stack.components(standing)[0].stop()

    with pytest.raises(SandboxError, match=r"the anvil of the network in .* has ended"):
        stack.running(standing)

    assert stack.down(standing) == ["server", "registry"]


def test_what_cannot_be_deleted_is_said(standing: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(1, "not yours", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", refuse)
        with pytest.raises(SandboxError, match="do it as root"):
            stack.down(standing, delete=True)

    stack.down(standing, delete=True)
    assert not standing.exists()
