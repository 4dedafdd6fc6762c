"""`iexworker sandbox ...`: a whole local iExec network from the command line.

What needs web3 or docker is imported by the verb that needs it.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from iexworker.errors import EXIT_OK, SandboxError
from iexworker.sandbox import stack
from iexworker.sandbox.network import processes
from iexworker.sandbox.network.network import Network, Timers
from iexworker.sandbox.scheduler import explain
from iexworker.sandbox.scheduler.models import Profile
from iexworker.sandbox.scheduler.store import Book
from iexworker.sandbox.stack import DEFAULT_PORTS, Options

if TYPE_CHECKING:
    from iexworker.sandbox.chain.chain import LocalChain
    from iexworker.sandbox.chain.history import Task


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb `sandbox` with its own verbs; each sets `verb`, a function of the options."""
    parser = verbs.add_parser(
        "sandbox",
        help="run a whole local iExec network",
        description="A chain with the PoCo contracts, a scheduler, a configuration server, a "
        "result proxy and a Docker registry, on this machine.",
    )
    own = parser.add_subparsers(required=True, metavar="VERB")
    _add_up(own)
    _add_deal(own)
    _add_tasks(own)
    _add_result(own)
    down = _add(own, "down", _down, "stop the network; its state is kept")
    down.description = (
        "Stops every component and takes the images out of Docker. The folder keeps the state, "
        "with which `up` goes on."
    )
    down.add_argument("--delete", action="store_true", help="delete the folder with the state too")
    logs = _add(own, "logs", _logs, "print the components' logs")
    logs.add_argument("component", nargs="?", choices=stack.COMPONENTS, help="default: all")
    logs.add_argument("-n", "--lines", type=int, default=20, metavar="N", help="the last N")


def _add(own: Any, name: str, verb: Any, help_: str) -> argparse.ArgumentParser:  # noqa: ANN401 - argparse's own types are private
    parser: argparse.ArgumentParser = own.add_parser(name, help=help_)
    parser.add_argument(
        "--dir",
        type=Path,
        default=stack.default_directory(),
        metavar="FOLDER",
        help="the network's folder (default: %(default)s)",
    )
    parser.set_defaults(verb=verb)
    return parser


def _add_up(own: Any) -> None:  # noqa: ANN401 - as above
    up = _add(own, "up", _up, "start the network, or start it again with the state it had")
    up.add_argument("--profile", choices=("9", "8"), help="generation of the scheduler (9)")
    up.add_argument("--listen", metavar="ADDR", help="address to bind and advertise (127.0.0.1)")
    up.add_argument("--block-time", type=float, metavar="S", help="seconds (1)")
    up.add_argument("--fresh", action="store_true", help="begin anew, forget the state")
    for name, port in DEFAULT_PORTS.items():
        text = f"port of the {name}; 0: a free one (default: {port}, or a free one)"
        up.add_argument(f"--{name}-port", type=int, metavar="N", help=text)
    up.add_argument(
        "--timer",
        action="append",
        default=[],
        metavar="NAME=S",
        help="another duration for one of the scheduler's timers: "
        + ", ".join(_timer_names())
        + " (the real scheduler's by default)",
    )
    up.add_argument("--ask-period", type=float, metavar="S", help="between two demands (5)")
    up.add_argument(
        "--category",
        action="append",
        default=[],
        metavar="NAME=S",
        help="one more category, of S seconds; the first has id 5",
    )


def _add_deal(own: Any) -> None:  # noqa: ANN401 - as above
    deal = _add(own, "deal", _deal, "buy tasks")
    deal.add_argument("--image", help="Docker image (default: the demo app, built when needed)")
    what = deal.add_mutually_exclusive_group()
    what.add_argument("--args", default="", help="arguments of the app")
    what.add_argument("--params", help="the deal's whole params, JSON or plain arguments")
    deal.add_argument("--volume", type=int, default=1, metavar="N", help="number of tasks (1)")
    deal.add_argument("--trust", type=int, default=1, metavar="N", help="trust level (1)")
    deal.add_argument("--tag", default="0x0", help="0x3 Scone, 0x5 Gramine, 0x9 TDX (0x0)")
    deal.add_argument("--category", type=int, default=0, metavar="ID", help="0: 5 minutes (0)")
    deal.add_argument("--callback", metavar="ADDR", help="a contract, or the word `receiver`")
    deal.add_argument("--dataset", metavar="URL", help="where the dataset is")
    deal.add_argument("--dataset-checksum", default="0x0", metavar="HEX", help="its SHA-256")
    deal.add_argument("--price", type=float, metavar="RLC", help="for a task's work (0.1)")
    deal.add_argument("--json", action="store_true", help="print JSON")


def _add_tasks(own: Any) -> None:  # noqa: ANN401 - as above
    tasks = _add(own, "tasks", _tasks, "show each task, and who computed it")
    tasks.add_argument("--json", action="store_true", help="print JSON")


def _add_result(own: Any) -> None:  # noqa: ANN401 - as above
    result = _add(own, "result", _result, "fetch and show the result of a task")
    result.add_argument("task", help="task id, or the beginning of it")
    result.add_argument("-o", "--output", type=Path, metavar="FOLDER", help="unpack it there")


def _up(options: argparse.Namespace) -> int:
    network, start = stack.up(options.dir, _stack_options(options), fresh=options.fresh, say=_say)
    _say(f"{start.value}: profile {network.profile} in {network.directory}")
    for name, address in (
        ("scheduler", network.scheduler_url),
        ("chain", network.chain_rpc),
        ("configuration", network.config_url),
        ("results", network.proxy_url),
        ("registry", network.registry_address),
    ):
        _say(f"  {name:<14} {address}")
    _say("a worker joins it with the variables of worker.env there:")
    _say((network.path / "worker.env").read_text(encoding="utf-8").rstrip())
    return EXIT_OK


