"""Starts that cannot go well, and peers that talk nonsense: what the worker does, and says."""

from __future__ import annotations

import itertools
import json
import os
import signal
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from iexworker.core import sockjs, stomp
from iexworker.errors import (
    EXIT_ALREADY_RUNNING,
    EXIT_CONFIG,
    EXIT_REFUSED,
    EXIT_UNAVAILABLE,
)
from tests.helpers.fault_proxy import HttpFaultProxy, Said
from tests.helpers.live_worker import LiveSandbox, LiveWorker, eventually

pytestmark = [
    pytest.mark.docker,
    pytest.mark.chain,
    pytest.mark.usefixtures("unmeasured"),
    pytest.mark.timeout(120),
    pytest.mark.xdist_group("bad-start"),
]

ROLE = "worker1"
NOBODY = "http://127.0.0.1:1"
NODE = "IEXEC_WORKER_OVERRIDE_BLOCKCHAIN_NODE_ADDRESS"
ENGINE = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")

Make = Callable[..., LiveWorker]
Between = Callable[[str], HttpFaultProxy]


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveSandbox]:
    sandbox = LiveSandbox(tmp_path_factory.mktemp("network") / "net", "9", ask_period_ms=300)
    yield sandbox
    sandbox.close()


_numbers = itertools.count()


@pytest.fixture
def make(sandbox: LiveSandbox) -> Iterator[Make]:
    """Make workers of a wallet each with a name of its own, which also names folder and log."""
    made: list[LiveWorker] = []

    def make(**more: str) -> LiveWorker:
        name = f"start{next(_numbers)}"
        made.append(LiveWorker(sandbox, ROLE, name=name, slots=1, **more))
        return made[-1]

    yield make
    for worker in made:
        if hasattr(worker, "process"):
            worker.stop()


@pytest.fixture
def between() -> Iterator[Between]:
    """Make proxies in front of a URL, shut at first."""
    made: list[HttpFaultProxy] = []

    def between(target: str) -> HttpFaultProxy:
        host, port = target.removeprefix("http://").split(":")
        made.append(HttpFaultProxy((host, int(port))))
        return made[-1]

    yield between
    for proxy in made:
        proxy.close()


def exit_code(worker: LiveWorker) -> int:
    """Wait for longer than the grace: the log then names the process that overstays."""
    with worker.explained():
        eventually(lambda: worker.process.poll() is not None, "the worker's exit", 60)
    return worker.process.wait()


# Wallet and settings


@pytest.mark.parametrize(
    ("content", "password", "words"),
    [
        (None, "x", ["there is no such file", "IEXEC_WORKER_WALLET_PATH"]),
        ("nonsense", "x", ["is not JSON", "IEXEC_WORKER_WALLET_PATH"]),
        ('{"version": 3}', "x", ["has no crypto section", "IEXEC_WORKER_WALLET_PATH"]),
        ("", "wrong", ["does not open with this password", "IEXEC_WORKER_WALLET_PASSWORD"]),
    ],
    ids=["missing", "no JSON", "no keystore", "wrong password"],
)
def test_a_wallet_that_does_not_open_ends_the_worker_with_one_line(
    sandbox: LiveSandbox,
    make: Make,
    tmp_path: Path,
    content: str | None,
    password: str,
    words: list[str],
) -> None:
    path = tmp_path / "wallet.json"
    if content is not None:
        path.write_text(content or sandbox.network.keystore_path(ROLE).read_text())
    worker = make(IEXEC_WORKER_WALLET_PATH=str(path), IEXEC_WORKER_WALLET_PASSWORD=password).start()
    assert exit_code(worker) == EXIT_REFUSED
    assert len(worker.lines(str(path), *words)) == 1
    assert not worker.lines("Traceback")


def test_all_bad_settings_are_listed_at_once(make: Make) -> None:
    bad = {
        "IEXEC_WORKER_PORT": "99999",
        "IEXEC_WORKER_DOCKER_IMAGE_MIN_PULL_TIMEOUT": "5 minutes",
        "POOL_ADDRESS": "0x12",
        "IEXEC_WORKER_METRICS_WINDOW_SIZE": "0",
        "IEXEC_WORKER_OVERRIDE_AVAILABLE_CPU_COUNT": "0",
        "IEXWORKER_PROFILE": "7",
    }
    worker = make(**bad).start()
    assert exit_code(worker) == EXIT_CONFIG
    assert worker.lines(f"{len(bad)} problem(s)")
    for name, value in bad.items():
        assert worker.lines(name, value)


# Peers that cannot be reached


