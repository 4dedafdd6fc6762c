"""What may be typed after `iexworker sandbox`: verbs, options, and what is right for each.

A wrong word is answered in one line, with exit code 2, before anything is looked at.
"""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, NoReturn

from iexworker.errors import EXIT_USAGE
from iexworker.sandbox import stack
from iexworker.sandbox.network import ports
from iexworker.sandbox.network.network import Timers, default_directory

Verb = Callable[[argparse.Namespace], int]

MOST_TASKS = 10_000
"""Of one deal: the scheduler of the sandbox keeps all of them in memory."""
DEAREST_RLC = 87_000_000
"""All RLC that there are."""
NRLC_PER_RLC = 10**9

_LONGEST_S = 365 * 24 * 3600
_ANY_DURATION = 0.001, float(_LONGEST_S)
_BLOCK_TIMES_S = 0.1, 15.0
"""A scheduler of 9.x is out of service while the newest block is older than 15 s."""
_ASK_PERIODS_S = 0.1, 3600.0
_MAY_BE_0 = "finalize_delay"
_GREATEST = 2**256 - 1


class Parser(argparse.ArgumentParser):
    """A parser that answers in a line, and says where more is to be read."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:  # noqa: ANN401 - argparse's own overloads
        """Leave no word over: whoever parses the rest would not know the verb."""
        found, rest = super().parse_known_args(args, namespace)
        if rest:
            self.error(f"unrecognized arguments: {' '.join(rest)}")
        return found, rest

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and leave."""
        if "expected one argument" in message:
            message += "; a value that begins with - is joined to its option: --args=-v"
        self.exit(EXIT_USAGE, f"{self.prog}: {message}; see `{self.prog} --help`\n")


def add_parser(
    verbs: argparse._SubParsersAction[argparse.ArgumentParser], runs: Mapping[str, Verb]
) -> None:
    """Add the verb `sandbox` with its own verbs; each sets `verb`, a function of the options."""
    parser = verbs.add_parser(
        "sandbox",
        help="run a whole local iExec network",
        description="A chain with the PoCo contracts, a scheduler, a configuration server, a "
        "result proxy and a Docker registry, on this machine.",
    )
    own = parser.add_subparsers(required=True, metavar="VERB", parser_class=Parser)
    add = _adder(own, runs)
    _add_up(add("up", "start the network, or start it again with the state it had"))
    _add_deal(add("deal", "buy tasks"))
    tasks = add("tasks", "show each task, and who computed it")
    tasks.add_argument("--json", action="store_true", help="print JSON")
    result = add("result", "fetch and show the result of a task")
    result.add_argument("task", type=_task, help="task id, or the beginning of it")
    result.add_argument("-o", "--output", type=Path, metavar="FOLDER", help="unpack it there")
    down = add("down", "stop the network; its state is kept")
    down.description = (
        "Stops every component and takes the images out of Docker. The folder keeps the state, "
        "with which `up` goes on."
    )
    down.add_argument("--delete", action="store_true", help="delete the folder with the state too")
    logs = add("logs", "print the components' logs")
    logs.add_argument("component", nargs="?", choices=stack.COMPONENTS, help="default: all")
    lines = _whole(1, 10**9)
    logs.add_argument("-n", "--lines", type=lines, default=20, metavar="N", help="the last N")


