"""Print the table of settings for readers: docs/settings.md and config/settings.toml.

`python -m iexworker.settings.docs` in a checkout writes both; a test fails when they are stale.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from iexworker.settings.table import GROUPS, Setting, registry_entries

_INTRODUCTION = """\
# Settings

Written by `python -m iexworker.settings.docs` from `iexworker/settings/table.py`; do not edit.

Every setting has a key. Its value is looked for here, the first place that has one wins:

1. the variable of the Java worker (`IEXEC_*` and the others below),
2. for a password, the file that the same variable with `_FILE` at its end names
   (both set is an error; one newline at the end is dropped),
3. `IEXWORKER_` and the key in upper case, for any key, with the same `_FILE` twin for a password,
4. `.secrets.toml`, then `settings.local.toml`, then `settings.toml`, all in the configuration
   folder, which `IEXWORKER_CONFIG_DIR` names, else `/etc/iexworker`,
5. the default.

A variable that is set but empty counts as unset. Texts are taken as they are: no quotes are
removed, nothing is expanded. So a text that begins or ends with a quote, or has a character that
cannot be seen (the CR of Windows line ends, a byte order mark), is an error, and so is a path with
`~` or `$` to be expanded; a password alone is taken to the letter, as long as it is one line.

Variables may also come from `--env-file FILE`, which is read as systemd reads `EnvironmentFile=`
and wins over the environment. `iexworker reload` reads it and the files below again
(docs/operators.md).

In the files the keys stand in a section, `[default]` or the one that `IEXWORKER_ENV` names
(`production` unless set), which wins; put addresses and passwords in quotes. `iexworker config`
shows every value and the place that it came from; passwords are hidden, and so are keys in
addresses: `https://***@node.example/v3/***?token=***`.

Types: a boolean is `true`, `on`, `yes`, `1` or `false`, `off`, `no`, `0` in any letter case; an
integer is decimal, or hexadecimal after `0x` or `#`; a duration is ISO-8601 (`PT5M`) or a number
with `ns`, `us`, `ms`, `s`, `m`, `h` or `d` (`5m`; without a unit: milliseconds, as the Java worker
reads it, with a warning below a second); a float is kept in single precision, as the Java worker
does.
"""

_REGISTRIES = """
## Docker registries

Number 0 is Docker Hub, number 1 any other. More of them: the same keys with the numbers 2, 3 and
so on, or Spring's list, `DOCKER_REGISTRIES_0_ADDRESS`, `DOCKER_REGISTRIES_0_USERNAME`,
`DOCKER_REGISTRIES_0_PASSWORD`, `DOCKER_REGISTRIES_1_ADDRESS` and so on, which replaces all the
others and has no gap in its numbers. A username without a password is an error, a password without
a username is ignored. An address stands as in image names, without a scheme.
"""

_NETWORK = """
## Proxies, certificates and logins

One rule for all that the worker asks: scheduler and event stream, configuration server, result
proxy, chain node, inputs, and a Docker engine that is reached by `tcp://` or `https://`. The
variables are those that `curl` and others know; what cannot be used is told at the start.

- `HTTP_PROXY` is the proxy of `http://` addresses, `HTTPS_PROXY` that of `https://` ones,
  `ALL_PROXY` that of either where its own is not set: `http://host:port` or `host:port`, with a
  login as `http://user:password@host:port`. An `https://` address is reached through the proxy by
  `CONNECT`. SOCKS is not spoken. Each name counts in lower case, too, which wins.
- `NO_PROXY` lists what is asked directly, separated by commas: a host and all below it
  (`pool.example`, `.pool.example` and `*.pool.example` are the same), an address, a network
  (`10.0.0.0/8`), each of the first two with a port if only that is meant, or `*` for everything.
  `localhost`, `127.0.0.0/8` and `::1` are always asked directly.