def test_peers_out_of_reach_are_waited_for_and_named(
    sandbox: LiveSandbox, make: Make, between: Between, tmp_path: Path
) -> None:
    scheduler, node = between(sandbox.network.scheduler_url), between(sandbox.network.chain_rpc)
    engine = tmp_path / "docker.sock"
    peers = {"IEXEC_CORE_URL": scheduler.url, NODE: node.url, "DOCKER_HOST": f"unix://{engine}"}
    worker = make(**peers).start()
    worker.not_ready("scheduler", "connection refused", scheduler.url, "IEXEC_CORE_URL")
    worker.not_ready("docker", "there is no such socket", str(engine), "DOCKER_HOST")
    scheduler.open()
    worker.not_ready("chain", node.url.removeprefix("http://"))
    node.open()
    engine.symlink_to(ENGINE.removeprefix("unix://"))
    worker.ready()
    for peer in ("scheduler", "chain node", "Docker engine"):
        named = "peer=" + (f'"{peer}"' if " " in peer else peer)
        assert len(worker.lines("WARNING", "peer out of service", named)) == 1
        assert len(worker.lines("INFO", "peer back in service", named)) == 1
    assert not worker.lines("process died")


@pytest.mark.parametrize(
    ("peer", "words"),
    [
        ({"IEXEC_CORE_URL": NOBODY}, [NOBODY]),
        ({NODE: NOBODY}, ["chain node http://127.0.0.1:1", NODE]),
        ({"DOCKER_HOST": "unix:///nowhere.sock"}, ["DOCKER_HOST", "there is no such socket"]),
        ({"IEXEC_WORKER_GPU_ENABLED": "true"}, ["a GPU is declared and none can be used"]),
    ],
    ids=["scheduler", "chain", "Docker", "GPU"],
)
def test_with_fail_fast_a_missing_peer_ends_the_worker(
    make: Make, peer: dict[str, str], words: list[str]
) -> None:
    worker = make(**peer).start("--fail-fast")
    assert exit_code(worker) == EXIT_UNAVAILABLE
    assert worker.lines("process gives up", *words)


def test_fail_fast_is_about_the_start_only(
    sandbox: LiveSandbox, make: Make, between: Between
) -> None:
    scheduler = between(sandbox.network.scheduler_url).open()
    worker = make(IEXEC_CORE_URL=scheduler.url).start("--fail-fast").ready()
    scheduler.always("GET /workers/config", Said("later", 503))
    os.kill(worker.pid("scheduling"), signal.SIGKILL)
    worker.not_ready("scheduler", "answered 503")
    scheduler.always("GET /workers/config", None)
    worker.ready()
    assert len(worker.lines("process died")) == 1


def test_a_declared_gpu_that_is_not_there_keeps_work_away_until_it_is(
    make: Make, tmp_path: Path
) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho No devices were found; exit 6\n")
    tool.chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    worker = make(IEXEC_WORKER_GPU_ENABLED="true", PATH=path).start()
    worker.not_ready("gpu", "No devices were found", "IEXEC_WORKER_GPU_ENABLED")
    assert worker.lines("ERROR", "host cannot take work", "No devices were found")
    eventually(lambda: worker.lines("no work for now", "No devices were found"), "no demand")
    tool.write_text("#!/bin/sh\necho GPU 0: one for the test\n")
    worker.ready()


# A scheduler that does not want us


def test_a_refused_first_login_ends_the_worker_with_the_schedulers_words(
    sandbox: LiveSandbox, make: Make, between: Between
) -> None:
    scheduler = between(sandbox.network.scheduler_url).open()
    scheduler.always("GET /workers/challenge", Said("you are on no list", 401))
    worker = make(IEXEC_CORE_URL=scheduler.url).start()
    assert exit_code(worker) == EXIT_REFUSED
    address = sandbox.chain.accounts[ROLE].address.lower()
    assert worker.lines("process gives up", address, "you are on no list", "on its list")


def test_a_refused_login_is_tried_again_while_a_task_is_open(
    sandbox: LiveSandbox, make: Make, between: Between
) -> None:
    scheduler = between(sandbox.network.scheduler_url).open()
    worker = make(IEXEC_CORE_URL=scheduler.url).start().ready()
    (task,) = sandbox.buy("sleep=3")
    eventually(lambda: sandbox.containers(task), "the app's container")
    worker.kill()
    scheduler.always("GET /workers/challenge", Said("you are on no list", 401))
    worker.start()
    worker.not_ready("scheduler", "refuses the login", "you are on no list")
    eventually(lambda: scheduler.calls.count(scheduler.calls[-1]) >= 2, "another login")
    assert worker.process.poll() is None
    scheduler.always("GET /workers/challenge", None)
    worker.ready()
    sandbox.completed(task)
    worker.at_rest()


