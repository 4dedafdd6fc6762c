"""The control socket: one JSON line asks, one JSON line answers.

`<base>/<name>/control.sock`, mode 0600, so the file system says who may ask. The server lives in
the parent's loop and never waits for a client; the client is the command line.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from iexworker import file_errors
from iexworker.errors import SettingsError, WorkerError

SOCKET_NAME = "control.sock"

_MAX_REQUEST_BYTES = 4096
_MAX_CLIENTS = 16
_CLIENT_PATIENCE_S = 5.0

Answer = Callable[[], Mapping[str, object]]


class NotRunning(WorkerError):
    """No worker answers on the control socket; raised by the client."""

    exit_code = 3  # as `systemctl status` has it


@contextlib.contextmanager
def _address(root: Path) -> Iterator[str]:
    """Give an address of the socket that fits the 107 bytes of sun_path, however deep the root."""
    folder = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{SOCKET_NAME}"
    finally:
        os.close(folder)


class ControlServer:
    """Answers verbs from the loop of its owner; whoever owns it holds the lock on `root`."""

    def __init__(
        self, root: Path, selector: selectors.BaseSelector, verbs: Mapping[str, Answer]
    ) -> None:
        self._path = root / SOCKET_NAME
        self._selector = selector
        self._verbs = verbs
        self._clients: dict[socket.socket, _Client] = {}
        self._listener = _listen(root)
        selector.register(self._listener, selectors.EVENT_READ, self._accept)

    def expire(self, now: float) -> None:
        """Drop the clients that have been silent for too long."""
        for client in [item for item in self._clients.values() if item.expires_at <= now]:
            self._drop(client)

    def close(self, *, unlink: bool) -> None:
        """Close every socket; `unlink` in the parent only, a child leaves the file alone."""
        for client in list(self._clients.values()):
            client.connection.close()
        self._clients.clear()
        self._listener.close()
        if unlink:
            self._path.unlink(missing_ok=True)

    def _accept(self, _events: int) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return
        if len(self._clients) >= _MAX_CLIENTS:
            connection.close()
            return
        connection.setblocking(False)
        client = _Client(connection, time.monotonic() + _CLIENT_PATIENCE_S)
        self._clients[connection] = client
        self._selector.register(
            connection, selectors.EVENT_READ, lambda _events: self._serve(client)
        )

    def _serve(self, client: _Client) -> None:
        try:
            done = client.write() if client.output else self._read(client)
        except BlockingIOError:
            return
        except OSError:
            done = True
        if done:
            self._drop(client)

    def _read(self, client: _Client) -> bool:
        """Take what came; answer when the line is whole. True when the client is done with."""
        line = client.read()
        if line is None:
            return client.finished
        client.output = json.dumps(self._answer(line)).encode() + b"\n"
        self._selector.modify(
            client.connection, selectors.EVENT_WRITE, lambda _events: self._serve(client)
        )
        return client.write()

    def _answer(self, line: bytes) -> Mapping[str, object]:
        try:
            request = json.loads(line)
        except ValueError:
            return {"error": "the request is not a line of JSON"}
        verb = request.get("verb") if isinstance(request, dict) else None
        answer = self._verbs.get(verb) if isinstance(verb, str) else None
        if answer is None:
            return {"error": f"unknown verb {verb!r}; known: {', '.join(self._verbs)}"}
        return answer()

    def _drop(self, client: _Client) -> None:
        with contextlib.suppress(KeyError):
            self._selector.unregister(client.connection)
        self._clients.pop(client.connection, None)
        client.connection.close()


class _Client:
    """One connection: what it has sent, and what it has still to be sent."""

    def __init__(self, connection: socket.socket, expires_at: float) -> None:
        self.connection = connection
        self.expires_at = expires_at
        self.output = b""
        self.finished = False
        self._input = b""

    def read(self) -> bytes | None:
        """Return the request line when it is whole."""
        data = self.connection.recv(_MAX_REQUEST_BYTES)
        self._input += data
        line, end, _ = self._input.partition(b"\n")
        if end:
            return line
        self.finished = not data or len(self._input) >= _MAX_REQUEST_BYTES
        return None

    def write(self) -> bool:
        """Send what can be sent; True when all is."""
        self.output = self.output[self.connection.send(self.output) :]
        return not self.output


def _listen(root: Path) -> socket.socket:
    """Bind the socket, where one that a killed worker left is replaced; raises `SettingsError`."""
    path = root / SOCKET_NAME
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.setblocking(False)
    mask = os.umask(0o177)
    try:
        path.unlink(missing_ok=True)
        with _address(root) as address:
            listener.bind(address)
    except OSError as error:
        listener.close()
        raise SettingsError(
            [f"IEXEC_WORKER_BASE_DIR: {path} cannot be made: {file_errors.why(path, error)}"]
        ) from None
    finally:
        os.umask(mask)
    listener.listen(_MAX_CLIENTS)
    return listener


def ask(root: Path, verb: str, timeout_s: float = 5.0) -> dict[str, Any]:
    """Return the answer of the worker in `root`; raises `NotRunning` when none answers."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(timeout_s)
        try:
            with _address(root) as address:
                client.connect(address)
            client.sendall(json.dumps({"verb": verb}).encode() + b"\n")
            with client.makefile("rb") as lines:
                answer = json.loads(lines.readline())
        except FileNotFoundError:
            raise NotRunning(f"no worker has run in {root}: {SOCKET_NAME} is not there") from None
        except ConnectionRefusedError:
            raise NotRunning(f"no worker runs in {root} (one was killed there)") from None
        except PermissionError as error:
            raise WorkerError(
                f"{root / SOCKET_NAME}: {error.strerror}; ask as the worker's user"
            ) from error
        except (OSError, ValueError) as error:
            raise WorkerError(f"the worker in {root} does not answer: {error}") from error
    if not isinstance(answer, dict):
        raise WorkerError(f"the worker in {root} does not answer: {answer!r:.80}")
    if "error" in answer:
        raise WorkerError(f"the worker in {root} refuses: {answer['error']}")
    return answer
