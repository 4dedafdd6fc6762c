"""The settings: every layer in, one frozen `Settings` out, all problems at once (docs/spec/02).

table.py lists them, sources.py finds their texts, texts.py tells which are spoilt, reader.py reads
the others by the Java rules (parsers.py), checks.py and capacity.py warn.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

from iexworker import http_environment, machine
from iexworker.errors import SettingsError
from iexworker.masking import HIDDEN
from iexworker.settings import capacity
from iexworker.settings.checks import (
    ignored_variables,
    spoilt_variables,
    unknown_names,
    volatile_folder,
)
from iexworker.settings.reader import Reading, read
from iexworker.settings.sources import masked

DEFAULT_PASSWORD = "whatever"  # noqa: S105 - upstream's, warned of at start

_FIELDS = {
    "min_pull_timeout": "min_pull_timeout_s",
    "max_pull_timeout": "max_pull_timeout_s",
    "gas_price_cap": "gas_price_cap_wei",
    "shutdown_grace": "shutdown_grace_s",
    "app_memory": "app_memory_bytes",
}
"""Fields that carry the unit, which their keys leave to the text."""

_CPU_COUNT = "IEXEC_WORKER_OVERRIDE_AVAILABLE_CPU_COUNT"
_UNSET_IS_EMPTY = ("gpus_to_apps", "docker_extra_hosts")
_LIMITS = (
    "no_new_privileges",
    "app_memory_bytes",
    "app_pids",
    "app_cpu_quota",
    "app_network",
    "app_runtime",
)


@dataclass(frozen=True, slots=True)
class RegistryCredentials:
    """How to log in to a registry; `address` as it stands in image names, without a scheme."""

    address: str
    username: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Settings:
    """What the operator decided; docs/settings.md says what each value does."""

    port: int
    listen_address: str
    exposure: frozenset[str]
    core_url: str
    """Without a trailing slash."""
    pool_address: str | None
    """Lower case."""
    profile: str
    """`auto`, `8` or `9`."""
    reported_version: str | None
    name: str
    base_dir: Path
    cpu_override: int | None
    gpu_enabled: bool
    gpus_to_apps: str
    """`all`, or device numbers or UUIDs separated by commas; empty: none."""
    node_url_override: str | None
    developer_logger: bool
    private_urls_allowed: bool
    ipfs_gateways: tuple[str, ...]
    shutdown_grace_s: float
    docker_host: str
    docker_network: str
    docker_extra_hosts: str
    """`host:ip`, or empty."""
    registries: tuple[RegistryCredentials, ...]
    """Those with a login only."""
    min_pull_timeout_s: float
    max_pull_timeout_s: float
    gas_price_multiplier: float
    """Rounded to single precision, as upstream multiplies by it."""
    gas_price_cap_wei: int
    reveal_may_pass_cap: bool
    """Up to the base fee, where the stake is lost otherwise."""
    wallet_path: Path
    wallet_password: str = field(repr=False)
    window_size: int
    """-1: unlimited."""
    log_level: str
    """As Python's logging names it."""
    log_json: bool
    no_new_privileges: bool
    app_memory_bytes: int | None
    app_pids: int | None
    app_cpu_quota: float | None
    """CPUs."""
    app_network: str | None
    app_runtime: str | None
    tee_max_heap_gb: int
    sgx_driver_mode: str
    """`NONE`, `LEGACY` or `NATIVE`."""
    scone_show_version: bool
    scone_log_level: str
    scone_registry: RegistryCredentials
    las_port: int
    tdx_secret_provider_agent: Path

    @property
    def root(self) -> Path:
        """The worker's own folder: task folders, journal, sockets."""
        return self.base_dir / self.name

    def task_dir(self, task_id: str) -> Path:
        """Return the folder of a task; raises ValueError for an id that would leave the root."""
        if "/" in task_id or task_id in ("", ".", ".."):
            raise ValueError(f"task id: expected a hex text, got {task_id!r}")
        return self.root / task_id


@dataclass(frozen=True, slots=True)
class SettingLine:
    """A setting as `iexworker config` shows it."""

    key: str
    value: str
    source: str


