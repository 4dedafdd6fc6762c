"""What goes wrong on operators' machines, made for real: the rows of docs/operators.md's table.

A row is a function: it gets a place, spoils it, starts the worker and returns what was seen.
`python -m tests.field.helpers.situations` in a checkout makes every one and writes the table.
"""

from __future__ import annotations

import dataclasses
import json
import re
import resource
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from eth_account import Account

from iexworker.compute.cancellation import Cancellation
from iexworker.compute.engine import Engine
from iexworker.compute.images import ImageReference
from iexworker.compute.pull import pull
from iexworker.settings.model import RegistryCredentials
from tests.field.helpers.command import COMMAND
from tests.field.helpers.fake_engine import fake_engine
from tests.field.helpers.faulty_peer import faulty_peer, http
from tests.field.helpers.place import PATIENCE_S, ROOT, Place, Seen, new_place, powerless
from tests.helpers import fake_node, scripted_server
from tests.helpers.scripted_server import Reply, Request, ScriptedServer

GUIDE = Path(__file__).parents[3] / "docs" / "operators.md"
BEGIN = "<!-- python -m tests.field.helpers.situations writes from here -->\n"
END = "<!-- to here -->\n"
AT_ONCE = 4

Make = Callable[[Place], Seen]
SITUATIONS: dict[str, Make] = {}
"""The first cell of a row -> how it is made."""

PASSWORD = "hunter2"
HUB = "0x" + "22" * 20
NODE = "IEXEC_WORKER_OVERRIDE_BLOCKCHAIN_NODE_ADDRESS"
COUNT = "IEXEC_WORKER_OVERRIDE_AVAILABLE_CPU_COUNT"
NOT_READY = "goes on, not ready"


def situation(name: str) -> Callable[[Make], Make]:
    """Take the function as the row of this name; rows stand in the order of their functions."""

    def add(make: Make) -> Make:
        assert name not in SITUATIONS
        SITUATIONS[name] = make
        return make

    return add


# What a row may take for granted


def scheduler_of(place: Place, node_url: str = "http://127.0.0.1:1") -> ScriptedServer:
    """Give the place a scheduler that tells its terms, and nothing else."""
    server: ScriptedServer = place.use(scripted_server.running())
    chain = {
        "chainId": 65535,
        "sidechain": True,
        "chainNodeUrl": node_url,
        "iexecHubContractAddress": HUB,
        "blockTime": "PT1S",
    }
    server.on("GET /version", Reply(200, b"9.2.0"))
    server.on("GET /workers/config", Reply.of({"configServerUrl": server.url}))
    server.on("GET /config/chain", Reply.of(chain))
    place.environ["IEXEC_CORE_URL"] = server.url
    return server


def website(place: Place) -> str:
    """Return the address of a server that is neither a scheduler nor a node."""
    server: ScriptedServer = place.use(scripted_server.running())
    page = Reply(200, b"<html><body>It works!</body></html>", {"Content-Type": "text/html"})
    for path in ("GET /workers/config", "GET /version", "POST /"):
        server.on(path, page)
    # The event stream begins beside the login: it shall not be the first to be told of.
    server.on("GET /connect/info", _late(page))
    return server.url


def _late(page: Reply) -> Callable[[Request], Reply]:
    def answer(_: Request) -> Reply:
        time.sleep(2)
        return page

    return answer


def with_engine(place: Place) -> None:
    place.use(fake_engine(place.folder / "docker.sock"))


def mounted(options: str) -> tuple[str, ...]:
    """Return the command of a worker whose base directory is a small file system of its own."""
    unshare, mount, shell = (shutil.which(name) for name in ("unshare", "mount", "sh"))
    assert unshare and mount and shell, "unshare or mount is not installed"
    script = f'{mount} -t tmpfs -o {options} none "$IEXEC_WORKER_BASE_DIR" && exec "$@"'
    own = ("--mount",) if ROOT else ("--mount", "--map-root-user")
    return (unshare, *own, shell, "-c", script, shell, *COMMAND, "run")


# The wallet


@situation("the wallet's password is wrong")
def _wrong_password(place: Place) -> Seen:
    return place.start("does not open", IEXEC_WORKER_WALLET_PASSWORD="hunter3")


@situation("the wallet's password is in quotes (Docker's `--env-file` keeps them)")
def _quoted_password(place: Place) -> Seen:
    return place.start("does not open", IEXEC_WORKER_WALLET_PASSWORD='"hunter2"')


@situation("there is no wallet")
def _no_wallet(place: Place) -> Seen:
    return place.start("wallet", IEXEC_WORKER_WALLET_PATH=f"{place.folder}/other.json")


@situation("the wallet is a folder (Docker makes one where a mounted file is missing)")
def _wallet_folder(place: Place) -> Seen:
    (place.folder / "folder").mkdir()
    return place.start("wallet", IEXEC_WORKER_WALLET_PATH=f"{place.folder}/folder")


