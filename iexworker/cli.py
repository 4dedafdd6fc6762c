"""The command line: verbs, exit codes, and errors said in words.

Imports wait for the verb that needs them: `--version` and `status` answer before web3 or docker
could be loaded.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from iexworker import __version__, descriptors
from iexworker.errors import EXIT_CONFIG, EXIT_INTERNAL, EXIT_OK, SettingsError, WorkerError

if TYPE_CHECKING:
    from pathlib import Path

    from iexworker.secrets import Secrets
    from iexworker.settings.environment import Environment, Variables
    from iexworker.settings.model import Loaded

EXIT_UNHEALTHY = 1
_HEALTH_TIMEOUT_S = 5.0
_LOOK_EVERY_S = 1.0
_EXIT_CODES = """\
exit codes of run:
  0   orderly stop                       75  another worker holds directory or wallet
  69  a peer is unreachable, --fail-fast 77  wallet unusable, or login refused
  70  internal error                     78  the settings have problems
exit codes of status:
  0   ready    1  runs, not ready or paused    3  does not run
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; returns the exit code."""
    descriptors.hold_standard()
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
    run = _verb(verbs, "run", _run, "run the worker until it is told to stop")
    run.add_argument(
        "--fail-fast",
        action="store_true",
        help="exit with 69 when scheduler, chain or Docker cannot be reached at the start",
    )
    _verb(verbs, "config", _config, "print the settings and where each came from")
    status = _verb(verbs, "status", _status, "tell what the running worker does")
    status.add_argument("--json", action="store_true", help="print the whole report as JSON")
    for verb, text in (
        ("drain", "stop in order: no new task, finish what the grace allows, keep the rest"),
        ("pause", "ask for no new task; those under way go on"),
        ("resume", "ask for tasks again"),
        ("reload", "read settings files and env file again; say what waits for a restart"),
    ):
        _verb(verbs, verb, _order, text).set_defaults(order=verb)
    _verb(verbs, "healthcheck", _healthcheck, "exit with 0 when the worker is alive")
    if "sandbox" in argv:
        from iexworker.sandbox.cli import add_parser

        add_parser(verbs)
    else:
        verbs.add_parser("sandbox", help="run a whole local iExec network", add_help=False)
    return parser


def _verb(
    verbs: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    run: Callable[[argparse.Namespace], int],
    text: str,
) -> argparse.ArgumentParser:
    """Add a verb of the worker."""
    parser = verbs.add_parser(name, help=text)
    parser.add_argument(
        "--env-file",
        metavar="FILE",
        help="take variables from this file too, read as systemd reads EnvironmentFile=; it wins",
    )
    parser.set_defaults(verb=run)
    return parser


def _complain(*lines: str) -> None:
    from iexworker.masking import masked

    text = masked("\n  ".join(lines))
    print(f"iexworker: {text}", file=sys.stderr)  # noqa: T201 - the terminal is ours


def _say(text: str) -> None:
    print(text)  # noqa: T201 - the terminal is ours


def _variables(options: argparse.Namespace) -> tuple[Environment, Variables]:
    """Return where the variables come from, and what they are."""
    from pathlib import Path

    from iexworker.settings.environment import Environment

    path = None if options.env_file is None else Path(options.env_file)
    return Environment.at_start(dict(os.environ), path)


def _load(variables: Variables) -> Loaded:
    from iexworker.settings.model import load

    loaded = load(variables.values, origins=variables.origins)
    return replace(loaded, warnings=(*variables.notes, *loaded.warnings))


def _root(options: argparse.Namespace) -> Path:
    """Return the worker's folder; where the environment names it, no other setting matters."""
    from pathlib import Path

    known: Mapping[str, str] = os.environ
    if options.env_file is not None:
        known = _variables(options)[1].values
    base, name = (known.get(f"IEXEC_WORKER_{part}") for part in ("BASE_DIR", "NAME"))
    if base and name:
        return Path(base).absolute() / name
    return _load(_variables(options)[1]).settings.root


