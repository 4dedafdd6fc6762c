"""Every setting once: name, variable, type, default and help (docs/spec/02, section 3).

docs/settings.md and config/settings.toml are printed from this table (settings_docs.py).
"""

from __future__ import annotations

from dataclasses import dataclass

from iexworker.settings.parsers import (
    ADDRESS,
    BIND_PATH,
    BOOLEAN,
    DOCKER_HOST,
    DOCKER_NAME,
    DURATION,
    FLOAT32,
    GPUS,
    IP,
    LENIENT_LEVEL,
    NAMES,
    NODE_URL,
    PATH,
    PORT,
    SIZE,
    TEXT,
    URL,
    URL_LIST,
    WORKER_NAME,
    Kind,
    at_least,
    choice,
    integer,
)


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting."""

    key: str
    """The name in the TOML files and, in upper case, after `IEXWORKER_`."""
    kind: Kind
    default: str
    """Read by `kind` like any other text; empty: the setting has no value."""
    help: str
    variable: str = ""
    """The upstream name; empty for a setting that only this worker has."""
    example: str = ""
    """Shown beside a problem, when the default would be no help."""
    secret: bool = False
    """Never shown; its variables have twins that end in `_FILE`."""
    own: bool = True
    """Whether TOML files and `IEXWORKER_` know it."""

    @property
    def own_variable(self) -> str:
        """The variable of the worker's own prefix."""
        return "IEXWORKER_" + self.key.upper()

    @property
    def shown_variable(self) -> str:
        """The name that operators know the setting by."""
        return self.variable or self.own_variable


_INT32 = 2**31 - 1

