"""Compiled contracts out of an unpacked `@iexec/poco` package (docs/spec/10).

No ABI and no bytecode is kept in this repository: both are read from the package when needed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eth_utils.crypto import keccak

from iexworker.errors import SandboxError

Entry = Mapping[str, Any]
"""One function, event, error or constructor of an ABI."""

SHORTEST_CODE = 300
"""Hex digits below which an artifact is an interface or an empty library, and no contract."""

SPECIAL_SELECTORS = {"receive": b"\x00" * 4, "fallback": b"\xff" * 4}
"""How the diamond routes the two functions that have no name."""


@dataclass(frozen=True, slots=True)
class Artifact:
    """One compiled contract: `code` is hex without 0x, with the libraries' places left open."""

    name: str
    abi: Sequence[Entry]
    code: str
    links: Mapping[str, Mapping[str, Sequence[Mapping[str, int]]]] = field(default_factory=dict)

    def creation_code(self, libraries: Mapping[str, str]) -> bytes:
        """Write the libraries' addresses into the places that the compiler left open."""
        code = self.code
        for names in self.links.values():
            for name, places in names.items():
                for place in places:
                    start, end = place["start"] * 2, (place["start"] + place["length"]) * 2
                    code = code[:start] + libraries[name].removeprefix("0x").lower() + code[end:]
        return bytes.fromhex(code)

    @property
    def constructor_types(self) -> list[str]:
        """Types of the constructor's arguments, as an ABI encoder takes them."""
        found = (entry["inputs"] for entry in self.abi if entry["type"] == "constructor")
        return [canonical_type(one) for one in next(found, [])]


class Package:
    """An unpacked `@iexec/poco`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        manifest = json.loads((folder / "package.json").read_text(encoding="utf-8"))
        self.version: str = manifest["version"]
        self._loaded: dict[tuple[str, bool], Artifact] = {}
        self._paths: dict[str, list[Path]] = {}
        for path in self._artifact_files():
            self._paths.setdefault(path.stem, []).append(path)

    def artifact(self, name: str, *, with_code: bool = True) -> Artifact:
        """Find a contract by name; `with_code` passes over interfaces of the same name."""
        key = (name, with_code)
        if key not in self._loaded:
            self._loaded[key] = self._read(name, with_code)
        return self._loaded[key]

    def abi(self, names: Iterable[str]) -> list[Entry]:
        """Join the ABIs of several contracts; the first one that has a signature declares it."""
        joined: dict[tuple[str, str], Entry] = {}
        for name in names:
            for entry in self.artifact(name, with_code=False).abi:
                if entry["type"] in ("function", "event", "error"):
                    joined.setdefault((entry["type"], signature(entry)), entry)
        return list(joined.values())

    def _artifact_files(self) -> Iterator[Path]:
        """List the candidates, the ones to prefer first: only some contracts are in each place."""
        yield from sorted(self.folder.glob("artifacts/contracts/**/*.json"))
        yield from sorted(self.folder.glob("build/contracts/*.json"))
        yield from sorted(self.folder.glob("deployments/*/*.json"))

    def _read(self, name: str, with_code: bool) -> Artifact:
        for path in self._paths.get(name, []):
            content = json.loads(path.read_text(encoding="utf-8"))
            code = str(content.get("bytecode") or "").removeprefix("0x")
            if "abi" in content and (len(code) >= SHORTEST_CODE or not with_code):
                return Artifact(name, content["abi"], code, content.get("linkReferences") or {})
        raise SandboxError(
            f"{self.folder} has no contract {name}: delete it, and `sandbox up` fetches it anew"
        )


def canonical_type(parameter: Entry) -> str:
    """Spell a parameter's type the way signatures do: structs as lists of their fields' types."""
    kind: str = parameter["type"]
    if not kind.startswith("tuple"):
        return kind
    fields = ",".join(canonical_type(one) for one in parameter["components"])
    return f"({fields}){kind.removeprefix('tuple')}"


def signature(entry: Entry) -> str:
    """Spell a function or event as `name(type,type)`."""
    return f"{entry['name']}({','.join(canonical_type(one) for one in entry['inputs'])})"


def selector(text: str) -> bytes:
    """Give the four bytes that a call of the function with this signature starts with."""
    return keccak(text=text)[:4]


def routed_signatures(abi: Sequence[Entry]) -> list[str]:
    """List what a proxy routes to a module: functions, and the words `receive` and `fallback`."""
    special = [entry["type"] for entry in abi if entry["type"] in SPECIAL_SELECTORS]
    return special + [signature(entry) for entry in abi if entry["type"] == "function"]


def routed_selectors(abi: Sequence[Entry]) -> list[bytes]:
    """List the same as selectors."""
    return [SPECIAL_SELECTORS.get(one) or selector(one) for one in routed_signatures(abi)]
