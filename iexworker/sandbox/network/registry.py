"""A Docker registry of the sandbox's own, from Debian's package `docker-registry`."""

from __future__ import annotations

import http.client
import json
import secrets
from dataclasses import dataclass
from pathlib import Path

from iexworker.errors import SandboxError
from iexworker.sandbox.network import ports, processes, tools
from iexworker.sandbox.network.processes import Child

HOST = "127.0.0.1"
"""Always: the engine that pulls runs on this host, and takes plain HTTP from loopback only."""

LOGIN = ("sandbox", "sandbox")
"""User and password of a registry that asks for a login."""

# bcrypt is the one hash that the registry takes, and Python's library has none.
_PASSWORD_FILE = "sandbox:$2b$04$3OQVvtiRBWDB0ItnTAjlyee6T/yvek8sXrZqAjpW16oLUnPGA.hbK\n"  # noqa: S105 - of LOGIN


@dataclass(frozen=True, slots=True)
class Registry:
    """One registry: its images live in `folder` and nowhere else."""

    folder: Path
    port: int
    with_login: bool = False

    @property
    def address(self) -> str:
        """Host and port, as they stand before an image's name."""
        return f"{HOST}:{self.port}"

    def start(self, log: Path) -> Child:
        """Start it and wait until it answers; SandboxError when its port is somebody else's."""
        if ports.taken(HOST, self.port):
            raise SandboxError(f"{self.address} is taken: give the registry another port")
        program = tools.program("docker-registry", "docker-registry")
        command = [str(program), "serve", str(self._write_config())]
        child = processes.start("registry", command, log)
        ports.wait_until(lambda: ports.answers(HOST, self.port), child)
        return child

    def has(self, name: str, tag: str) -> bool:
        """Tell whether an image is there; only for a registry without login."""
        connection = http.client.HTTPConnection(HOST, self.port, timeout=5)
        try:
            connection.request("HEAD", f"/v2/{name}/manifests/{tag}", headers=_ACCEPT)
            return connection.getresponse().status == http.HTTPStatus.OK
        finally:
            connection.close()

    def _write_config(self) -> Path:
        """Write the configuration; JSON is YAML too."""
        config: dict[str, object] = {
            "version": "0.1",
            "log": {"level": "error", "accesslog": {"disabled": True}},
            "storage": {
                "filesystem": {"rootdirectory": str(self.folder / "images")},
                "delete": {"enabled": True},
            },
            "http": {"addr": self.address, "secret": secrets.token_hex(16)},
        }
        if self.with_login:
            passwords = self.folder / "htpasswd"
            config["auth"] = {"htpasswd": {"realm": "sandbox", "path": str(passwords)}}
        path = self.folder / "config.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(config, indent=2), encoding="utf-8")
        (self.folder / "htpasswd").write_text(_PASSWORD_FILE, encoding="utf-8")
        return path


_ACCEPT = {"Accept": "application/vnd.docker.distribution.manifest.v2+json"}