def _stack_options(options: argparse.Namespace) -> Options:
    given = {name: getattr(options, f"{name}_port") for name in DEFAULT_PORTS}
    timers = {f"{name}_s": seconds for name, seconds in _pairs("--timer", options.timer)}
    if unknown := timers.keys() - {one.name for one in fields(Timers)}:
        raise SandboxError(f"--timer: no {', '.join(sorted(unknown))}; {', '.join(_timer_names())}")
    categories = _pairs("--category", options.category)
    return Options(
        profile=options.profile,
        listen=options.listen,
        ports={name: port for name, port in given.items() if port is not None},
        block_time_s=options.block_time,
        ask_period_ms=None if options.ask_period is None else round(options.ask_period * 1000),
        timers=replace(Timers(), **timers) if timers else None,
        categories=tuple((name, round(seconds)) for name, seconds in categories),
    )


def _pairs(option: str, texts: Sequence[str]) -> list[tuple[str, float]]:
    """Read `NAME=SECONDS` texts."""
    pairs = []
    for text in texts:
        name, _, seconds = text.partition("=")
        try:
            pairs.append((name, float(seconds)))
        except ValueError:
            raise SandboxError(f"{option} {text}: NAME=SECONDS is needed") from None
    return pairs


def _timer_names() -> list[str]:
    return [one.name.removesuffix("_s") for one in fields(Timers)]


def _deal(options: argparse.Namespace) -> int:
    from iexworker.sandbox.chain import deals

    network = stack.running(options.dir)
    price = options.price
    purchase = deals.Purchase(
        image=options.image or _demo_image(network),
        params=options.params or deals.default_params(options.args, network.proxy_url),
        volume=options.volume,
        trust=options.trust,
        tag=options.tag,
        category=options.category,
        callback=options.callback or deals.ZERO_ADDRESS,
        dataset=options.dataset,
        dataset_checksum=options.dataset_checksum,
        workerpool_price_nrlc=deals.WORKERPOOL_PRICE_NRLC if price is None else round(price * 1e9),
    )
    deal = deals.buy(_chain(network), purchase)
    if options.json:
        _say(json.dumps({"dealId": deal.deal_id, "taskIds": deal.task_ids}, indent=2))
    else:
        _say(f"deal {deal.deal_id}")
        for task_id in deal.task_ids:
            _say(f"task {task_id}")
    return EXIT_OK


def _demo_image(network: Network) -> str:
    from iexworker.sandbox import image

    return image.publish(image.engine(), network.registry)


def _tasks(options: argparse.Namespace) -> int:
    from iexworker.sandbox.chain import history

    network = stack.running(options.dir)
    chain = _chain(network)
    found, troubles = history.tasks(chain), _troubles(network, chain)
    if options.json:
        told = [_as_json(one) | {"troubles": troubles.get(one.task_id, [])} for one in found]
        _say(json.dumps(told, indent=2))
        return EXIT_OK
    if not found:
        _say("no task was bought yet: see `iexworker sandbox deal --help`")
    for one in found:
        by = ", ".join(one.winners) or ", ".join(
            f"{name} (unrevealed)" for name in one.contributors
        )
        _say(f"{one.task_id}  {one.status:<9}  {by or '-'}")
        for words in troubles.get(one.task_id, []):
            _say(f"    {words}")
    if any(set(words) - {explain.NOT_TAKEN} for words in troubles.values()):
        _say(explain.WHERE_TO_LOOK)
    return EXIT_OK


def _troubles(network: Network, chain: LocalChain) -> dict[str, list[str]]:
    """Say of each task what the scheduler knows to be wrong with it."""
    book, profile = Book(network.book_path), Profile(network.profile)
    names = {account.address.lower(): role for role, account in chain.accounts.items()}
    found = {name: explain.of_both(task, profile, names) for name, task in book.tasks.items()}
    book.close()
    return found


def _as_json(task: Task) -> dict[str, Any]:
    return {
        "taskId": task.task_id,
        "dealId": task.deal_id,
        "index": task.index,
        "status": task.status,
        "contributors": task.contributors,
        "winners": task.winners,
        "results": task.results.decode(errors="replace"),
    }


def _result(options: argparse.Namespace) -> int:
    from iexworker.sandbox.chain import history
    from iexworker.sandbox.proxy import result

    network = stack.running(options.dir)
    task = history.task(_chain(network), options.task)
    content = result.fetch(network, history.result_location(task))
    if options.output is not None:
        result.unpack(content, options.output)
        _say(f"unpacked into {options.output}")
    else:
        _say(result.show(content))
    return EXIT_OK


def _down(options: argparse.Namespace) -> int:
    existed = options.dir.exists()
    stopped = stack.down(options.dir, delete=options.delete)
    _say(f"stopped: {', '.join(stopped)}" if stopped else "no network was up")
    if existed and options.delete:
        _say(f"deleted: {options.dir}")
    elif stack.has_state(options.dir):
        where = "" if options.dir == stack.default_directory() else f" --dir {options.dir}"
        _say(f"its state is kept in {options.dir}")
        _say(f"  to go on with it: iexworker sandbox up{where}")
        _say(f"  to delete it:     iexworker sandbox down --delete{where}")
    return EXIT_OK


def _logs(options: argparse.Namespace) -> int:
    for name, log in stack.logs(options.dir).items():
        if options.component in (None, name):
            _say(f"--- {name} ({log})")
            _say(processes.tail(log, options.lines))
    return EXIT_OK


def _chain(network: Network) -> LocalChain:
    from iexworker.sandbox.chain.chain import LocalChain

    return LocalChain.open(network.deployed_path)


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - the terminal is ours