def _adder(own: Any, runs: Mapping[str, Verb]) -> Callable[[str, str], argparse.ArgumentParser]:  # noqa: ANN401 - argparse's own types are private
    def add(name: str, help_: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = own.add_parser(name, help=help_)
        parser.add_argument(
            "--dir",
            type=Path,
            default=default_directory(),
            metavar="FOLDER",
            help="the network's folder (default: %(default)s)",
        )
        parser.set_defaults(verb=runs[name])
        return parser

    return add


def _add_up(up: argparse.ArgumentParser) -> None:
    seconds = _seconds(*_BLOCK_TIMES_S)
    up.add_argument("--profile", choices=("9", "8"), help="generation of the scheduler (9)")
    up.add_argument(
        "--listen", type=_listen, metavar="ADDR", help="address to bind and advertise (127.0.0.1)"
    )
    up.add_argument("--block-time", type=seconds, metavar="S", help="seconds (1)")
    up.add_argument("--fresh", action="store_true", help="begin anew, forget the state")
    for name, port in stack.DEFAULT_PORTS.items():
        text = f"port of the {name}; 0: a free one (default: {port}, or a free one)"
        up.add_argument(f"--{name}-port", type=_port, metavar="N", help=text)
    up.add_argument(
        "--timer",
        type=_timer,
        action="append",
        default=[],
        metavar="NAME=S",
        help="another duration for one of the scheduler's timers: "
        + ", ".join(timer_names())
        + " (the real scheduler's by default)",
    )
    up.add_argument(
        "--ask-period", type=_seconds(*_ASK_PERIODS_S), metavar="S", help="between two demands (5)"
    )
    up.add_argument(
        "--category",
        type=_category,
        action="append",
        default=[],
        metavar="NAME=S",
        help="one more category, of S seconds; the first has id 5",
    )


def _add_deal(deal: argparse.ArgumentParser) -> None:
    whole_above = {low: _whole(low, _GREATEST, "") for low in (0, 1)}
    image = "Docker image (default: the demo app, built when needed)"
    deal.add_argument("--image", type=_image, help=image)
    what = deal.add_mutually_exclusive_group()
    what.add_argument("--args", type=_utf8, default="", help="arguments of the app")
    params = "the deal's whole params, JSON or plain arguments"
    what.add_argument("--params", type=_filled, help=params)
    tasks = f"number of tasks, at most {MOST_TASKS} (1)"
    deal.add_argument("--volume", type=_whole(1, MOST_TASKS), default=1, metavar="N", help=tasks)
    deal.add_argument(
        "--trust", type=whole_above[1], default=1, metavar="N", help="trust level (1)"
    )
    deal.add_argument(
        "--tag", type=_tag, default="0x0", help="0x3 Scone, 0x5 Gramine, 0x9 TDX (0x0)"
    )
    deal.add_argument(
        "--category", type=whole_above[0], default=0, metavar="ID", help="0: 5 minutes (0)"
    )
    callback = "a contract, or the word `receiver`"
    deal.add_argument("--callback", type=_callback, metavar="ADDR", help=callback)
    deal.add_argument("--dataset", type=_filled, metavar="URL", help="where the dataset is")
    deal.add_argument(
        "--dataset-checksum", type=_checksum, default="0x0", metavar="HEX", help="its SHA-256"
    )
    deal.add_argument("--price", type=_price, metavar="RLC", help="for a task's work (0.1)")
    deal.add_argument("--json", action="store_true", help="print JSON")


def timer_names() -> list[str]:
    """Give the names of the scheduler's timers, as they are typed."""
    return [one.name.removesuffix("_s") for one in fields(Timers)]


# --- what is right for each option ---------------------------------------------------------------


def _number(text: str) -> float:
    """Read a number; what is none is one that no range holds."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def _seconds(lowest: float, highest: float) -> Callable[[str], float]:
    def read(text: str) -> float:
        if not lowest <= (number := _number(text)) <= highest:
            raise _wrong(f"{text} is not from {lowest:g} to {highest:.10g} seconds")
        return number

    return read


def _whole(lowest: int, highest: int, upper: str | None = None) -> Callable[[str], int]:
    """Make a reader of whole numbers; `upper` says its end in other words."""

    def read(text: str) -> int:
        number = int(text) if re.fullmatch(r"-?\d{1,78}", text, re.ASCII) else lowest - 1
        if not lowest <= number <= highest:
            end = f" to {highest}" if upper is None else f"{upper} on"
            raise _wrong(f"{text} is not from {lowest}{end}, a whole number")
        return number

    return read


def _port(text: str) -> int:
    if not (re.fullmatch(r"\d{1,5}", text, re.ASCII) and int(text) <= 65535):
        raise _wrong(f"{text} is no port: 0 to 65535")
    return int(text)


def _listen(text: str) -> str:
    if problem := ports.problem_of_address(text):
        raise _wrong(problem)
    return text


def _timer(text: str) -> tuple[str, float]:
    name, seconds = _pair(text)
    if name not in timer_names():
        raise _wrong(f"there is no {name}; {', '.join(timer_names())}")
    lowest, highest = _ANY_DURATION
    try:
        return f"{name}_s", _seconds(0 if name == _MAY_BE_0 else lowest, highest)(seconds)
    except argparse.ArgumentTypeError as error:
        raise _wrong(f"{text}: {error}") from None


def _category(text: str) -> tuple[str, int]:
    name, seconds = _pair(text)
    number = _number(seconds)
    if not (1 <= number <= _LONGEST_S and number.is_integer()):
        raise _wrong(f"{text}: {seconds} is not from 1 to {_LONGEST_S} whole seconds")
    return name, int(number)


def _pair(text: str) -> Sequence[str]:
    name, equals, seconds = text.partition("=")
    if not (name and equals and seconds):
        raise _wrong(f"{text}: NAME=SECONDS is needed")
    return name, seconds


def _utf8(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise _wrong(f"{text.encode(errors='replace').decode()} is no UTF-8") from None
    return text


def _filled(text: str) -> str:
    if not text.strip():
        raise _wrong("it is empty: leave the option away")
    return _utf8(text)


def _image(text: str) -> str:
    if not text or any(one.isspace() for one in text):
        raise _wrong(f"{text!r} is no name of an image")
    return _utf8(text)


def _tag(text: str) -> str:
    if not re.fullmatch(r"(0x)?[0-9a-fA-F]{1,64}", text):
        raise _wrong(f"{text or 'nothing'} is no tag: up to 64 hexadecimal digits, like 0x3")
    return text


def _callback(text: str) -> str:
    if text == "receiver":
        return text
    if not re.fullmatch(r"0x[0-9a-fA-F]{40}", text):
        raise _wrong(f"{text or 'nothing'} is no address: 0x and 40 hexadecimal digits")
    digits = text[2:]
    if digits not in (digits.lower(), digits.upper()):
        from eth_utils.address import is_checksum_address

        if not is_checksum_address(text):
            raise _wrong(f"{text} is mistyped: its capitals are a checksum, which is wrong")
    return text


def _checksum(text: str) -> str:
    if not re.fullmatch(r"(0x)?[0-9a-fA-F]{64}|0x0", text):
        raise _wrong(f"{text or 'nothing'} is no SHA-256: 64 hexadecimal digits")
    return text


def _price(text: str) -> float:
    if not 0 <= (price := _number(text)) <= DEAREST_RLC:
        raise _wrong(f"{text} is not from 0 to {DEAREST_RLC} RLC")
    if price and round(price * NRLC_PER_RLC) < 1:
        raise _wrong(f"{text} RLC is less than the smallest part, 0.000000001")
    return price


def _task(text: str) -> str:
    found = re.fullmatch(r"(?:0x)?([0-9a-fA-F]{1,64})", text)
    if not found:
        raise _wrong(
            f"{text or 'nothing'} is no beginning of a task's id: 0x and hexadecimal digits"
        )
    return "0x" + found[1].lower()


def _wrong(words: str) -> argparse.ArgumentTypeError:
    return argparse.ArgumentTypeError(words)