@situation("the wallet is no keystore")
def _no_keystore(place: Place) -> Seen:
    (place.folder / "wallet.json").write_text('{"privateKey": "..."}')
    return place.start("wallet")


# The scheduler


@situation("the scheduler's name is unknown")
def _unknown_name(place: Place) -> Seen:
    return place.start_and_go_on("peer=scheduler", IEXEC_CORE_URL="http://core.invalid:13000")


@situation("nothing listens where the scheduler should be")
def _scheduler_refused(place: Place) -> Seen:
    return place.start_and_go_on("peer=scheduler")


@situation("the scheduler's address says `https`, and the scheduler speaks plain HTTP")
def _tls_against_plain(place: Place) -> Seen:
    url = scheduler_of(place).url.replace("http:", "https:")
    return place.start_and_go_on("peer=scheduler", IEXEC_CORE_URL=url)


@situation("another server answers in the scheduler's place")
def _another_server(place: Place) -> Seen:
    url = website(place)
    return place.start_and_go_on("peer=scheduler", IEXEC_CORE_URL=url)


# The chain's node


@situation("nothing listens where the node should be")
def _node_refused(place: Place) -> Seen:
    scheduler_of(place)
    return place.start_and_go_on('peer="chain node"')


@situation("the node's address leads to something that is no node")
def _no_rpc(place: Place) -> Seen:
    scheduler_of(place)
    place.environ[NODE] = website(place)
    return place.start_and_go_on('peer="chain node"')


@situation("the node is of another chain")
def _wrong_chain(place: Place) -> Seen:
    node = place.use(fake_node.serving())
    node.set("eth_chainId", "0x1")
    scheduler_of(place, node.url.partition("/v3")[0])
    return place.start_and_go_on('peer="chain node"')


@situation("there are no contracts at the hub's address")
def _no_contracts(place: Place) -> Seen:
    node = place.use(fake_node.serving())
    node.set("eth_chainId", hex(65535))
    node.set("eth_getCode", "0x")
    scheduler_of(place, node.url.partition("/v3")[0])
    return place.start_and_go_on("chain node")


@situation("the pool is another than the scheduler's")
def _wrong_pool(place: Place) -> Seen:
    server = scheduler_of(place)
    terms = {"configServerUrl": server.url, "workerPoolAddress": "0x" + "33" * 20}
    server.on("GET /workers/config", Reply.of(terms))
    place.environ["POOL_ADDRESS"] = "0x" + "44" * 20
    return place.start_and_go_on("POOL_ADDRESS")


# The machine


@situation("the port is taken")
def _port_taken(place: Place) -> Seen:
    server = place.use(socket.create_server(("0.0.0.0", 0)))
    return place.start("the port is taken", IEXEC_WORKER_PORT=str(server.getsockname()[1]))


@situation("the base directory is on a read-only file system")
def _read_only(place: Place) -> Seen:
    (place.folder / "base").mkdir()
    return place.start("IEXEC_WORKER_BASE_DIR", command=mounted("ro,size=64k"))


@situation("the base directory's disk is full")
def _full(place: Place) -> Seen:
    (place.folder / "base").mkdir()
    return place.start_and_go_on("journal", command=mounted("size=8k"))


@situation("the base directory is another user's")
def _of_another(place: Place) -> Seen:
    (place.folder / "base").mkdir()
    place.give_away(place.folder / "base")
    return place.start("IEXEC_WORKER_BASE_DIR", command=powerless((*COMMAND, "run")))


@situation("another worker uses the directory")
def _second_worker(place: Place) -> Seen:
    place.begin()
    lock = place.folder / "base" / "w" / "control.sock"
    deadline = time.monotonic() + PATIENCE_S
    while not lock.exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return place.start("uses this directory")


@situation("there is no Docker socket")
def _no_docker(place: Place) -> Seen:
    return place.start_and_go_on('peer="Docker engine"')


@situation("the Docker socket may not be used by the worker's user")
def _docker_denied(place: Place) -> Seen:
    with_engine(place)
    place.give_away(place.folder / "docker.sock")
    return place.start_and_go_on('peer="Docker engine"', command=powerless((*COMMAND, "run")))


@situation("a registry's password is wrong (told at a pull, by the slot)")
def _registry_password(place: Place) -> Seen:
    """Have a slot's pull, without a worker around it, meet an engine that asks the registry."""

    def answer(asked: bytes) -> bytes:
        if b"/auth" in asked:
            refused = b'{"message": "Get \\"https://registry.example/v2/\\": unauthorized"}'
            return http(refused, "401 Unauthorized")
        return http(b'{"ApiVersion": "1.47", "status": "Downloaded"}')

    engine = Engine(place.use(faulty_peer(answer)).url.replace("http:", "tcp:"))
    login = (RegistryCredentials("registry.example", "me", "hunter3"),)
    cancellation = Cancellation()
    with place.listening("iexworker.compute.pull") as lines:
        image = ImageReference.parse("registry.example/app:1")
        pull(engine, image, login, PATIENCE_S, cancellation)
    engine.close()
    cancellation.close()
    return Seen(lines[0], None, is_ready=True)


