"""What one sandbox network is: its addresses, timers and files, as `network.json` says them.

`sandbox up` writes the file before it starts anything; every component and verb reads it.
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from iexworker.errors import SandboxError
from iexworker.sandbox.network.files import write_whole
from iexworker.sandbox.network.registry import Registry

FILE_NAME = "network.json"
DEPLOYED_NAME = "deployed.json"
CHAIN_ID = 65535
KEYSTORE_PASSWORD = "whatever"  # noqa: S105 - opens development keystores only, whose keys are public


@dataclass(frozen=True, slots=True)
class Timers:
    """The scheduler's clocks in seconds; the real ones by default (docs/spec/03, 9.7)."""

    worker_lost_s: float = 60.0
    """Silence after which a worker is lost."""
    worker_lost_check_s: float = 30.0
    unnotified_check_s: float = 30.0
    """How often the chain is asked for contributions and reveals that no worker told of."""
    consensus_check_s: float = 30.0
    """How often running tasks are compared with the chain; the period is a guess."""
    contribution_check_s: float = 30.0
    reveal_check_s: float = 120.0
    upload_timeout_s: float = 120.0
    upload_check_s: float = 30.0
    final_check_s: float = 30.0
    finalize_delay_s: float = 2.4
    """From the upload to the finalisation, as measured on the real scheduler."""
    poll_s: float = 1.0
    """How often new deals are looked for on the chain."""


@dataclass(frozen=True, slots=True)
class Network:
    """One sandbox network. Ports are already chosen: 0 never stands here."""

    directory: str
    """The folder of its state, absolute."""
    profile: str
    """`9` (PoCo v6) or `8` (PoCo v5): the generation of scheduler that is played."""
    listen: str
    """The address that the components bind and advertise."""
    chain_port: int
    scheduler_port: int
    config_port: int
    proxy_port: int
    registry_port: int
    chain_id: int = CHAIN_ID
    block_time_s: float = 1.0
    ask_period_ms: int = 5000
    required_worker_version: str = ""
    timers: Timers = field(default_factory=Timers)

    @property
    def chain_rpc(self) -> str:
        """JSON-RPC of the node."""
        return f"http://{self.listen}:{self.chain_port}"

    @property
    def scheduler_url(self) -> str:
        """What a worker is given as `IEXEC_CORE_URL`."""
        return f"http://{self.listen}:{self.scheduler_port}"

    @property
    def config_url(self) -> str:
        """The configuration server (docs/spec/02, 4.2)."""
        return f"http://{self.listen}:{self.config_port}"

    @property
    def proxy_url(self) -> str:
        """The result proxy (docs/spec/09)."""
        return f"http://{self.listen}:{self.proxy_port}"

    @property
    def registry_address(self) -> str:
        """Host and port, as they stand before an image's name; on loopback whatever `listen` is."""
        return self.registry.address

    @property
    def registry(self) -> Registry:
        """The registry that apps are pushed to."""
        return Registry(self.path / "registry", self.registry_port)

    @property
    def path(self) -> Path:
        """The folder of its state."""
        return Path(self.directory)

    @property
    def deployed_path(self) -> Path:
        """Contracts, accounts and chain configuration, written by the deployment."""
        return self.path / DEPLOYED_NAME

    @property
    def scheduler_keystore_path(self) -> Path:
        """Wallet of the workerpool's owner; opens with `KEYSTORE_PASSWORD`."""
        return self.keystore_path("scheduler")

    def keystore_path(self, role: str) -> Path:
        """Keystore of one account of the sandbox."""
        return self.path / "wallets" / f"{role}.json"

    @property
    def store_path(self) -> Path:
        """The folder that the result proxy keeps results in."""
        return self.path / "store"

    @property
    def book_path(self) -> Path:
        """The scheduler's database."""
        return self.path / "scheduler.sqlite"

    @property
    def logs_path(self) -> Path:
        """One log a component."""
        return logs_folder(self.path)

    def to_json(self) -> str:
        """Give the text of `network.json`: the fields, with what follows from them for readers."""
        shown = asdict(self) | {
            "chain_rpc": self.chain_rpc,
            "scheduler_url": self.scheduler_url,
            "config_url": self.config_url,
            "proxy_url": self.proxy_url,
            "deployed": str(self.deployed_path),
        }
        return json.dumps(shown, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Network:
        """Read what `to_json` wrote; keys that follow from others are left aside."""
        values: Mapping[str, Any] = json.loads(text)
        known = {name: values[name] for name in cls.__dataclass_fields__ if name in values}
        return cls(**known | {"timers": Timers(**values.get("timers", {}))})

    def save(self) -> None:
        """Write `network.json` into the network's folder."""
        write_whole(self.path / FILE_NAME, self.to_json())


def default_directory() -> Path:
    """Give the folder of the user's one sandbox (XDG state folder)."""
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "iexworker" / "sandbox"


def command(verb: str, directory: Path) -> str:
    """Give what a user types to have a verb done with the network of a folder."""
    where = "" if directory == default_directory() else f" --dir {shlex.quote(str(directory))}"
    return f"`iexworker sandbox {verb}{where}`"


def damaged(path: Path) -> SandboxError:
    """Make the error for a file of a network's folder that cannot be read."""
    return SandboxError(
        f"{path} is damaged, or of another version of iexworker: "
        f"{command('up --fresh', path.parent)} begins anew, without the tasks"
    )


def logs_folder(directory: Path) -> Path:
    """Give the folder of the logs of a folder's network."""
    return directory / "logs"


def load(directory: Path) -> Network:
    """Read the network of a folder.

    Raises:
        FileNotFoundError: none was ever started there.
        SandboxError: its file is damaged.

    """
    path = directory / FILE_NAME
    text = path.read_text(encoding="utf-8")
    try:
        return Network.from_json(text)
    except (ValueError, TypeError, AttributeError) as error:
        raise damaged(path) from error
