"""`iexworker sandbox` as a user types it, on a whole network."""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import shlex
import signal
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
from eth_account.messages import encode_defunct
from eth_utils.crypto import keccak

from iexworker.errors import SandboxError
from iexworker.sandbox import cli, image, stack
from iexworker.sandbox.chain import chain
from iexworker.sandbox.chain.chain import LocalChain
from iexworker.sandbox.network import ports, worker_env
from iexworker.sandbox.network.network import Network
from iexworker.sandbox.network.processes import Child, Records
from iexworker.sandbox.proxy.ipfs import Store
from iexworker.sandbox.scheduler import explain
from tests.helpers.live_worker import LiveSandbox, LiveWorker, eventually
from tests.integration.helpers.task_batch import served

pytestmark = [pytest.mark.chain, pytest.mark.docker, pytest.mark.usefixtures("unmeasured")]

ANY_PORTS = [text for name in stack.DEFAULT_PORTS for text in (f"--{name}-port", "0")]


def run(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    cli.add_parser(parser.add_subparsers())
    options = parser.parse_args(["sandbox", *arguments])
    code: int = options.verb(options)
    return code


def raw(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs a verb and gives what it printed."""

    def typed(*arguments: str) -> str:
        capsys.readouterr()
        assert run(*arguments) == 0
        return capsys.readouterr().out

    return typed


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "sandbox"
    stack.down(tmp_path / "sandbox", delete=True)


def up(folder: Path) -> Network:
    assert run("up", "--dir", str(folder), "--block-time", "0.2", *ANY_PORTS) == 0
    return stack.running(folder)


@pytest.fixture
def network(folder: Path) -> Network:
    return up(folder)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    """A network for tests that take nothing away from it."""
    folder = tmp_path_factory.mktemp("shared") / "sandbox"
    yield up(folder)
    stack.down(folder, delete=True)


def complete(network: Network, task_id: str) -> None:
    """Do on the chain what worker and scheduler do, with a result that lies in the store."""
    hub, digest = LocalChain.open(network.deployed_path), keccak(b"result")
    address, enclave = raw(hub.accounts["worker1"].address), bytes(20)
    promise = encode_defunct(keccak(address + raw(task_id) + enclave))
    signature = bytes(hub.accounts["scheduler"].sign_message(promise).signature)
    seals = (keccak(raw(task_id) + digest), keccak(address + raw(task_id) + digest))
    deadline = time.monotonic() + 30
    while hub.task_status(task_id) == "UNSET":
        assert time.monotonic() < deadline, "the scheduler does not initialise the task"
        time.sleep(0.05)
    place = "0x" + enclave.hex()
    hub.send("worker1", "contribute", raw(task_id), *seals, place, b"", signature)
    hub.send("worker1", "reveal", raw(task_id), digest)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as made:
        made.writestr("result.txt", "forty-two")
    location = "/ipfs/" + Store(network.store_path).put(archive.getvalue())
    link = json.dumps({"storage": "ipfs", "location": location}).encode()
    hub.send("scheduler", "finalize", raw(task_id), link, b"")


def test_up_gives_a_worker_all_it_needs(shared: Network, say: Callable[..., str]) -> None:
    told = say("up", "--dir", shared.directory)

    assert told.startswith(f"already up: profile 9 in {shared.directory}\n")
    lines = (shared.path / "worker.env").read_text().splitlines()
    assert all(line in told for line in lines)
    pairs = [shlex.split(line)[1].partition("=") for line in lines]
    environment = {name: value for name, _, value in pairs}
    assert environment == worker_env.variables(shared)
    assert Path(environment["IEXEC_WORKER_WALLET_PATH"]).exists()
    answer = requests.get(environment["IEXEC_CORE_URL"] + "/version", timeout=10)
    assert answer.text.startswith("9.")
    other = (shared.path / "worker3.env").read_text()
    assert "worker3.json" in other
    assert "IEXEC_WORKER_PORT=0" in other, "beside a network with the usual ports"


def test_tasks_are_bought_shown_and_their_results_fetched(
    shared: Network, say: Callable[..., str], tmp_path: Path
) -> None:
    where = ("--dir", shared.directory)
    deal = json.loads(say("deal", *where, "--json", "--args", "hello", "--price", "0.5"))
    task_id = deal["taskIds"][0]
    params = json.loads(
        LocalChain.open(shared.deployed_path).struct("viewDeal", raw(deal["dealId"]))["params"]
    )
    assert params["iexec_args"] == "hello"
    assert params["iexec_result_storage_proxy"] == shared.proxy_url
    assert shared.registry.has(image.NAME, image.TAG)
    assert f"{task_id}  " in say("tasks", *where)

    complete(shared, task_id)
    assert f"{task_id}  COMPLETED  worker1\n" in say("tasks", *where)
    told = {one["taskId"]: one for one in json.loads(say("tasks", *where, "--json"))}
    assert told[task_id]["winners"] == ["worker1"]
    assert say("result", task_id[:18], *where) == "--- result.txt (9 bytes)\nforty-two\n"
    say("result", task_id, *where, "--output", str(tmp_path / "out"))
    assert (tmp_path / "out" / "result.txt").read_text() == "forty-two"


def test_plain_words_tell_the_deal_and_its_tasks(shared: Network, say: Callable[..., str]) -> None:
    told = say("deal", "--dir", shared.directory, "--image", "some/app:1", "--volume", "2")

    assert [line.split()[0] for line in told.splitlines()] == ["deal", "task", "task"]


def processes_of(folder: Path) -> list[str]:
    """Give the command lines that name something in a folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            words = path.read_bytes().decode(errors="replace").split("\0")
            found += [" ".join(words)] if any(str(folder) in word for word in words) else []
    return found


def test_down_stops_all_and_keeps_tasks_balances_results_and_images_for_the_next_up(
    folder: Path, network: Network, say: Callable[..., str]
) -> None:
    where = ("--dir", str(folder))
    first, second = json.loads(say("deal", *where, "--json", "--volume", "2"))["taskIds"]
    complete(network, first)
    eventually(lambda: f"{second}  ACTIVE" in say("tasks", *where), "the other is initialised")
    tasks, balances = say("tasks", *where), stakes(network)
    client = image.engine()
    client.images.pull(image.publish(client, network.registry))

    assert say("down", *where).startswith("stopped: server, registry, anvil\nits state is kept")

    left = [tag for one in client.images.list() for tag in one.tags]
    assert not any(tag.startswith(network.registry_address) for tag in left)
    client.close()
    assert processes_of(folder) == []
    assert "ready" in say("logs", "server", *where)

    assert say("up", *where).startswith("up again: profile 9")

    assert stack.running(folder) == network
    assert say("tasks", *where) == tasks
    assert f"{first}  COMPLETED  worker1\n" in tasks
    assert stakes(network) == balances
    assert "forty-two" in say("result", first, *where)
    assert network.registry.has(image.NAME, image.TAG)
    complete(network, second)  # the scheduler and the keys are those of before
    assert f"{second}  COMPLETED  worker1\n" in say("tasks", *where)


def stakes(network: Network) -> list[dict[str, int]]:
    hub = LocalChain.open(network.deployed_path)
    return [hub.struct("viewAccount", one.address) for one in hub.accounts.values()]


def test_after_a_pause_the_chain_goes_on_at_the_time_of_the_clock(
    folder: Path, network: Network
) -> None:
    def head() -> tuple[int, int]:
        block = LocalChain.open(network.deployed_path).web3.eth.get_block("latest")
        return block["number"], block["timestamp"]

    eventually(lambda: head()[0] > 3, "blocks")
    stack.down(folder)
    stopped_s = time.time()
    eventually(lambda: time.time() > stopped_s + 4, "a pause longer than a few blocks")
    stack.up(folder, stack.Options())

    number = head()[0]
    eventually(lambda: head()[0] > number + 2, "interval mining")
    assert abs(head()[1] - time.time()) < 3


def test_a_killed_chain_goes_on_from_its_last_dump(
    folder: Path, say: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chain, "DUMP_INTERVAL_S", 1)
    network = up(folder)
    where = ("--dir", str(folder))
    task = json.loads(say("deal", *where, "--json", "--image", "some/app:1"))["taskIds"][0]
    eventually(lambda: f"{task}  ACTIVE" in say("tasks", *where), "the task initialised")
    bought_s, dumped = time.time(), chain.state(network).dumped
    # One dump may have been under way, the next one has it all.
    for since_s in (bought_s, bought_s + 1):
        eventually(lambda: dumped.stat().st_mtime > since_s, "a dump")  # noqa: B023 - ends in its turn
    eventually(lambda: not chain.state(network).is_torn(), "a whole dump")
    before = {child.name: child for child in stack.components(folder)}
    os.kill(before["anvil"].pid, signal.SIGKILL)
    os.waitpid(before["anvil"].pid, 0)

    told = say("up", *where, *ANY_PORTS)

    assert told.startswith("up again, maybe without the last minute")
    assert not any(child.alive for child in before.values())
    assert all(child.alive for child in stack.components(folder))
    assert f"{task}  ACTIVE" in say("tasks", *where)


def test_fresh_forgets_the_network_that_is_up(
    folder: Path, network: Network, say: Callable[..., str]
) -> None:
    say("deal", "--dir", str(folder), "--image", "some/app:1")
    (network.store_path / "old").parent.mkdir(exist_ok=True)
    (network.store_path / "old").touch()

    told = say("up", "--dir", str(folder), "--fresh", "--profile", "8", *ANY_PORTS)

    assert told.startswith("up: profile 8")
    assert not (network.store_path / "old").exists()
    assert "no task was bought" in say("tasks", "--dir", str(folder))


def test_timers_and_categories_are_taken_over(folder: Path, say: Callable[..., str]) -> None:
    say(
        *("up", "--dir", str(folder), *ANY_PORTS, "--ask-period", "0.5"),
        *("--timer", "worker_lost=3", "--category", "XXS=7"),
    )

    network = stack.running(folder)
    assert network.timers.worker_lost_s == 3
    assert network.timers.finalize_delay_s == 2.4
    assert network.ask_period_ms == 500
    category = LocalChain.open(network.deployed_path).struct("viewCategory", 5)
    assert (category["name"], category["workClockTimeRef"]) == ("XXS", 7)


def test_a_network_listens_where_it_is_told(folder: Path, say: Callable[..., str]) -> None:
    say("up", "--dir", str(folder), "--listen", "127.0.0.3", *ANY_PORTS)

    network = stack.running(folder)
    assert ports.answers("127.0.0.3", network.scheduler_port)
    assert not ports.answers("127.0.0.1", network.chain_port)
    config = json.loads(network.deployed_path.read_text())["chainConfig"]
    assert config["chainNodeUrl"] == f"http://127.0.0.3:{network.chain_port}"


def test_a_start_that_fails_leaves_nothing_running(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Callable[[], bool]] = []
    add = Records.add

    def watched(records: Records, child: Child) -> None:
        started.append(lambda: child.alive)
        add(records, child)

    monkeypatch.setattr(Records, "add", watched)
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(SandboxError, match="server ended at once"):
        run("up", "--dir", str(folder), *ANY_PORTS)

    assert len(started) == 2
    assert not any(alive() for alive in started)
    assert not stack.has_state(folder)


@pytest.mark.parametrize("profile", ["9", "8"])
def test_a_developer_is_told_why_tasks_failed_and_where_to_look(
    profile: str, tmp_path: Path, say: Callable[..., str]
) -> None:
    (tmp_path / "files").mkdir()
    with served(tmp_path / "files") as url:
        sandbox = LiveSandbox(tmp_path / "network", profile, 300)
        worker, registry = LiveWorker(sandbox, slots=3), sandbox.network.registry_address
        inputs = {
            "iexec_input_files": [f"{url}/nothing"],
            "iexec_result_storage_provider": "ipfs",
            "iexec_result_storage_proxy": sandbox.network.proxy_url,
        }
        try:
            worker.start()
            (failing,) = sandbox.buy("fail=3")
            (imageless,) = sandbox.buy(image=f"{registry}/nothing:1")
            (inputless,) = sandbox.buy(params=json.dumps(inputs))
            every = (failing, imageless, inputless)
            with worker.explained():
                eventually(
                    lambda: all(worker.lines("task ended", f"task={task}") for task in every),
                    "the worker has ended them",
                )
            where = ("--dir", sandbox.network.directory)
            told = say("tasks", *where).splitlines()
            report = {one["taskId"]: one for one in json.loads(say("tasks", *where, "--json"))}
            log = say("logs", "server", *where, "-n", "1000").splitlines()
        finally:
            worker.stop()
            sandbox.close()
    expected = {
        failing: "worker1: the app ended with exit code 3 (APP_COMPUTE_FAILED)",
        imageless: f"worker1: the image {registry}/nothing:1 cannot be pulled: was it pushed, ",
        inputless: "worker1: an input file cannot be downloaded: does each address in iexec_input",
    }
    for task, words in expected.items():
        place = next(number for number, line in enumerate(told) if line.startswith(task))
        assert told[place + 1].startswith(f"    {words}")
        assert [one[: len(words)] for one in report[task]["troubles"]] == [words]
        reason = words.partition(": ")[2]
        assert any(f"task={task}" in line and f'reason="{reason}' in line for line in log)
    assert told[-1] == explain.WHERE_TO_LOOK
    assert "    | failing as told, with 3" in log


@pytest.mark.parametrize("profile", ["9", "8"])
def test_a_task_that_was_granted_before_down_completes_after_up(
    profile: str, tmp_path: Path
) -> None:
    sandbox = LiveSandbox(tmp_path / "network", profile)
    worker = LiveWorker(sandbox)
    try:
        worker.start().ready()
        task = sandbox.buy("sleep=5 kept")[0]
        # Not sooner: `down` takes the app's image out of Docker.
        eventually(lambda: sandbox.containers(task), "the task's container")

        stack.down(sandbox.network.path)
        stack.up(sandbox.network.path, stack.Options())

        with worker.explained():
            sandbox.completed(task)
        worker.at_rest()
    finally:
        worker.stop()
        sandbox.close()
    assert processes_of(sandbox.network.path) == []
