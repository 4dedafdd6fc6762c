"""Bringing a sandbox network up and taking it down again; its state stays, unless told."""

from __future__ import annotations

import contextlib
import enum
import fcntl
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from iexworker.errors import SandboxError, SandboxUsage
from iexworker.sandbox.chain import chain, snapshot, worker_wallets
from iexworker.sandbox.network import needs, network, ports, processes, worker_env
from iexworker.sandbox.network.network import Network, Timers
from iexworker.sandbox.network.processes import Child, Records
from iexworker.sandbox.network.registry import HOST as REGISTRY_HOST
from iexworker.sandbox.network.tools import Say

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
_KEPT = frozenset((_LOCK, worker_wallets.SEED_NAME))
"""What stays in the folder when a network in it begins anew."""


@dataclass(frozen=True, slots=True)
class Options:
    """What a user may choose of a network; None: not minded."""

    profile: str | None = None
    listen: str | None = None
    ports: Mapping[str, int] = field(default_factory=dict)
    """Of the names in `DEFAULT_PORTS`, 0 for a free one; a name that is missing is not minded."""
    block_time_s: float | None = None
    ask_period_ms: int | None = None
    timers: Timers | None = None
    categories: tuple[tuple[str, int], ...] = ()
    """More than the usual five; their ids follow on."""


class Start(enum.Enum):
    """What `up` did; the value says it to the user."""

    NEW = "up"
    KEPT = "up again"
    AFTER_KILL = "up again, maybe without the last minute of the chain (its node had been killed)"
    TORN = "up again, the chain as at its last start (its node had been killed while it wrote)"
    NONE = "already up"


def _silent(_: str) -> None:
    """Tell nobody."""


def up(
    directory: Path, options: Options, *, fresh: bool = False, say: Say = _silent
) -> tuple[Network, Start]:
    """Start a network, unless the folder's is up already; go on with its state, if it has one.

    `say` is told what is fetched, for which one may have to wait.

    Raises:
        SandboxError: the machine lacks something, a component does not start, a port is taken,
            the folder's network is of another kind.

    """
    directory = directory.absolute()
    _require_apart(options)
    _require_ours(directory)
    directory.mkdir(parents=True, exist_ok=True)
    with _locked(directory, say):
        if fresh or not has_state(directory):
            _forget_images(directory)
            _stop(directory)
            _empty(directory)
            return _start_new(directory, options, say), Start.NEW
        found = network.load(directory)
        if _whole(directory):
            _require_same(found, options, "is up")
            _require_nothing_new(found, options)
            return found, Start.NONE
        _require_same(replace(found, **_new_ports(options)), options, "is kept")
        found = replace(found, directory=str(directory))
        kind = _stop_for_restart(found)
        return _start_again(found, options, say), kind


def down(directory: Path, *, delete: bool = False, say: Say = _silent) -> list[str]:
    """Stop the network of a folder, keep or delete its state; give the names of what was stopped.

    The Docker engine keeps none of its images either way: the registry has them.
    """
    directory = directory.absolute()
    if not directory.exists():
        return []
    _require_ours(directory)
    with _locked(directory, say):
        _forget_images(directory)
        stopped = _stop(directory)
        if delete:
            _empty(directory)
            shutil.rmtree(directory)
    return [child.name for child in stopped]


def has_state(directory: Path) -> bool:
    """Tell whether a network was started in a folder and not deleted since."""
    return all((directory / name).exists() for name in (network.FILE_NAME, network.DEPLOYED_NAME))


def components(directory: Path) -> list[Child]:
    """Give the processes of a folder's network, alive or not."""
    return Records(directory / _RECORDS).all()


def logs(directory: Path) -> dict[str, Path]:
    """Give the components' logs by name; they are there when the network is down too."""
    _require_folder(directory)
    paths = {name: network.logs_folder(directory) / f"{name}.log" for name in COMPONENTS}
    return {name: path for name, path in paths.items() if path.exists()}


def running(directory: Path) -> Network:
    """Give the network of a folder; SandboxError when it is not up, or not whole."""
    _require_folder(directory)
    dead = [child.name for child in components(directory) if not child.alive]
    if not _whole(directory):
        up_again = network.command("up", directory)
        if len(dead) in (0, len(COMPONENTS)):
            raise SandboxError(f"no network is up in {directory}: run {up_again}")
        raise SandboxError(
            f"the {' and the '.join(dead)} of the network in {directory} has ended: see "
            f"{network.command(f'logs {dead[0]}', directory)}; {up_again} starts it again"
        )
    return network.load(directory)


def _start_new(directory: Path, options: Options, say: Say) -> Network:
    made = _network(directory, options)
    try:
        _start(made, options, say)
    except BaseException:
        made.deployed_path.unlink(missing_ok=True)  # it never was up: the next start begins anew
        raise
    return made


def _stop_for_restart(found: Network) -> Start:
    """Stop what is left of a network; tell how much of its chain there is."""
    killed = any(one.name == "anvil" and not one.alive for one in components(found.path))
    _stop(found.path)
    if chain.state(found).is_torn():
        return Start.TORN
    return Start.AFTER_KILL if killed else Start.KEPT


def _start_again(found: Network, options: Options, say: Say) -> Network:
    """Start a network on its state. What is written on its chain names ports, so they stay."""
    if options.categories:
        raise SandboxError(
            f"the network kept in {found.directory} has its categories on its chain: "
            "more of them need a new network, add --fresh"
        )
    again = _tuned(replace(found, **_new_ports(options)), options)
    for name in DEFAULT_PORTS:
        host, port = _host(again.listen, name), int(getattr(again, f"{name}_port"))
        if ports.taken(host, port):
            raise SandboxError(
                f"{host}:{port}, the {name} of the network kept in {found.directory}, is taken by "
                f"another program: stop that one, or move with --{name}-port, or add --fresh"
            )
    _start(again, options, say)
    return again


