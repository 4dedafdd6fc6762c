"""The development node, anvil, as a background process."""

from __future__ import annotations

import http.client
import json
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from iexworker.errors import SandboxError
from iexworker.sandbox.chain.accounts import MNEMONIC, ROLES
from iexworker.sandbox.network import ports, processes, tools
from iexworker.sandbox.network.processes import Child

KEPT_STATES = 16
BLOCK_GAS_LIMIT = 300_000_000
"""Large: transactions that overflow a block are lost by the node."""


@dataclass(frozen=True, slots=True)
class Node:
    """How one node runs; without a block time it mines each transaction at once."""

    host: str
    port: int
    chain_id: int
    block_time_s: float | None = None
    old_states: Path | None = None
    """The folder for states of old blocks, of which only a few are kept."""
    load_state: Path | None = None
    dump_state: Path | None = None
    """Written when the node is stopped."""
    dump_interval_s: int | None = None
    """Written this often too, for a node that is killed."""

    def start(self, log: Path) -> Child:
        """Start it and wait until it answers; SandboxError when its port is somebody else's."""
        if ports.taken(self.host, self.port):
            raise SandboxError(f"{self.host}:{self.port} is taken: give the chain another port")
        child = processes.start("anvil", self._command(), log, stop_signal=signal.SIGINT)
        ports.wait_until(lambda: ports.answers(self.host, self.port), child)
        found = int(self.ask("eth_chainId"), 16)
        if found != self.chain_id:
            child.stop()
            raise SandboxError(f"{self.host}:{self.port} is chain {found}, not {self.chain_id}")
        return child

    def ask(self, method: str, *parameters: object) -> Any:  # noqa: ANN401 - the method says what
        """Call a JSON-RPC method; SandboxError when the node answers with an error."""
        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters}
        body = json.dumps(request)
        connection = http.client.HTTPConnection(self.host, self.port, timeout=5)
        try:
            connection.request("POST", "/", body, {"Content-Type": "application/json"})
            answer = json.loads(connection.getresponse().read())
        finally:
            connection.close()
        if "result" not in answer:
            raise SandboxError(f"the node refuses {method}: {answer.get('error')}")
        return answer["result"]

    def _command(self) -> list[str]:
        command = [str(tools.anvil()), "--host", self.host, "--port", str(self.port)]
        command += ["--chain-id", str(self.chain_id), "--gas-limit", str(BLOCK_GAS_LIMIT)]
        command += ["--accounts", str(len(ROLES)), "--mnemonic", MNEMONIC]
        # Base fee 0: a wallet without funds can send at gas price 0, as on the production chain.
        command += ["--block-base-fee-per-gas", "0", "--quiet"]
        if self.block_time_s is not None:
            command += ["--block-time", f"{self.block_time_s:g}"]
        if self.old_states is not None:
            # Bounds the node's memory to 480 MB, and 60 MB after 4000 blocks. --prune-history does
            # not: with a number the node still grows to 2 GB, and without one a read that meets
            # a new block fails (all measured).
            command += ["--cache-path", str(self.old_states)]
            command += ["--max-persisted-states", str(KEPT_STATES)]
        if self.load_state is not None:
            command += ["--load-state", str(self.load_state)]
        if self.dump_state is not None:
            command += ["--dump-state", str(self.dump_state)]
        if self.dump_interval_s is not None:
            command += ["--state-interval", str(self.dump_interval_s)]
        return command
