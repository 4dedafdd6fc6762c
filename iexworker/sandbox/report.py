"""What the scheduler's book tells of tasks, for who asks about them on the command line."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from iexworker.sandbox.network.network import Network
from iexworker.sandbox.scheduler import explain
from iexworker.sandbox.scheduler.models import ENDED, Profile, Replicate
from iexworker.sandbox.scheduler.store import Book

if TYPE_CHECKING:
    from iexworker.sandbox.chain.chain import LocalChain
    from iexworker.sandbox.chain.history import Task

SHOWN_BYTES = 4096
"""Of what an app wrote, the last ones; of callback data, the first ones."""


def names(chain: LocalChain) -> dict[str, str]:
    """Give the accounts' roles by address in lower case."""
    return {account.address.lower(): role for role, account in chain.accounts.items()}


def troubles(
    network: Network, names: Mapping[str, str], tasks: Sequence[Task]
) -> dict[str, list[str]]:
    """Say of each task what is wrong with it, as far as the scheduler knows."""
    with _book(network) as book:
        return {one.task_id: _of(book, network, names, one) for one in tasks}


def outcome(network: Network, names: Mapping[str, str], task: Task) -> Iterator[str]:
    """Say what there is of a task without result: how far it came, and what the app wrote."""
    with _book(network) as book:
        known = book.tasks.get(task.task_id)
        replicates = known.every() if known else []
        told = _of(book, network, names, task)
    for one in replicates:
        name = names.get(one.wallet, one.wallet)
        if not any(words.startswith(f"{name}: ") for words in told):
            code = "" if one.exit_code is None else f", the app's exit code is {one.exit_code}"
            yield f"{name}: {one.status.value}{code}"
    yield from told
    for one in replicates:
        yield from _written(names.get(one.wallet, one.wallet), one)


def is_given_up(network: Network, task_id: str) -> bool:
    """Tell whether the scheduler has done with a task."""
    with _book(network) as book:
        known = book.tasks.get(task_id)
        return known is not None and known.status in ENDED


def shortened(data: bytes) -> str:
    """Give bytes as hex, the first ones when they are many."""
    if len(data) <= SHOWN_BYTES:
        return "0x" + data.hex()
    return f"0x{data[:SHOWN_BYTES].hex()}... ({len(data)} bytes)"


@contextlib.contextmanager
def _book(network: Network) -> Iterator[Book]:
    book = Book(network.book_path)
    try:
        yield book
    finally:
        book.close()


def _of(book: Book, network: Network, names: Mapping[str, str], task: Task) -> list[str]:
    known = book.tasks.get(task.task_id)
    if known is not None:
        return explain.of_both(known, Profile(network.profile), names)
    if reason := book.unreadable.get(task.deal_id):
        return [f"the scheduler cannot read its deal: {reason}"]
    return []


def _written(name: str, replicate: Replicate) -> Iterator[str]:
    """Show what an app wrote, as far as its worker told it."""
    for stream, text in (("stdout", replicate.stdout), ("stderr", replicate.stderr)):
        if text:
            size, end = len(text.encode()), text[-SHOWN_BYTES:]
            part = "" if end == text else f", the last {len(end)} characters"
            yield f"--- {name}: {stream} ({size} bytes{part})"
            yield from (explain.printable(line) for line in end.splitlines())