def test_a_version_that_we_do_not_speak_is_not_served_and_asked_for_again(
    sandbox: LiveSandbox, make: Make, between: Between
) -> None:
    with urllib.request.urlopen(f"{sandbox.network.scheduler_url}/workers/config") as reply:
        configuration = json.loads(reply.read()) | {"requiredWorkerVersion": "10.1.0"}
    scheduler = between(sandbox.network.scheduler_url).open()
    scheduler.always("GET /workers/config", Said(json.dumps(configuration)))
    worker = make(IEXEC_CORE_URL=scheduler.url).start()
    worker.not_ready("profile", "requires worker version '10.1.0'", "versions 8 and 9")
    eventually(lambda: scheduler.calls.count("GET /workers/config") >= 3, "asked again")
    eventually(
        lambda: (
            "10.1.0" in (worker.report() or {"facts": {"demand_text": ""}})["facts"]["demand_text"]
        ),
        "the reason beside the demand",
    )
    assert len(worker.lines("scheduler cannot be served")) == 1
    assert not [call for call in scheduler.calls if "challenge" in call or "available" in call]
    scheduler.always("GET /workers/config", None)
    worker.ready()


# A second worker


def test_a_second_worker_on_the_same_directory_names_the_first(
    sandbox: LiveSandbox, make: Make
) -> None:
    first = make(IEXEC_CORE_URL=NOBODY).start()
    first.not_ready("scheduler", NOBODY)
    wallet = str(sandbox.network.keystore_path("worker2"))
    second = make(IEXEC_WORKER_NAME=first.name, IEXEC_WORKER_WALLET_PATH=wallet).start()
    assert exit_code(second) == EXIT_ALREADY_RUNNING
    assert second.lines("worker cannot start", str(first.root), f"pid {first.process.pid}")
    assert first.process.poll() is None


def test_a_second_worker_with_the_same_wallet_names_the_first(make: Make) -> None:
    first = make(IEXEC_CORE_URL=NOBODY).start()
    first.not_ready("scheduler", NOBODY)
    second = make().start()
    assert exit_code(second) == EXIT_ALREADY_RUNNING
    assert second.lines("worker cannot start", "wallet", f"pid {first.process.pid}")
    assert first.process.poll() is None


def test_a_wallet_file_that_tells_no_address_does_not_hide_a_second_worker(
    sandbox: LiveSandbox, make: Make, tmp_path: Path
) -> None:
    first = make(IEXEC_CORE_URL=NOBODY).start()
    first.not_ready("scheduler", NOBODY)
    keystore = json.loads(sandbox.network.keystore_path(ROLE).read_text())
    copy = tmp_path / "copy.json"
    copy.write_text(json.dumps(keystore | {"address": ""}))
    second = make(IEXEC_WORKER_WALLET_PATH=str(copy)).start()
    assert exit_code(second) == EXIT_ALREADY_RUNNING
    assert second.lines("process gives up", f"pid {first.process.pid}")
    assert first.process.poll() is None


# Nonsense


def message(body: str) -> str:
    headers = {"destination": "/topic/task/0x01", "subscription": "0", "message-id": "1"}
    return sockjs.encode_messages([stomp.encode(stomp.Frame("MESSAGE", headers, body))])


NOISE = (
    message("{not json"),
    message('{"taskNotificationType":"PLEASE_DANCE","chainTaskId":"0x01"}'),
    message('["PLEASE_START"]'),
    sockjs.encode_messages(["no frame at all"]),
    "x is no line of SockJS",
)


def test_nonsense_of_the_scheduler_is_logged_once_and_does_no_harm(
    sandbox: LiveSandbox, make: Make, between: Between
) -> None:
    scheduler = between(sandbox.network.scheduler_url).open()
    scheduler.answer("GET /workers/config", Said("<html>later</html>"), Said("[1]"), Said("{}"))
    scheduler.answer("POST /workers/ping", Said("<html>what?</html>"))
    garbled = (Said('{"workerpoolAuthorization":'), Said('{"workerpoolAuthorization":"none"}'))
    scheduler.answer("GET /replicates/available", *garbled, *garbled)
    worker = make(IEXEC_CORE_URL=scheduler.url).start().ready()
    for line in NOISE * 2:
        scheduler.add(line)
    scheduler.answer("POST /replicates/", Said('"PLEASE_DANCE"'), Said("["))
    (task,) = sandbox.buy("hello")
    sandbox.completed(task)
    worker.at_rest()
    said = [line.partition("where=")[2] for line in worker.lines("malformed message")]
    assert len(said) == len(set(said))
    for words in ("later", "what?", "workerpoolAuthorization", "PLEASE_DANCE", "not json"):
        assert [line for line in said if words in line], words
    assert worker.lines("PLEASE_START")
    assert worker.lines("no frame at all")
    assert worker.lines("x is no line of SockJS")
    assert not worker.lines("Traceback")
    assert not worker.lines("process died")
