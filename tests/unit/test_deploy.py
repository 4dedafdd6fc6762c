"""What deploy/ and the operators' documents say agrees with the code."""

from __future__ import annotations

import configparser
import functools
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families as families

from iexworker import errors
from iexworker.sandbox.demo.worker import PORT
from iexworker.settings import model
from iexworker.settings.checks import known_variables
from iexworker.web.health import examine
from tests.unit.helpers.web_worker import WebWorker

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
UNIT = DEPLOY / "systemd" / "iexworker.service"
PAGES = sorted([*(ROOT / "docs").glob("*.md"), *(ROOT / "docs" / "reliability").glob("*.md")])
GRACE_S = model.load({}, config_dirs=()).settings.shutdown_grace_s
EXIT_CODES = {code for name, code in vars(errors).items() if name.startswith("EXIT_")}
HOPELESS = {errors.EXIT_REFUSED, errors.EXIT_CONFIG}
"""What starting again does not mend."""


def _unit(section: str) -> dict[str, str]:
    found = configparser.ConfigParser(interpolation=None)
    found.optionxform = str  # type: ignore[assignment]  # systemd's names have capitals
    found.read(UNIT)
    return dict(found[section])


def _program() -> dict[str, str]:
    found = configparser.ConfigParser(interpolation=None, inline_comment_prefixes=(" ;",))
    found.read(DEPLOY / "supervisord" / "iexworker.conf")
    return dict(found["program:iexworker"])


def _compose_file() -> dict[str, Any]:
    text = (DEPLOY / "compose" / "compose.yaml").read_text(encoding="utf-8")
    document: dict[str, Any] = yaml.safe_load(text)
    return document


def _example_variables() -> dict[str, str]:
    text = (DEPLOY / "compose" / "env.example").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")
def test_systemd_finds_no_fault_with_the_unit(tmp_path: Path) -> None:
    installed = tmp_path / "iexworker.service"
    program = str(Path(sys.executable).with_name("iexworker"))
    installed.write_text(UNIT.read_text().replace("/opt/iexworker/bin/iexworker", program))
    done = subprocess.run(
        ["systemd-analyze", "verify", str(installed)], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, "")
    assert "iexworker.service" not in done.stderr


def test_the_unit_stops_after_the_grace_and_knows_the_hopeless_exit_codes() -> None:
    service = _unit("Service")
    assert service["Type"] == "notify"
    assert service["NotifyAccess"] == "main"
    assert service["KillMode"] == "mixed"
    assert int(service["TimeoutStopSec"]) > GRACE_S
    assert {int(code) for code in service["RestartPreventExitStatus"].split()} == HOPELESS


def test_supervisord_stops_after_the_grace_and_knows_the_hopeless_exit_codes() -> None:
    program = _program()
    assert int(program["stopwaitsecs"]) > GRACE_S
    assert {int(code) for code in program["exitcodes"].split(",")} == {0, *HOPELESS}
    # With another value supervisord tries an early exit again, whatever its code.
    assert program["startsecs"] == "0"


def test_compose_mounts_the_base_directory_under_the_same_path() -> None:
    worker = _compose_file()["services"]["worker"]
    outside, _, inside = worker["volumes"][1].rpartition(":")
    assert inside == "${IEXEC_WORKER_BASE_DIR}"
    assert outside.startswith("${IEXEC_WORKER_BASE_DIR:?")
    assert int(worker["stop_grace_period"].removesuffix("s")) > GRACE_S
    assert "aliases" in worker["networks"]["iexec-worker-net"]


def test_compose_accepts_its_file_with_the_example_variables(tmp_path: Path) -> None:
    command = next((name for name in ("docker-compose", "docker") if _composes(name)), None)
    if command is None and not os.environ.get("CI"):
        pytest.skip("no Compose here")
    assert command is not None, "CI must have Compose"
    shutil.copy(DEPLOY / "compose" / "compose.yaml", tmp_path)
    shutil.copy(DEPLOY / "compose" / "env.example", tmp_path / ".env")
    done = subprocess.run(
        [command, *(["compose"] if command == "docker" else []), "config"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    shown = yaml.safe_load(done.stdout)["services"]["worker"]
    assert shown["environment"]["IEXEC_CORE_URL"] == _example_variables()["IEXEC_CORE_URL"]


def _composes(program: str) -> bool:
    command = [program, *(["compose"] if program == "docker" else []), "version"]
    found = shutil.which(program) is not None
    return found and subprocess.run(command, capture_output=True).returncode == 0


def test_the_example_variables_are_settings_that_load() -> None:
    variables = _example_variables()
    ours = {name for name in variables if name.startswith(("IEXEC_", "IEXWORKER_"))}
    assert ours <= known_variables()
    loaded = model.load(variables, config_dirs=())
    assert [text for text in loaded.warnings if "no setting" in text] == []


def test_the_image_exposes_the_default_port_and_asks_for_liveness() -> None:
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    default = model.load({}, config_dirs=()).settings.port
    assert default == PORT
    assert f"EXPOSE {default}\n" in text
    assert 'CMD ["iexworker", "healthcheck"]' in text


def test_the_guide_names_every_exit_code_metric_and_component(tmp_path: Path) -> None:
    guide = (ROOT / "docs" / "operators.md").read_text(encoding="utf-8")
    worker = WebWorker(tmp_path)
    worker.be_ready()
    names = {family.name for family in families(worker.get("/actuator/prometheus").text)}
    missing = {name for name in names if name not in guide and not _by_ending(name, guide)}
    assert missing == set()
    assert {code for code in EXIT_CODES if f"| {code} |" not in guide} == set()
    components = examine(worker.source).components
    assert {name for name in components if f"`{name}`" not in guide} == set()


def _by_ending(name: str, guide: str) -> bool:
    """Whether a row names this metric by its ending, beside the first of its kind."""
    stem, _, ending = name.partition("_duration_")
    return bool(ending) and f"`{stem}_duration_min`" in guide and f"`_{ending}`" in guide


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md"], ids=lambda page: page.name)
def test_every_link_leads_to_something(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)", text):
        assert "://" in target or (page.parent / target).exists(), target
    anchors = {re.sub(r"[^\w\- ]", "", line).strip().replace(" ", "-").lower()
               for line in text.splitlines() if line.startswith("#")}  # fmt: skip
    for anchor in re.findall(r"\]\(#([^)]+)\)", text):
        assert anchor in anchors


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md"], ids=lambda page: page.name)
def test_every_option_and_verb_of_a_page_exists(page: Path) -> None:
    helps = _helps()
    for block in re.findall(r"```\n(.*?)```", page.read_text(encoding="utf-8"), re.S):
        for line in block.splitlines():
            for command in re.findall(r"(?<![\w/.-])iexworker ((?:sandbox )?[a-z]+[^#|;)]*)", line):
                words = command.split()
                verb = " ".join(words[:2] if words[0] == "sandbox" else words[:1])
                assert verb in helps, line
                for option in re.findall(r"(?<!\S)--[a-z-]+", command):
                    assert option in helps[verb], line


@functools.cache
def _helps() -> dict[str, str]:
    """Return the help text of each verb."""
    helps = {}
    for prefix in ((), ("sandbox",)):
        text = _help(*prefix)
        for verb in re.findall(r"^    ([a-z]+)\b", text, re.M):
            helps[" ".join((*prefix, verb))] = _help(*prefix, verb)
    return helps


def _help(*words: str) -> str:
    command = [sys.executable, "-m", "iexworker", *words, "--help"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