@situation("a GPU is declared, and there is none")
def _no_gpu(place: Place) -> Seen:
    with_engine(place)
    del place.environ[COUNT]
    return place.start_and_go_on("host cannot take work", IEXEC_WORKER_GPU_ENABLED="true")


# Settings


@situation("the CPU count is 0")
def _no_cpus(place: Place) -> Seen:
    place.environ[COUNT] = "0"
    return place.start()


@situation("the CPU count is no number")
def _odd_cpus(place: Place) -> Seen:
    place.environ[COUNT] = "abc"
    return place.start()


@situation("the CPU count is 999 (here with 512 descriptors)")
def _many_cpus(place: Place) -> Seen:
    limit = (512, 512)
    place.environ[COUNT] = "999"
    return place.start(prepare=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, limit))


@situation("a variable is mistyped")
def _unknown_variable(place: Place) -> Seen:
    return place.verb("config", IEXEC_CORE_URI="http://core.example:13000")


@situation("a duration has no unit")
def _no_unit(place: Place) -> Seen:
    return place.verb("config", IEXWORKER_SHUTDOWN_GRACE="60")


@situation("the env file has Windows line ends, and a shell has read it")
def _carriage_return(place: Place) -> Seen:
    return place.start(IEXEC_CORE_URL="http://core.example:13000\r")


@situation("the env file has quotes, and Docker has read it")
def _quotes(place: Place) -> Seen:
    return place.start(IEXEC_WORKER_BASE_DIR='"/var/lib/iexworker"')


@situation("the env file begins with a byte order mark")
def _byte_order_mark(place: Place) -> Seen:
    place.environ["\ufeffIEXEC_CORE_URL"] = "http://core.example:13000"
    return place.start()


@situation("the env file that `--env-file` names says `export`")
def _export(place: Place) -> Seen:
    path = place.folder / "worker.env"
    path.write_text("export IEXEC_CORE_URL=http://core.example:13000\n")
    return place.start(command=(*COMMAND, "run", "--env-file", str(path)))


@situation("the worker is paused (`iexworker status`)")
def _paused(place: Place) -> Seen:
    place.begin()
    deadline = time.monotonic() + PATIENCE_S
    while place.verb("pause").exit_code != 0:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    seen = place.verb("status")
    return Seen(re.sub(r"[0-9]+ s ago", "3 h 2 m ago", seen.line), seen.exit_code)


# The table


def make(name: str) -> Seen:
    """Make a situation, in a place of its own."""
    with new_place() as place:
        keystore = Account.encrypt(secrets.token_bytes(32), PASSWORD, kdf="scrypt", iterations=2)
        (place.folder / "wallet.json").write_text(json.dumps(keystore))
        seen = SITUATIONS[name](place)
        line = re.sub(r"(?<=_PORT=)[0-9]+(?=: the port)", "13100", seen.line)
        return dataclasses.replace(seen, line=line)


def make_all() -> Mapping[str, Seen | Exception]:
    """Make every one, some at a time; what could not be made is in the place of its line."""

    def tried(name: str) -> Seen | Exception:
        try:
            return make(name)
        except (AssertionError, OSError, subprocess.SubprocessError) as error:
            return error

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return dict(zip(SITUATIONS, pool.map(tried, SITUATIONS), strict=True))


def row(name: str, seen: Seen) -> str:
    """Return the row of the table."""
    line = seen.line.replace("|", "\\|")
    goes_on = "goes on" if seen.is_ready else NOT_READY
    exit_code = goes_on if seen.exit_code is None else str(seen.exit_code)
    return f"| {name} | ``{line}`` | {exit_code} |\n"


def written(guide: str) -> str:
    """Return what the guide has between the two marks; empty without them."""
    _, begins, rest = guide.partition(BEGIN)
    inside, ends, _ = rest.partition(END)
    return inside if begins and ends else ""


def table(seen: Mapping[str, Seen]) -> str:
    """Return all that stands between the marks."""
    head = "| what is wrong | the first line that tells it | exit code |\n|---|---|---|\n"
    return head + "".join(row(name, item) for name, item in seen.items())


def main() -> int:
    """Make every situation and write the guide's table; 1 when one could not be made."""
    seen = make_all()
    failed = {name: item for name, item in seen.items() if isinstance(item, Exception)}
    for name, error in failed.items():
        print(f"{name}: {error}", file=sys.stderr)
    good = {name: item for name, item in seen.items() if isinstance(item, Seen)}
    guide = GUIDE.read_text(encoding="utf-8")
    assert BEGIN in guide and END in guide
    before, _, rest = guide.partition(BEGIN)
    _, _, after = rest.partition(END)
    GUIDE.write_text(before + BEGIN + table(good) + END + after, encoding="utf-8")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