@dataclass(frozen=True, slots=True)
class Start:
    """What a start has of its environment, which holds no secret any more."""

    loaded: Loaded
    hidden: Secrets
    """The secrets that were in the environment."""
    reload: Callable[[], Loaded]
    """Reads settings and env file again."""


def prepare(options: argparse.Namespace) -> Start:
    """Read the settings and take every secret out of the environment; raises `SettingsError`.

    Before anything else is imported: setproctitle moves the environment, secrets included.
    """
    from iexworker import secrets
    from iexworker.settings.model import load

    environment, variables = _variables(options)
    loaded = _load(variables)
    hidden = secrets.Secrets(
        {name: os.environ[name] for name in filter(secrets.is_secret, os.environ)}
    )
    secrets.forget(os.environ)
    os.environ.update(variables.exported)

    def reload() -> Loaded:
        now = environment.again({**os.environ, **hidden.all()})
        return replace(load(now.values, origins=now.origins), notes=now.notes)

    return Start(loaded, hidden, reload)


def _run(options: argparse.Namespace) -> int:
    """Run the worker in this process, which becomes the parent."""
    import logging

    from iexworker import logs

    start = prepare(options)
    settings = start.loaded.settings
    logs.setup("supervisor", settings.log_level, as_json=settings.log_json)
    log = logging.getLogger(__name__)
    for warning in start.loaded.warnings:
        log.warning("setting to look at", extra={"reason": warning})

    from iexworker.supervisor.supervisor import Supervisor

    try:
        supervisor = Supervisor(
            settings,
            os.environ,
            fail_fast=options.fail_fast,
            reload=start.reload,
            told=start.loaded.warnings,
            hidden=start.hidden,
        )
        return supervisor.run()
    except WorkerError as error:
        log.error("worker cannot start", extra={"error": str(error), "exit": error.exit_code})
        return error.exit_code
    except Exception:
        log.critical("worker failed", exc_info=True)
        return EXIT_INTERNAL


def _config(options: argparse.Namespace) -> int:
    _, variables = _variables(options)
    loaded = _load(variables)
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

    report = control.ask(_root(options), "status")
    if options.json:
        import json

        _say(json.dumps(report, indent=2))
    else:
        _say(status.render(report))
    return status.exit_code(report)


def _order(options: argparse.Namespace) -> int:
    """Give the running worker an order; `drain` returns when the worker has left."""
    from iexworker import control

    root = _root(options)
    answer = control.ask(root, options.order)
    if problems := answer.get("problems"):
        _complain(f"{len(problems)} problem(s), nothing is changed:", *problems)
        return EXIT_CONFIG
    for line in answer["lines"]:
        _say(line)
    if options.order == "drain":
        _wait_for_end(int(answer["pid"]), root)
        _say("stopped")
    return EXIT_OK


def _wait_for_end(pid: int, root: Path) -> None:
    """Return when the process is gone; say meanwhile how many tasks it still waits for."""
    import select

    try:
        process = os.pidfd_open(pid)  # it is not a child, so its end is a readable descriptor
    except ProcessLookupError:
        return
    said = ""
    try:
        while not select.select([process], [], [], _LOOK_EVERY_S)[0]:
            left, waits_for = _stop_progress(root)
            if waits_for and waits_for != said:
                _say(f"  {left} left: it {waits_for}")
            said = waits_for or said
    finally:
        os.close(process)


def _stop_progress(root: Path) -> tuple[str, str]:
    """Return how long the stop may take yet, and what it waits for; empty when none answers."""
    from iexworker import control
    from iexworker.supervisor import stop_words

    try:
        return stop_words.progress(control.ask(root, "status"))
    except WorkerError:
        return "", ""


def _healthcheck(options: argparse.Namespace) -> int:
    """Ask the worker's own port, as the health check of a container image does."""
    from iexworker import control
    from iexworker.healthcheck import problem

    _, variables = _variables(options)
    settings = _load(variables).settings
    port = settings.port or control.ask(settings.root, "status")["facts"]["http_port"]
    trouble = problem(settings.listen_address, port, _HEALTH_TIMEOUT_S)
    _say(trouble or "alive")
    return EXIT_UNHEALTHY if trouble else EXIT_OK
