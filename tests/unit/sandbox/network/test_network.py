from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from iexworker.sandbox.network import network
from iexworker.sandbox.network.network import Network, Timers


@pytest.fixture
def one(tmp_path: Path) -> Network:
    return Network(
        directory=str(tmp_path),
        profile="8",
        listen="10.0.0.7",
        chain_port=1001,
        scheduler_port=1002,
        config_port=1003,
        proxy_port=1004,
        registry_port=1005,
        timers=Timers(worker_lost_s=3.0),
    )


def test_what_was_saved_is_read_again(one: Network) -> None:
    one.save()

    assert network.load(one.path) == one


def test_the_file_tells_readers_the_addresses(one: Network) -> None:
    shown = json.loads(one.to_json())

    assert shown["chain_rpc"] == "http://10.0.0.7:1001"
    assert shown["scheduler_url"] == "http://10.0.0.7:1002"
    assert shown["config_url"] == "http://10.0.0.7:1003"
    assert shown["proxy_url"] == "http://10.0.0.7:1004"
    assert shown["timers"]["worker_lost_s"] == 3.0


def test_a_file_of_a_later_version_is_read_by_the_keys_that_are_known(one: Network) -> None:
    values = json.loads(one.to_json()) | {"later": 1}

    assert Network.from_json(json.dumps(values)) == one


def test_the_registry_stays_on_loopback_because_docker_takes_plain_http_only_there(
    one: Network,
) -> None:
    assert one.registry_address == "127.0.0.1:1005"
    assert replace(one, listen="127.0.0.1").registry_address == "127.0.0.1:1005"


def test_files_lie_in_the_networks_folder(one: Network) -> None:
    places = (one.deployed_path, one.scheduler_keystore_path, one.store_path, one.logs_path)

    assert all(place.is_relative_to(one.path) for place in places)
    assert one.keystore_path("worker2").name == "worker2.json"


def test_a_folder_without_a_network_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        network.load(tmp_path)
