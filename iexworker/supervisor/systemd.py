"""What systemd is told: sd_notify(3) and the watchdog of sd_watchdog_enabled(3)."""

from __future__ import annotations

import os
import socket
from collections.abc import MutableMapping

_VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")


class Notifier:
    """Datagrams to `NOTIFY_SOCKET`; without one, nothing is sent.

    Sending never waits and never fails: a service manager that is busy or gone must not hold
    the parent.
    """

    def __init__(self, address: str | None, watchdog_s: float | None) -> None:
        self.watchdog_s = watchdog_s
        """How long the manager waits for a sign of life; None without a watchdog."""
        self._address = None if address is None else address.replace("@", "\0", 1)
        self._socket: socket.socket | None = None
        self._status = ""
        if address is not None:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._socket.setblocking(False)

    @classmethod
    def take(cls, environ: MutableMapping[str, str]) -> Notifier:
        """Take the manager's variables out of `environ`, so that no child speaks in our name."""
        address, period_us, pid = (environ.pop(name, "") for name in _VARIABLES)
        for_us = not pid or pid == str(os.getpid())
        watchdog_s = int(period_us) / 1e6 if period_us.isdigit() and for_us else None
        usable = address.startswith(("/", "@"))
        return cls(address if usable else None, watchdog_s or None)

    @property
    def heard(self) -> bool:
        """Whether there is anybody to tell."""
        return self._socket is not None

    def ready(self) -> None:
        """Say that the start is over."""
        self._send("READY=1")

    def status(self, text: str) -> None:
        """Say in words how we are, when that has changed."""
        if text != self._status:
            self._status = text
            self._send(f"STATUS={text}")

    def alive(self) -> None:
        """Feed the watchdog."""
        if self.watchdog_s is not None:
            self._send("WATCHDOG=1")

    def stopping(self) -> None:
        """Say that the stop has begun."""
        self._send("STOPPING=1")

    def close(self) -> None:
        """Close the socket in this process."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, text: str) -> None:
        if self._socket is None or self._address is None:
            return
        try:
            self._socket.sendto(text.encode(), self._address)
        except OSError:
            return
