"""Bringing a sandbox network up and taking it down again, with nothing left behind."""

from __future__ import annotations

import contextlib
import fcntl
import ipaddress
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from iexworker.errors import SandboxError
from iexworker.sandbox import chain, children, network, ports, snapshot, worker_env
from iexworker.sandbox.children import Child, Records
from iexworker.sandbox.network import Network, Timers
from iexworker.sandbox.registry import HOST as REGISTRY_HOST

DEFAULT_PORTS = {
    "chain": 8545,
    "scheduler": 13000,
    "config": 8888,
    "proxy": 13200,
    "registry": 5000,
}
"""What the real components listen on; a port of these that is taken is replaced by a free one."""

COMPONENTS = ("anvil", "registry", "server")
_RECORDS = "children.json"
_LOCK = "lock"


@dataclass(frozen=True, slots=True)
class Options:
    """What a user may choose of a network; None: not minded."""

    profile: str | None = None
    listen: str | None = None
    ports: Mapping[str, int] = field(default_factory=dict)
    """Of the names in `DEFAULT_PORTS`, 0 for a free one; a name that is missing is not minded."""
    block_time_s: float = 1.0
    ask_period_ms: int = 5000
    timers: Timers = field(default_factory=Timers)
    categories: tuple[tuple[str, int], ...] = ()
    """More than the usual five; their ids follow on."""


def default_directory() -> Path:
    """Give the folder of the user's one sandbox (XDG state folder)."""
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "iexworker" / "sandbox"


def up(directory: Path, options: Options, *, fresh: bool = False) -> tuple[Network, bool]:
    """Start a network, unless the folder's is up already; tell whether it was started.

    Raises:
        SandboxError: a component does not start, a port is taken, another kind of network is up.

    """
    directory = directory.absolute()
    _require_ours(directory)
    directory.mkdir(parents=True, exist_ok=True)
    with _locked(directory):
        if fresh or not _whole(directory):
            _stop(directory)
            _empty(directory)
            return _start(directory, options), True
        found = network.load(directory)
        _require_same(found, options)
        return found, False


def down(directory: Path) -> list[str]:
    """Stop the network of a folder and delete the folder; give the names of what was stopped."""
    directory = directory.absolute()
    if not directory.exists():
        return []
    _require_ours(directory)
    with _locked(directory):
        _forget_images(directory)
        stopped = _stop(directory)
        _empty(directory)
        shutil.rmtree(directory)
    return [child.name for child in stopped]


def components(directory: Path) -> list[Child]:
    """Give the processes of a folder's network, alive or not."""
    return Records(directory / _RECORDS).all()


def running(directory: Path) -> Network:
    """Give the network of a folder; SandboxError when it is not up."""
    if not _whole(directory):
        raise SandboxError(f"no network is up in {directory}: run `iexworker sandbox up`")
    return network.load(directory)


def _start(directory: Path, options: Options) -> Network:
    made = _network(directory, options)
    made.save()
    records = Records(directory / _RECORDS)
    categories = (*snapshot.CATEGORIES, *options.categories)
    starters: tuple[Callable[[], Child], ...] = (
        lambda: chain.start(made, categories),
        lambda: made.registry.start(made.logs_path / "registry.log"),
        lambda: _start_server(made),
    )
    try:
        for start in starters:
            records.add(start())
    except BaseException:  # an interrupt too must leave nothing running
        _stop(directory)
        raise
    worker_env.write(made)
    return made


def _network(directory: Path, options: Options) -> Network:
    """Choose what was left open."""
    listen = options.listen or "127.0.0.1"
    _require_address(listen)
    chosen = {
        name: _port(REGISTRY_HOST if name == "registry" else listen, name, options)
        for name in DEFAULT_PORTS
    }
    return Network(
        directory=str(directory),
        profile=options.profile or "9",
        listen=listen,
        chain_port=chosen["chain"],
        scheduler_port=chosen["scheduler"],
        config_port=chosen["config"],
        proxy_port=chosen["proxy"],
        registry_port=chosen["registry"],
        block_time_s=options.block_time_s,
        ask_period_ms=options.ask_period_ms,
        timers=options.timers,
    )


def _port(host: str, name: str, options: Options) -> int:
    asked = options.ports.get(name)
    wanted = DEFAULT_PORTS[name] if asked is None else asked
    if wanted and not ports.taken(host, wanted):
        return wanted
    if asked:
        raise SandboxError(f"{host}:{asked} is taken: give {name} another port, or 0 for any")
    return ports.free(host)


def _start_server(made: Network) -> Child:
    """Start scheduler, configuration server and result proxy, which are one process."""
    command = [sys.executable, "-m", "iexworker.sandbox.server", "--dir", made.directory]
    child = children.start("server", command, made.logs_path / "server.log")
    wanted = (made.scheduler_port, made.config_port, made.proxy_port)
    ports.wait_until(lambda: all(ports.answers(made.listen, port) for port in wanted), child)
    return child


def _stop(directory: Path) -> list[Child]:
    return Records(directory / _RECORDS).stop_all()


def _forget_images(directory: Path) -> None:
    """Take the images of a folder's registry out of the Docker engine, if there is one."""
    from iexworker.sandbox import image

    if (directory / network.FILE_NAME).exists():
        with contextlib.suppress(SandboxError), contextlib.closing(image.engine()) as client:
            image.remove_pulled(client, network.load(directory).registry)


def _whole(directory: Path) -> bool:
    """Tell whether every component of a folder's network is alive."""
    alive = {child.name for child in components(directory) if child.alive}
    return alive == set(COMPONENTS) and (directory / network.FILE_NAME).exists()


def _empty(directory: Path) -> None:
    """Delete what is in the folder; a worker's containers may have left files of root there.

    What shows that the folder is ours goes last, so that a failed attempt can be repeated.
    """
    paths = sorted(directory.iterdir(), key=lambda path: path.name == network.FILE_NAME)
    try:
        for path in paths:
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name != _LOCK:
                path.unlink()
    except PermissionError as error:
        raise SandboxError(f"{directory} cannot be emptied, do it as root: {error}") from error


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Keep a second command out of the folder meanwhile."""
    with (directory / _LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _require_ours(directory: Path) -> None:
    """Refuse a folder with somebody else's files: `down` will delete it."""
    if not directory.exists():
        return
    names = {path.name for path in directory.iterdir()} - {_LOCK}
    if names and network.FILE_NAME not in names:
        raise SandboxError(f"{directory} holds other files: give --dir a folder of its own")


def _require_address(listen: str) -> None:
    """Refuse what nobody can call: the address is advertised as it is given."""
    try:
        wildcard = ipaddress.ip_address(listen).is_unspecified
    except ValueError:
        raise SandboxError(f"--listen {listen}: an IP address of this machine is needed") from None
    if wildcard:
        raise SandboxError(f"--listen {listen}: give the address that workers shall call")


def _require_same(found: Network, options: Options) -> None:
    """Refuse to pass off a network that is up for the one asked for."""
    wishes: dict[str, object] = {"profile": options.profile, "listen": options.listen}
    wishes |= {f"{name}_port": port or None for name, port in options.ports.items()}
    for name, wish in wishes.items():
        value = getattr(found, name)
        if wish not in (None, value):
            raise SandboxError(
                f"a network with {name} {value} is up in {found.directory}, not {wish}: "
                "stop it with `iexworker sandbox down`, or add --fresh"
            )
