"""The command line: verbs, exit codes, and errors said in words.

Imports wait for the verb that needs them: `--version` and `status` answer before web3 or docker
could be loaded.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from iexworker import __version__
from iexworker.errors import EXIT_INTERNAL, EXIT_OK, SettingsError, WorkerError

if TYPE_CHECKING:
    from pathlib import Path

    from iexworker.settings.model import Loaded

EXIT_UNHEALTHY = 1
_HEALTH_TIMEOUT_S = 5.0
_EXIT_CODES = """\
exit codes of run:
  0   orderly stop                       75  another worker holds directory or wallet
  69  a peer is unreachable, --fail-fast 77  wallet unusable, or login refused
  70  internal error                     78  the settings have problems
exit codes of status:
  0   ready    1  runs, not ready    3  does not run
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; returns the exit code."""
    argv = list(sys.argv[1:] if arguments is None else arguments)
    options = _parser(argv).parse_args(argv)
    try:
        code: int = options.verb(options)
    except SettingsError as error:
        _complain(f"{len(error.problems)} problem(s) with the settings:", *error.problems)
        return error.exit_code
    except WorkerError as error:
        _complain(str(error))
        return error.exit_code
    except BrokenPipeError:
        # Who read our output has left; nothing more can be said, at exit neither.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_INTERNAL
    except KeyboardInterrupt:
        return 130
    return code


def _parser(argv: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="iexworker",
        description="A compute-node daemon for iExec workerpools.",
        epilog=_EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"iexworker {__version__}")
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    run = verbs.add_parser("run", help="run the worker until it is told to stop")
    run.add_argument(
        "--fail-fast",
        action="store_true",
        help="exit with 69 when scheduler, chain or Docker cannot be reached at the start",
    )
    run.set_defaults(verb=_run)
    config = verbs.add_parser("config", help="print the settings and where each came from")
    config.set_defaults(verb=_config)
    status = verbs.add_parser("status", help="tell what the running worker does")
    status.add_argument("--json", action="store_true", help="print the whole report as JSON")
    status.set_defaults(verb=_status)
    for verb, text in (
        ("drain", "stop in order: no new task, finish what the grace allows, keep the rest"),
        ("pause", "ask for no new task; those under way go on"),
        ("resume", "ask for tasks again"),
    ):
        verbs.add_parser(verb, help=text).set_defaults(verb=_order, order=verb)
    health = verbs.add_parser("healthcheck", help="exit with 0 when the worker is alive")
    health.set_defaults(verb=_healthcheck)
    if "sandbox" in argv:
        from iexworker.sandbox.cli import add_parser

        add_parser(verbs)
    else:
        verbs.add_parser("sandbox", help="run a whole local iExec network", add_help=False)
    return parser


def _complain(*lines: str) -> None:
    from iexworker.masking import masked

    text = masked("\n  ".join(lines))
    print(f"iexworker: {text}", file=sys.stderr)  # noqa: T201 - the terminal is ours


def _say(text: str) -> None:
    print(text)  # noqa: T201 - the terminal is ours


def _load() -> Loaded:
    from iexworker.settings.model import load

    return load(dict(os.environ))


def _root() -> Path:
    """Return the worker's folder; where the environment names it, no other setting matters."""
    from pathlib import Path

    base, name = (os.environ.get(f"IEXEC_WORKER_{part}") for part in ("BASE_DIR", "NAME"))
    if base and name:
        return Path(base).expanduser().absolute() / name
    return _load().settings.root


def _run(options: argparse.Namespace) -> int:
    """Run the worker in this process, which becomes the parent."""
    import logging

    from iexworker import logs, secrets

    loaded = _load()
    settings = loaded.settings
    # Before anything else is imported: setproctitle moves the environment, secrets included.
    hidden = secrets.Secrets(
        {name: os.environ[name] for name in filter(secrets.is_secret, os.environ)}
    )
    secrets.forget(os.environ)
    logs.setup("supervisor", settings.log_level, as_json=settings.log_json)
    log = logging.getLogger(__name__)
    for warning in loaded.warnings:
        log.warning("setting to look at", extra={"reason": warning})

    from iexworker.settings.model import load
    from iexworker.supervisor.supervisor import Supervisor

    try:
        supervisor = Supervisor(
            settings,
            os.environ,
            fail_fast=options.fail_fast,
            reload=lambda: load({**os.environ, **hidden.all()}).settings,
            hidden=hidden,
        )
        return supervisor.run()
    except WorkerError as error:
        log.error("worker cannot start", extra={"error": str(error), "exit": error.exit_code})
        return error.exit_code
    except Exception:
        log.critical("worker failed", exc_info=True)
        return EXIT_INTERNAL


def _config(_options: argparse.Namespace) -> int:
    loaded = _load()
    lines = loaded.lines()
    width = max(len(line.key) for line in lines)
    for line in lines:
        _say(f"{line.key:<{width}} = {line.value}    # {line.source}")
    for warning in loaded.warnings:
        _complain(f"warning: {warning}")
    return EXIT_OK


def _status(options: argparse.Namespace) -> int:
    from iexworker import control
    from iexworker.supervisor import status

    report = control.ask(_root(), "status")
    if options.json:
        import json

        _say(json.dumps(report, indent=2))
    else:
        _say(status.render(report))
    return status.exit_code(report)


def _order(options: argparse.Namespace) -> int:
    """Give the running worker an order; `drain` returns when the worker has left."""
    from iexworker import control

    answer = control.ask(_root(), options.order)
    if "error" in answer:
        _complain(str(answer["error"]))
        return EXIT_INTERNAL
    if options.order == "drain":
        _say(f"draining: at most {answer['grace_s']:g} s, what is left goes on at the next start")
        _wait_for_end(int(answer["pid"]))
    _say({"drain": "stopped", "pause": "paused", "resume": "resumed"}[options.order])
    return EXIT_OK


def _wait_for_end(pid: int) -> None:
    """Return when the process is gone; it is not a child, so its end is a readable pidfd."""
    import select

    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        select.select([process], [], [])
    finally:
        os.close(process)


def _healthcheck(_options: argparse.Namespace) -> int:
    """Ask the worker's own port, as the health check of a container image does."""
    from iexworker import control
    from iexworker.healthcheck import problem

    settings = _load().settings
    port = settings.port or control.ask(settings.root, "status")["facts"]["http_port"]
    trouble = problem(settings.listen_address, port, _HEALTH_TIMEOUT_S)
    _say(trouble or "alive")
    return EXIT_UNHEALTHY if trouble else EXIT_OK