# A table is read by its rows, so the formatter keeps out.
# fmt: off
GROUPS: dict[str, tuple[Setting, ...]] = {
    "HTTP server": (
        Setting("port", PORT, "13100",
              variable="IEXEC_WORKER_PORT",
              help="Port of the HTTP server; 0: a free one. TEE containers call port 13100."),
        Setting("listen_address", IP, "0.0.0.0",  # noqa: S104 - containers call it
              example="127.0.0.1",
              help="Address that the HTTP server listens on."),
        Setting("exposure", NAMES, "health,info,prometheus",
              variable="MANAGEMENT_ENDPOINTS_WEB_EXPOSURE_INCLUDE", example="health,prometheus",
              help="Which `/actuator/*` endpoints answer; `*` is all of them."),
    ),
    "Scheduler": (
        Setting("core_url", URL, "",
              variable="IEXEC_CORE_URL", example="https://core.pool.example:443",
              help="Address of the scheduler (iexec-core); wins over the three parts below."),
        Setting("core_protocol", TEXT, "http",
              variable="IEXEC_CORE_PROTOCOL", example="https",
              help="First part of the scheduler's address, when it is not given as one URL."),
        Setting("core_host", TEXT, "localhost",
              variable="IEXEC_CORE_HOST", example="core.pool.example",
              help="Second part of the scheduler's address."),
        Setting("core_port", TEXT, "13000",
              variable="IEXEC_CORE_PORT",
              help="Third part of the scheduler's address."),
        Setting("pool_address", ADDRESS, "",
              variable="POOL_ADDRESS", example="0x365e7bae02ce1a8fbf8fa8a9e1de6bef7aea2b12",
              help="Workerpool contract; no other pool is then served. `0x0` is unset."),
        Setting("profile", choice("auto", "8", "9"), "auto",
              example="9",
              help="Generation of the scheduler's protocol; `auto` asks the scheduler."),
        Setting("reported_version", TEXT, "",
              example="9.2.0",
              help="Version that the worker shows; unset: the one that the scheduler requires."),
    ),
    "Worker": (
        Setting("name", WORKER_NAME, "worker",
              variable="IEXEC_WORKER_NAME", example="worker-1",
              help="Registered name, folder below the base directory, prefix of container names."),
        Setting("base_dir", BIND_PATH, "/tmp/iexec-worker",  # noqa: S108 - upstream's
              variable="IEXEC_WORKER_BASE_DIR", example="/var/lib/iexec-worker",
              help="Root of the task folders; the same path on the Docker host."),
        Setting("cpu_override", integer(1, _INT32), "",
              variable="IEXEC_WORKER_OVERRIDE_AVAILABLE_CPU_COUNT", example="4",
              help="CPUs to register, each a task at a time; unset: all but one. No more than "
                   "memory, processes and descriptors are enough for; no effect with a GPU."),
        Setting("gpu_enabled", BOOLEAN, "false",
              variable="IEXEC_WORKER_GPU_ENABLED", example="true",
              help="Register a GPU; the worker then computes one task at a time."),
        Setting("gpus_to_apps", GPUS, "",
              example="all",
              help="GPUs given to app containers: `all`, or numbers or UUIDs; unset: none."),
        Setting("node_url_override", NODE_URL, "",
              variable="IEXEC_WORKER_OVERRIDE_BLOCKCHAIN_NODE_ADDRESS", example="https://node.example/rpc",
              help="JSON-RPC node to use instead of the one that the pool configures."),
        Setting("developer_logger", BOOLEAN, "false",
              variable="IEXEC_DEVELOPER_LOGGER_ENABLED", example="true",
              help="Log each app's files, stdout and stderr."),
        Setting("private_urls_allowed", BOOLEAN, "false",
              example="true",
              help="Let inputs come from loopback, link-local and private addresses."),
        Setting("ipfs_gateways", URL_LIST, "https://ipfs-gateway.v8-bellecour.iex.ec,"
             "https://gateway.ipfs.io,https://gateway.pinata.cloud",
              example="https://ipfs.example",
              help="Gateways that IPFS inputs are fetched from, tried in this order."),
        Setting("shutdown_grace", DURATION, "PT60S",
              example="PT5M",
              help="How long an orderly stop waits for what can be finished."),
    ),
    "Docker": (
        Setting("docker_host", DOCKER_HOST, "unix:///var/run/docker.sock",
              variable="DOCKER_HOST", example="tcp://127.0.0.1:2375",
              help="Address of the Docker engine."),
        Setting("docker_network", DOCKER_NAME, "iexec-worker-net",
              variable="IEXEC_WORKER_DOCKER_NETWORK_NAME",
              help="Network of TEE containers, made when it is missing."),
        Setting("docker_extra_hosts", TEXT, "",
              variable="WORKER_DOCKER_EXTRA_HOSTS", example="sms.example:10.0.0.5",
              help="One `host:ip` for the hosts file of TDX pre- and post-compute containers."),
        Setting("min_pull_timeout", DURATION, "PT5M",
              variable="IEXEC_WORKER_DOCKER_IMAGE_MIN_PULL_TIMEOUT",
              help="Lower bound of the time that an app image may take to pull, in whole minutes."),
        Setting("max_pull_timeout", DURATION, "PT30M",
              variable="IEXEC_WORKER_DOCKER_IMAGE_MAX_PULL_TIMEOUT",
              help="Upper bound of it; wins when it is below the lower one."),
    ),
    "Gas": (
        Setting("gas_price_multiplier", at_least(FLOAT32, 0, "a number, 0 or more"), "1.3",
              variable="IEXEC_GAS_PRICE_MULTIPLIER",
              help="The node's gas price is multiplied by it (single precision)."),
        Setting("gas_price_cap", integer(0, 2**63 - 1), "22000000000",
              variable="IEXEC_GAS_PRICE_CAP",
              help="Highest gas price in wei; 0 on a chain where transactions are free."),
        Setting("reveal_may_pass_cap", BOOLEAN, "false",
              example="true",
              help="Let a reveal pass the cap, up to the chain's base fee: it saves the stake."),
    ),
    "Wallet": (
        Setting("wallet_path", PATH, "./src/main/resources/wallet/encrypted-wallet_worker1.json",
              variable="IEXEC_WORKER_WALLET_PATH", example="/etc/iexworker/wallet.json",
              help="Ethereum keystore (version 3) of the worker."),
        Setting("wallet_password", TEXT, "whatever",
              variable="IEXEC_WORKER_WALLET_PASSWORD", example="a long passphrase", secret=True,
              help="Password of the keystore."),
    ),
    "Metrics and logs": (
        Setting("window_size", integer(-1, _INT32, but=0), "1000",
              variable="IEXEC_WORKER_METRICS_WINDOW_SIZE",
              help="Durations kept for each stage; -1: no limit, statistics only."),
        Setting("log_level", LENIENT_LEVEL, "INFO",
              variable="IEXEC_LOG_LEVEL", example="DEBUG",
              help="Level of the log; `LOGGING_LEVEL_COM_IEXEC_WORKER` and `_ROOT` win over it."),
        Setting("log_json", BOOLEAN, "false",
              example="true",
              help="One JSON object a line instead of plain text."),
    ),
    "Limits on apps": (
        Setting("no_new_privileges", BOOLEAN, "false",
              example="true",
              help="Forbid setuid programs in app containers."),
        Setting("app_memory", SIZE, "",
              example="8g",
              help="Memory of an app container."),
        Setting("app_pids", integer(1, _INT32), "",
              example="4096",
              help="Processes and threads of an app container."),
        Setting("app_cpu_quota", at_least(FLOAT32, 0, "a number of CPUs above 0", above=True), "",
              example="1.5",
              help="CPUs that an app container may use at most."),
        Setting("app_network", DOCKER_NAME, "",
              example="none",
              help="Docker network of app containers; `none`: no network."),
        Setting("app_runtime", DOCKER_NAME, "",
              example="runsc",
              help="Runtime of app containers, as Docker names it."),
    ),
    "TEE": (
        Setting("tee_max_heap_gb", integer(-_INT32 - 1, _INT32), "8",
              variable="IEXEC_WORKER_TEE_COMPUTE_MAX_HEAP_SIZE_GB",
              help="Largest enclave heap of a TEE app, in GiB."),
        Setting("sgx_driver_mode", choice("NONE", "LEGACY", "NATIVE"), "NONE",
              variable="IEXEC_WORKER_SGX_DRIVER_MODE", example="NATIVE",
              help="SGX driver whose devices TEE containers get; `NONE`: TEE tasks are refused."),
        Setting("scone_show_version", BOOLEAN, "true",
              variable="IEXEC_SCONE_SHOW_VERSION",
              help="`SCONE_VERSION` of Scone containers."),
        Setting("scone_log_level", TEXT, "debug",
              variable="IEXEC_SCONE_LOG_LEVEL",
              help="`SCONE_LOG` of Scone containers."),
        Setting("scone_registry_name", TEXT, "registry.scontain.com:5050",
              variable="IEXEC_WORKER_SCONTAIN_REGISTRY_NAME",
              help="Registry of the LAS image."),
        Setting("scone_registry_username", TEXT, "",
              variable="IEXEC_WORKER_SCONTAIN_REGISTRY_USERNAME", example="operator",
              help="Login of that registry."),
        Setting("scone_registry_password", TEXT, "",
              variable="IEXEC_WORKER_SCONTAIN_REGISTRY_PASSWORD", example="a password", secret=True,
              help="Password of that login."),
        Setting("las_port", PORT, "18766",
              variable="IEXEC_LAS_PORT",
              help="Port of the LAS."),
        Setting("tdx_secret_provider_agent", PATH, "/usr/local/bin/secret_provider_agent",
              variable="TEE_TDX_SECRET_PROVIDER_AGENT",
              help="Program that fetches a TDX session."),
    ),
}
# fmt: on