@dataclass(frozen=True, slots=True)
class Loaded:
    """The settings, where each field came from, and what the operator should hear."""

    settings: Settings
    sources: Mapping[str, str]
    warnings: tuple[str, ...]

    notes: tuple[str, ...] = ()
    """What a reload has to say besides: variables that wait for a restart."""

    def lines(self) -> tuple[SettingLine, ...]:
        """Return every field for show, secrets masked."""
        return tuple(
            SettingLine(item.name, _shown(item.name, getattr(self.settings, item.name)), source)
            for item in fields(self.settings)
            for source in (self.sources[item.name],)
        )


def load(
    environ: Mapping[str, str],
    *,
    config_dirs: Sequence[Path] | None = None,
    origins: Mapping[str, str] | None = None,
) -> Loaded:
    """Read the settings; raises SettingsError with every problem, a line each.

    Without `config_dirs` the TOML files are those of `IEXWORKER_CONFIG_DIR`, else of
    /etc/iexworker, which need not exist. `origins` has the env file that a variable is from.
    """
    reading = read(environ, config_dirs, origins or {})
    docker_host = reading.values["docker_host"] or ""
    problems = (
        *spoilt_variables(environ),
        *reading.problems,
        *_too_many_slots(reading),
        *http_environment.problems(environ, docker_host),
    )
    if problems:
        raise SettingsError(problems)
    values = {_FIELDS.get(key, key): value for key, value in reading.values.items()}
    values |= {key: values[key] or "" for key in _UNSET_IS_EMPTY}
    values["registries"] = tuple(RegistryCredentials(*login) for login in values["registries"])
    values["scone_registry"] = RegistryCredentials(*values["scone_registry"])
    settings = Settings(**values)
    sources = {_FIELDS.get(key, key): source for key, source in reading.sources.items()}
    names = (*unknown_names(environ, reading.file_keys), *ignored_variables(environ))
    warnings = (*reading.warnings, *names, *_slot_warnings(settings), *_risks(settings))
    return Loaded(settings, sources, warnings)


def _too_many_slots(reading: Reading) -> Iterator[str]:
    count = reading.values["cpu_override"]
    if count is None or reading.values["gpu_enabled"]:
        return
    if problem := capacity.problem(count):
        example = max(1, min(4, capacity.most()))
        source = reading.sources["cpu_override"]
        yield f"{source}={count}: {problem}, for example {_CPU_COUNT}={example}"


def _slot_warnings(settings: Settings) -> Iterator[str]:
    """Yield what there is to say of the number of tasks at a time."""
    count = settings.cpu_override
    if settings.gpu_enabled:
        if count is not None:
            yield f"{_CPU_COUNT} has no effect with a GPU: the worker computes one task at a time"
        return
    slots = machine.slots(count, settings.gpu_enabled)
    if problem := capacity.problem(slots) if count is None else "":
        yield f"{slots} tasks at a time, as {_CPU_COUNT} is not set: {problem}; set it"
    if many := capacity.many_for(machine.usable_cpus(), slots):
        yield f"{_CPU_COUNT}: {many}"


def _risks(settings: Settings) -> Iterator[str]:
    if settings.wallet_password == DEFAULT_PASSWORD:
        yield (
            "the wallet's password is the public default: give the wallet another one and set "
            "IEXEC_WORKER_WALLET_PASSWORD or IEXEC_WORKER_WALLET_PASSWORD_FILE"
        )
    if reason := volatile_folder(settings.base_dir):
        yield (
            f"the base directory {settings.base_dir} {reason}: journal and results may be lost, "
            "and stakes with them; set IEXEC_WORKER_BASE_DIR to a lasting folder"
        )
    if limits := [name for name in _LIMITS if getattr(settings, name)]:
        yield (
            f"limits on apps ({', '.join(limits)}): an app that notices gives another result than "
            "on other workers, which loses the consensus and the stake"
        )


def _shown(name: str, value: object) -> str:
    if value is None or value in ("", (), frozenset()):
        return "(none)"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.7g}"  # the digits that 32 bits hold, as operators wrote them
    if isinstance(value, RegistryCredentials):
        login = f"as {value.username}" if value.username else "without a login"
        return f"{value.address} {login}"
    if isinstance(value, tuple | frozenset):
        items = value if isinstance(value, tuple) else sorted(value)
        return ", ".join(_shown(name, item) for item in items)
    return HIDDEN if name == "wallet_password" else masked(str(value))