- The event stream needs a proxy that passes an answer on as it comes, and leaves it open.
- `.netrc` is never read: a login is in the address, or nowhere.
- `REQUESTS_CA_BUNDLE`, else `SSL_CERT_FILE`: a file, or a folder, of the authorities to trust
  instead of the built-in ones (certifi's).
- `DOCKER_TLS_VERIFY`, with any text: a `tcp://` engine is asked with TLS, as the `docker` command
  does it. `DOCKER_CERT_PATH`, else `DOCKER_CONFIG`, else `~/.docker`, is the folder with `ca.pem`,
  by which the engine's certificate is checked, and with `cert.pem` and `key.pem`, which are shown
  to it. Without `ca.pem` the authorities above count. There is no TLS without a check.
- Images are pulled by the engine: its own proxy and authorities count there.
"""

_REST = """
## Read by others, or by nobody

- `LOGGING_LEVEL_COM_IEXEC_WORKER`, `LOGGING_LEVEL_COM_IEXEC`, `LOGGING_LEVEL_COM`,
  `LOGGING_LEVEL_ROOT`: the first that is set is the level of the log. Other packages are ignored.
- `IEXEC_HTTP_PROXY_HOST`, `IEXEC_HTTP_PROXY_PORT`, `IEXEC_HTTPS_PROXY_HOST`,
  `IEXEC_HTTPS_PROXY_PORT` and the properties in `JAVA_TOOL_OPTIONS` have no effect and are
  mentioned at start; set `HTTP_PROXY` and the others above.
- `DOCKER_CONFIG`: the folder of the Docker client's own configuration.
- `IEXEC_CORE_GRAYLOG_HOST`, `IEXEC_TEE_ENABLED`, `IEXEC_WORKER_SSL_TRUSTSTORE`,
  `IEXEC_WORKER_SSL_TRUSTSTORE_PASSWORD`: ignored, as by the Java worker.
- `IEXWORKER_SANDBOX_CACHE`: read by `iexworker sandbox` only (docs/sandbox.md).
- Any other `IEXEC_*` or `IEXWORKER_*` variable gets a warning at start, with the nearest name.
"""

_TOML_HEAD = """\
# Settings of the worker, with their defaults. Written by `python -m iexworker.settings.docs`.
# Copy to /etc/iexworker/settings.toml, take the # away where you decide otherwise; passwords go
# to .secrets.toml beside it. docs/settings.md explains each key and which place wins.

[default]
"""


def markdown() -> str:
    """Return docs/settings.md."""
    parts = [_INTRODUCTION]
    for group, entries in GROUPS.items():
        parts.append(f"\n## {group}\n\n" + "".join(_rows(entries)))
    logins = registry_entries(0) + registry_entries(1)
    parts.append(_REGISTRIES + "\n" + "".join(_rows(logins)))
    return "".join((*parts, _NETWORK, _REST))


def _rows(entries: tuple[Setting, ...]) -> Iterator[str]:
    yield "| key | variable | type | default | what it does |\n|---|---|---|---|---|\n"
    for entry in entries:
        variable = f"`{entry.shown_variable}`"
        default = f"`{entry.default}`" if entry.default else ""
        kind = entry.kind.name
        if kind == "choice":
            kind = entry.kind.expected.removeprefix("one of ")
        yield f"| `{entry.key}` | {variable} | {kind} | {default} | {entry.help} |\n"


def toml() -> str:
    """Return config/settings.toml: every key but the passwords, commented out."""
    lines = [_TOML_HEAD]
    for group, entries in GROUPS.items():
        lines.append(f"\n# {group}\n")
        lines.extend(_line(entry) for entry in entries if not entry.secret)
    return "".join(lines)


def _line(entry: Setting) -> str:
    value = entry.default or entry.example
    bare = entry.kind.name in ("boolean", "integer", "port", "float")
    shown = value if bare else f'"{value}"'
    unset = "" if entry.default else " (unset; an example)"
    return f"# {entry.help}{unset}\n# {entry.key} = {shown}\n"


def write(checkout: Path) -> None:
    """Write both files into a checkout."""
    (checkout / "docs" / "settings.md").write_text(markdown(), encoding="utf-8")
    (checkout / "config" / "settings.toml").write_text(toml(), encoding="utf-8")


if __name__ == "__main__":
    write(Path.cwd())