TABLE: tuple[Setting, ...] = tuple(entry for group in GROUPS.values() for entry in group)

REGISTRY_PARTS = ("address", "username", "password")


def registry_entries(index: int) -> tuple[Setting, ...]:
    """Return the entries of one registry login, in the order of `REGISTRY_PARTS`.

    Number 0 is Docker Hub, whose address is fixed; upstream names numbers 0 and 1 only.
    """
    examples = ("registry.example:5000", "operator", "a password")
    return tuple(
        Setting(
            f"docker_registry_{part}_{index}",
            TEXT,
            "docker.io" if (index, part) == (0, "address") else "",
            f"Registry {index}: {part}.",
            variable=f"IEXEC_WORKER_DOCKER_REGISTRY_{part.upper()}_{index}"
            if index < 2 and (index, part) != (0, "address")
            else "",
            example=example,
            secret=part == "password",
        )
        for part, example in zip(REGISTRY_PARTS, examples, strict=True)
    )


def listed_registry_entries(index: int) -> tuple[Setting, ...]:
    """Return the same entries under the names of Spring's list, which replaces all others."""
    return tuple(
        Setting(
            f"docker_registries_{index}_{part}",
            TEXT,
            "",
            f"Registry {index} of the list: {part}.",
            variable=f"DOCKER_REGISTRIES_{index}_{part.upper()}",
            secret=part == "password",
            own=False,
        )
        for part in REGISTRY_PARTS
    )


DEAD_VARIABLES = frozenset(
    (
        "IEXEC_CORE_GRAYLOG_HOST",
        "IEXEC_TEE_ENABLED",
        "IEXEC_WORKER_SSL_TRUSTSTORE",
        "IEXEC_WORKER_SSL_TRUSTSTORE_PASSWORD",
    )
)
"""Still in old deployment files; no version reads them."""

PROXY_VARIABLES = frozenset(
    (
        "IEXEC_HTTP_PROXY_HOST",
        "IEXEC_HTTP_PROXY_PORT",
        "IEXEC_HTTPS_PROXY_HOST",
        "IEXEC_HTTPS_PROXY_PORT",
    )
)
"""Read by a start script that the official image lacks; HTTP_PROXY and HTTPS_PROXY do the work."""