def _start(made: Network, options: Options, say: Say) -> None:
    needs.provide(made.profile, say)
    made.save()
    records = Records(made.path / _RECORDS)
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
        _stop(made.path)
        raise
    worker_env.write(made)


def _network(directory: Path, options: Options) -> Network:
    """Choose what was left open."""
    listen = options.listen or "127.0.0.1"
    _require_address(listen)
    chosen = _choose_ports(listen, options)
    made = Network(
        directory=str(directory),
        profile=options.profile or "9",
        listen=listen,
        chain_port=chosen["chain"],
        scheduler_port=chosen["scheduler"],
        config_port=chosen["config"],
        proxy_port=chosen["proxy"],
        registry_port=chosen["registry"],
    )
    return _tuned(made, options)


def _tuned(made: Network, options: Options) -> Network:
    """Set the durations that are chosen; they may be others at each start."""
    return replace(
        made,
        block_time_s=options.block_time_s or made.block_time_s,
        ask_period_ms=options.ask_period_ms or made.ask_period_ms,
        timers=options.timers or made.timers,
    )


def _new_ports(options: Options) -> dict[str, Any]:
    """Give the ports that are asked for, as fields of a network; 0 minds none."""
    return {f"{name}_port": port for name, port in options.ports.items() if port}


def _host(listen: str, name: str) -> str:
    return REGISTRY_HOST if name == "registry" else listen


def _choose_ports(listen: str, options: Options) -> dict[str, int]:
    """Take the ports that are asked for, then the usual ones, then any; none of them twice."""
    chosen: dict[str, int] = {}
    for name in sorted(DEFAULT_PORTS, key=lambda name: not options.ports.get(name)):
        chosen[name] = _port(_host(listen, name), name, options, set(chosen.values()))
    return chosen


def _port(host: str, name: str, options: Options, given: set[int]) -> int:
    asked = options.ports.get(name)
    wanted = DEFAULT_PORTS[name] if asked is None else asked
    if asked and (hindrance := ports.hindrance(host, asked)):
        raise SandboxError(
            f"{host}:{asked} {hindrance}: give --{name}-port another one, or 0 for any"
        )
    if wanted and wanted not in given and not ports.taken(host, wanted):
        return wanted
    while (port := ports.free(host)) in given:
        pass
    return port


def _start_server(made: Network) -> Child:
    """Start scheduler, configuration server and result proxy, which are one process."""
    # -P: the user's folder may hold modules of other names than ours, but like those we import.
    command = [sys.executable, "-P", "-m", "iexworker.sandbox.server", "--dir", made.directory]
    child = processes.start("server", command, made.logs_path / "server.log")
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
            elif path.name not in _KEPT:
                path.unlink()
    except PermissionError as error:
        raise SandboxError(f"{directory} cannot be emptied, do it as root: {error}") from error


@contextlib.contextmanager
def _locked(directory: Path, say: Say = _silent) -> Iterator[None]:
    """Keep a second command out of the folder meanwhile."""
    with (directory / _LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for another command in {directory}")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _require_folder(directory: Path) -> None:
    if directory.exists() and not directory.is_dir():
        raise SandboxError(f"{directory} is a file, not a folder: give --dir another path")


def _require_ours(directory: Path) -> None:
    """Refuse a folder with somebody else's files: it may be deleted later."""
    _require_folder(directory)
    if not directory.exists():
        return
    names = {path.name for path in directory.iterdir()} - _KEPT
    if names and network.FILE_NAME not in names:
        raise SandboxError(f"{directory} holds other files: give --dir a folder of its own")


def _require_address(listen: str) -> None:
    """Refuse what nobody can call."""
    if problem := ports.problem_of_address(listen):
        raise SandboxUsage(f"--listen: {problem}")
    if not ports.is_here(listen):
        raise SandboxError(f"--listen {listen} is no address of this machine: see `ip address`")


def _require_apart(options: Options) -> None:
    """Refuse one port for two components."""
    names: dict[int, str] = {}
    for name, port in options.ports.items():
        if port and port in names:
            raise SandboxUsage(f"--{names[port]}-port and --{name}-port are both {port}")
        names[port] = name


def _require_nothing_new(found: Network, options: Options) -> None:
    """Refuse to pass over what a network takes on at its start alone."""
    wishes: dict[str, tuple[object, object]] = {
        "block time": (options.block_time_s, found.block_time_s),
        "ask period": (options.ask_period_ms, found.ask_period_ms),
        "timers": (options.timers, found.timers),
        "a category": (options.categories or None, None),
    }
    news = [name for name, (wish, value) in wishes.items() if wish not in (None, value)]
    if news:
        fresh = ", then `up --fresh`, which begins anew" if options.categories else ", then `up`"
        raise SandboxError(
            f"the network in {found.directory} is up and takes on {', '.join(news)} only at its "
            f"start: {network.command('down', found.path)}{fresh}"
        )


def _require_same(found: Network, options: Options, state: str) -> None:
    """Refuse to pass off the network that there is for the one asked for."""
    wishes: dict[str, object] = {"profile": options.profile, "listen": options.listen}
    wishes |= {f"{name}_port": port or None for name, port in options.ports.items()}
    for name, wish in wishes.items():
        value = getattr(found, name)
        if wish not in (None, value):
            raise SandboxError(
                f"a network with {name} {value} {state} in {found.directory}, not {wish}: "
                "give --dir another folder, or add --fresh to begin anew without its tasks"
            )
