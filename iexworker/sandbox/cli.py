"""`iexworker sandbox ...`: a whole local iExec network from the command line.

What needs web3 or docker is imported by the verb that needs it.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import functools
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from iexworker.errors import EXIT_OK, SandboxError
from iexworker.sandbox import arguments, report, stack
from iexworker.sandbox.arguments import NRLC_PER_RLC
from iexworker.sandbox.network import processes
from iexworker.sandbox.network.network import Network, Timers, command
from iexworker.sandbox.scheduler import explain
from iexworker.sandbox.stack import DEFAULT_PORTS, Options

if TYPE_CHECKING:
    from iexworker.sandbox.chain.chain import LocalChain
    from iexworker.sandbox.chain.history import Task

_ADVICE = {
    errno.ENOSPC: "the disk is full: free some space, or give --dir a folder on another one",
    errno.EDQUOT: "your quota is used up: free some space, or give --dir a folder elsewhere",
    errno.EROFS: "it is mounted read-only: give --dir a folder that can be written",
    errno.EACCES: "it is another user's: give --dir a folder of your own",
    errno.EPERM: "it is another user's: give --dir a folder of your own",
}
_OTHER_ADVICE = "give --dir a folder that can be made and written"


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb `sandbox` with its own verbs; each sets `verb`, a function of the options."""
    runs = {"up": _up, "deal": _deal, "tasks": _tasks, "result": _result, "down": _down}
    runs["logs"] = _logs
    arguments.add_parser(verbs, {name: _worded(run) for name, run in runs.items()})


def _worded(run: arguments.Verb) -> arguments.Verb:
    """Have what the system refuses told with its path and with what to do."""

    @functools.wraps(run)
    def verb(options: argparse.Namespace) -> int:
        try:
            return run(options)
        except BrokenPipeError:
            raise  # who read our output has left
        except OSError as error:
            path = error.filename or options.dir
            advice = _ADVICE.get(error.errno or 0, _OTHER_ADVICE)
            raise SandboxError(f"{path}: {error.strerror or error}: {advice}") from error

    return verb


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
    return Options(
        profile=options.profile,
        listen=options.listen,
        ports={name: port for name, port in given.items() if port is not None},
        block_time_s=options.block_time,
        ask_period_ms=None if options.ask_period is None else round(options.ask_period * 1000),
        timers=replace(Timers(), **dict(options.timer)) if options.timer else None,
        categories=tuple(options.category),
    )


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
        workerpool_price_nrlc=(
            deals.WORKERPOOL_PRICE_NRLC if price is None else round(price * NRLC_PER_RLC)
        ),
    )
    with _chain(network) as chain:
        deal = deals.buy(chain, purchase)
        warnings = [*deals.warnings(chain, purchase), *_image_warnings(network, purchase.image)]
    if options.json:
        _say(json.dumps({"dealId": deal.deal_id, "taskIds": deal.task_ids}, indent=2))
    else:
        _say(f"deal {deal.deal_id}")
        for task_id in deal.task_ids:
            _say(f"task {task_id}")
    for warning in warnings:
        _warn(warning)
    return EXIT_OK


def _demo_image(network: Network) -> str:
    from iexworker.sandbox import image

    return image.publish(image.engine(), network.registry)


def _image_warnings(network: Network, name: str) -> list[str]:
    from iexworker.sandbox import image

    found = image.unpushed(network.registry, name)
    return [found] if found else []


def _tasks(options: argparse.Namespace) -> int:
    from iexworker.sandbox.chain import history

    network = stack.running(options.dir)
    with _chain(network) as chain:
        found = history.tasks(chain)
        troubles = report.troubles(network, report.names(chain), found)
    if options.json:
        told = [_as_json(one) | {"troubles": troubles[one.task_id]} for one in found]
        _say(json.dumps(told, indent=2))
        return EXIT_OK
    if not found:
        _say("no task was bought yet: see `iexworker sandbox deal --help`")
    for one in found:
        by = ", ".join(one.winners) or ", ".join(
            f"{name} (unrevealed)" for name in one.contributors
        )
        _say(f"{one.task_id}  {one.status:<9}  {by or '-'}")
        for words in troubles[one.task_id]:
            _say(f"    {words}")
    if any(set(words) - {explain.NOT_TAKEN} for words in troubles.values()):
        _say(explain.WHERE_TO_LOOK)
    return EXIT_OK


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
    with _chain(network) as chain:
        task = history.task(chain, options.task)
        names = report.names(chain)
    if not task.results:
        for line in report.outcome(network, names, task):
            _say(line)
        yet = "" if task.ended or report.is_given_up(network, task.task_id) else " yet"
        raise SandboxError(f"task {task.task_id} is {task.status} and has no result{yet}")
    if contract := history.callback_address(task):
        _say(f"the result went to the contract {contract}: {report.shortened(task.callback)}")
        return EXIT_OK
    content = result.fetch(network, history.result_location(task))
    if options.output is not None:
        result.unpack(content, options.output)
        _say(f"unpacked into {options.output}")
    else:
        _say(result.show(content))
    return EXIT_OK


def _down(options: argparse.Namespace) -> int:
    existed = options.dir.exists()
    stopped = stack.down(options.dir, delete=options.delete, say=_say)
    _say(f"stopped: {', '.join(stopped)}" if stopped else f"no network was up in {options.dir}")
    if existed and options.delete:
        _say(f"deleted: {options.dir}")
    elif stack.has_state(options.dir):
        _say(f"its state is kept in {options.dir}")
        _say(f"  to go on with it: {command('up', options.dir).strip('`')}")
        _say(f"  to delete it:     {command('down --delete', options.dir).strip('`')}")
    return EXIT_OK


def _logs(options: argparse.Namespace) -> int:
    found = stack.logs(options.dir)
    chosen = {name: log for name, log in found.items() if options.component in (None, name)}
    if not chosen:
        what = f"log of the {options.component}" if options.component else "log"
        raise SandboxError(
            f"there is no {what} in {options.dir}: "
            f"{command('up', options.dir)} starts a network there"
        )
    for name, log in chosen.items():
        _say(f"--- {name} ({log})")
        _say(processes.tail(log, options.lines))
    return EXIT_OK


@contextlib.contextmanager
def _chain(network: Network) -> Iterator[LocalChain]:
    """Connect to the chain; what goes wrong with it inside is told in words."""
    from iexworker.sandbox.chain.chain import LocalChain, in_words

    with in_words(network):
        yield LocalChain.open(network.deployed_path)


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - the terminal is ours


def _warn(text: str) -> None:
    print(f"iexworker: warning: {text}", file=sys.stderr)  # noqa: T201 - as above
