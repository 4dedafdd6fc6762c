"""Every client of the worker that speaks HTTP, each making one call to an address."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from iexworker.chain.rpc import Rpc
from iexworker.compute.cancellation import Cancellation
from iexworker.compute.download import Download
from iexworker.compute.engine import Engine
from iexworker.core.client import SchedulerClient
from iexworker.core.malformed import Malformed
from iexworker.core.xhr import SessionLost, XhrSession
from iexworker.errors import WorkerError
from iexworker.results.proxy import ResultProxy

TASK = "0x" + "ab" * 32


def _scheduler(url: str) -> None:
    SchedulerClient(url).version()


def _configuration(url: str) -> None:
    SchedulerClient("http://127.0.0.1:1").chain_configuration(url)


def _result_proxy(url: str) -> None:
    ResultProxy(url).ipfs_hash(TASK)


def _event_stream(url: str) -> None:
    session = XhrSession(url, Malformed())
    with contextlib.closing(session.receive()) as events:
        next(events)


def _node(url: str) -> None:
    Rpc(url + "/v3/key").call("eth_chainId")


def _input(url: str) -> None:
    cancellation = Cancellation()
    with TemporaryDirectory() as folder, contextlib.closing(cancellation):
        download = Download(time.time() + 60, cancellation, private_allowed=True, free_bytes=0)
        download.fetch(url + "/data", Path(folder) / "data")


def _engine(url: str) -> None:
    engine = Engine(url.replace("http://", "tcp://"), timeout_s=5)
    with contextlib.closing(engine):
        engine.ping()


CLIENTS: Mapping[str, Callable[[str], None]] = {
    "scheduler": _scheduler,
    "configuration server": _configuration,
    "result proxy": _result_proxy,
    "event stream": _event_stream,
    "chain node": _node,
    "input": _input,
    "Docker engine": _engine,
}


def call(client: str, url: str) -> str:
    """Make the client's call to `http(s)://host:port`; return what it says of a failure."""
    try:
        CLIENTS[client](url)
    except (WorkerError, SessionLost) as error:
        return str(error)
    return ""
