"""What one worker has for itself alone: its folder, its wallet, its port.

All of it is taken before the first process is forked: what cannot be had is told at once, and
nobody has logged in at the scheduler yet.
"""

from __future__ import annotations

import socket

from iexworker import keystore
from iexworker.locks import Locks
from iexworker.procs.http import listen
from iexworker.settings.model import Settings

_PORT_PATIENCE_S = 2.0
"""Whoever dies with a killed parent dies at once; a port that is taken is to be told soon."""


class Holdings:
    """Held by the parent until it ends, so that processes may come and go."""

    def __init__(self) -> None:
        self.locks = Locks()
        self.listener: socket.socket | None = None
        """The HTTP server's, in which those wait who call while no process serves it."""

    def take(self, settings: Settings, patience_s: float) -> None:
        """Take all; what a tree that is just dying still has is waited for.

        Raises:
            AlreadyRunning: another worker holds folder or wallet.
            SettingsError: the folder cannot be used, or the port cannot be had.
            WalletError: the wallet's file cannot be read, or is no keystore.

        """
        self.locks.hold(settings.root, settings.wallet_path, patience_s)
        keystore.read(settings.wallet_path)
        self.listener = listen(
            settings.listen_address, settings.port, min(patience_s, _PORT_PATIENCE_S)
        )

    def close_port(self) -> None:
        """Let go of the port: nobody will serve it any more."""
        if self.listener is not None:
            self.listener.close()

    def close(self) -> None:
        """Let go of all."""
        self.locks.close()
        self.close_port()
