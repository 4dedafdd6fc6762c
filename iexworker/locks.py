"""One worker, one wallet, one host: what a second worker runs into.

Three locks, all freed by the system when their holder dies: `flock` on a file in the worker's
directory, an abstract Unix socket named after the wallet's address (its peer credentials name the
holder), and `flock` on the wallet file, which also holds across containers.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import socket
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from iexworker import file_errors
from iexworker.errors import AlreadyRunning, SettingsError
from iexworker.keystore import declared_address

PATIENCE_S = 5.0
"""How long a new parent waits for the locks of a tree that is just dying."""

_RETRY_S = 0.05
_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid of unix(7), SO_PEERCRED

T = TypeVar("T")

log = logging.getLogger(__name__)


class Locks:
    """The locks of one worker; closed in its children, so that they end with the parent."""

    def __init__(self) -> None:
        self._files: list[int] = []
        self.address_socket: socket.socket | None = None
        """Listens so that others can ask who holds the wallet: accept and close."""

    def hold(self, root: Path, wallet: Path, patience_s: float = PATIENCE_S) -> None:
        """Take all locks; raises `AlreadyRunning`, or `SettingsError` for an unusable directory.

        A wallet that cannot be read is not locked: `scheduling` says what is wrong with it.
        """
        deadline = time.monotonic() + patience_s
        self._files.append(_wait(lambda: lock_directory(root), deadline))
        if (address := declared_address(wallet)) is not None:
            self.address_socket = _wait(lambda: lock_address(address), deadline)
        if wallet.is_file() and os.access(wallet, os.R_OK):
            self._files.append(_wait(lambda: _lock_wallet_file(wallet), deadline))

    def close(self) -> None:
        """Give up the locks, or in a child: leave them to the parent."""
        for fd in self._files:
            os.close(fd)
        self._files.clear()
        if self.address_socket is not None:
            self.address_socket.close()
            self.address_socket = None


def lock_directory(root: Path) -> int:
    """Lock `<root>/worker.lock`, which then holds our pid; returns its descriptor."""
    path = root / "worker.lock"
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unusable(root, error) from None
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _unusable(path, error) from None
    if not _flock(fd):
        pid = os.pread(fd, 20, 0).decode(errors="replace").strip() or "unknown"
        os.close(fd)
        raise AlreadyRunning(
            f"{root}: the worker with pid {pid} uses this directory; stop it, or start this one "
            "with another IEXEC_WORKER_NAME"
        )
    try:
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
    except OSError as error:
        # The lock holds all the same; a second worker cannot tell whose it is.
        log.warning("pid not written", extra={"error": f"{path}: {file_errors.why(path, error)}"})
    return fd


def lock_address(address: str) -> socket.socket:
    """Hold the wallet of this address on this host; raises `AlreadyRunning` with the holder."""
    name = f"\0iexworker/{address.lower()}"
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    server.setblocking(False)
    try:
        server.bind(name)
    except OSError as error:
        server.close()
        if error.errno != errno.EADDRINUSE:
            raise
        raise AlreadyRunning(
            f"wallet {address}: the worker with pid {_holder(name) or 'unknown'} uses it; one "
            "wallet serves one worker, stop the other or give this one its own wallet"
        ) from None
    server.listen(16)
    return server


def hang_up(asked: socket.socket) -> None:
    """Answer who connected to learn who holds the wallet: the connection said it."""
    with contextlib.suppress(OSError):
        asked.accept()[0].close()


def confirm_address(
    address: str, parent_pid: int, patience_s: float = PATIENCE_S
) -> socket.socket | None:
    """Hold the address that the opened wallet really has, where the parent does not already.

    The parent knows only what the file declares, which need not be true. Returns the socket to
    keep, None when the parent holds this address; raises `AlreadyRunning`.
    """
    name = f"\0iexworker/{address.lower()}"
    if _holder(name) == parent_pid:
        return None
    return _wait(lambda: lock_address(address), time.monotonic() + patience_s)


def _unusable(path: Path, error: OSError) -> SettingsError:
    return SettingsError(
        [f"IEXEC_WORKER_BASE_DIR: {path} cannot be used: {file_errors.why(path, error)}"]
    )


def _lock_wallet_file(wallet: Path) -> int:
    fd = os.open(wallet, os.O_RDONLY | os.O_CLOEXEC)
    if _flock(fd):
        return fd
    os.close(fd)
    raise AlreadyRunning(
        f"{wallet}: a worker that cannot be seen from here, in another container maybe, uses "
        "this wallet; one wallet serves one worker, stop the other or give this one its own"
    )


def _flock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        # Some network file systems have no flock: the other locks still stand.
        log.warning("file cannot be locked", extra={"error": str(error)})
    return True


def _holder(name: str) -> int | None:
    """Return the pid of the process that listens on this abstract socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.setblocking(False)
        try:
            client.connect(name)
        except OSError:
            return None
        raw = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid: int = _CREDENTIALS.unpack(raw)[0]
    return pid or None


def _wait(take: Callable[[], T], deadline: float) -> T:
    """Take a lock, trying again until the deadline, since its holder may be about to end."""
    told = False
    while True:
        try:
            return take()
        except AlreadyRunning as error:
            if time.monotonic() >= deadline:
                raise
            if not told:
                # What to do about it fits only when the wait is over.
                holder = str(error).partition(";")[0]
                log.info("waiting for another worker to end", extra={"reason": holder})
                told = True
            time.sleep(_RETRY_S)
