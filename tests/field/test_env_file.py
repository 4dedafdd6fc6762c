"""`--env-file FILE`: read as systemd reads it, and refused in words where systemd is silent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from iexworker.errors import SettingsError
from tests.field.helpers.command import environment, run

VECTORS = json.loads(
    (Path(__file__).parents[1] / "vectors" / "field-env-file.json").read_text(encoding="utf-8")
)
READ = [case for case in VECTORS["cases"] if "refused" not in case]
REFUSED = [case for case in VECTORS["cases"] if "refused" in case]


def written(folder: Path, content: str | bytes) -> Path:
    path = folder / "worker.env"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("case", READ, ids=lambda case: repr(case["text"]))
def test_a_file_says_to_us_what_it_says_to_systemd(case: dict[str, Any], tmp_path: Path) -> None:
    from iexworker.settings.env_file import read_env_file

    assert dict(read_env_file(written(tmp_path, case["text"])).values) == case["systemd"]


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: repr(case["text"]))
def test_what_systemd_drops_or_mistakes_without_a_word_is_refused(
    case: dict[str, Any], tmp_path: Path
) -> None:
    from iexworker.settings.env_file import read_env_file

    path = written(tmp_path, case["text"])
    with pytest.raises(SettingsError) as caught:
        read_env_file(path)
    (told,) = caught.value.problems
    assert told.startswith(f"{path}, line ")
    assert case["refused"] in told


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"A=\xff\n", "UTF-8"), (b"A=b\0c\n", "NUL"), (None, "No such file"), ("folder", "directory")],
)
def test_a_file_that_cannot_be_read_is_told_so(
    content: bytes | str | None, words: str, tmp_path: Path
) -> None:
    path = tmp_path / "worker.env"
    if content == "folder":
        path.mkdir()
    elif isinstance(content, bytes):
        path.write_bytes(content)
    done = run(environment(tmp_path), "config", "--env-file", str(path))
    assert done.returncode == 78
    assert str(path) in done.stderr
    assert words in done.stderr


def test_all_that_is_wrong_with_a_file_is_told_at_once(tmp_path: Path) -> None:
    path = written(tmp_path, "export A=1\nB\nC=2\nD E=3\n")
    done = run(environment(tmp_path), "config", "--env-file", str(path))
    assert done.returncode == 78
    assert [f"line {number}: " in done.stderr for number in (1, 2, 3, 4)] == [
        True,
        True,
        False,
        True,
    ]


def test_a_name_that_stands_twice_is_warned_of(tmp_path: Path) -> None:
    path = written(tmp_path, "IEXEC_WORKER_NAME=a\nIEXEC_WORKER_NAME=b\n")
    environ = environment(tmp_path)
    del environ["IEXEC_WORKER_NAME"]
    done = run(environ, "config", "--env-file", str(path))
    assert done.returncode == 0
    assert f"warning: {path}: IEXEC_WORKER_NAME stands in lines 1 and 2" in done.stderr


@pytest.mark.parametrize("verb", ["config", "run"])
def test_problems_with_a_value_name_the_file_it_stands_in(verb: str, tmp_path: Path) -> None:
    path = written(tmp_path, "# mine\nIEXEC_WORKER_PORT=http\nIEXEC_CORE_URL='\"http://x\"'\n")
    environ = environment(tmp_path)
    done = run(environ, verb, "--env-file", str(path))
    assert done.returncode == 78
    assert f"IEXEC_WORKER_PORT ({path})=http: expected" in done.stderr
    assert f"IEXEC_CORE_URL ({path})=" in done.stderr


def test_config_says_that_a_value_comes_from_the_file(tmp_path: Path) -> None:
    path = written(
        tmp_path, 'IEXEC_WORKER_PORT="13101"\r\nIEXEC_WORKER_WALLET_PASSWORD=marked-1\r\n'
    )
    environ = environment(tmp_path)
    del environ["IEXEC_WORKER_PORT"], environ["IEXEC_WORKER_WALLET_PASSWORD"]
    done = run(environ, "config", "--env-file", str(path))
    assert done.returncode == 0
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("port ")]
    assert line.split(maxsplit=4)[2:] == ["13101", "#", f"IEXEC_WORKER_PORT ({path})"]
    assert "marked-1" not in done.stdout + done.stderr


def test_the_file_wins_over_the_environment_as_in_a_unit_and_says_so(tmp_path: Path) -> None:
    path = written(tmp_path, "IEXEC_WORKER_PORT=13101\nIEXEC_WORKER_NAME=w\n")
    done = run(environment(tmp_path), "config", "--env-file", str(path))
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("port ")]
    assert "13101" in line
    (told,) = [line for line in done.stderr.splitlines() if str(path) in line]
    assert "IEXEC_WORKER_PORT" in told
    assert "IEXEC_WORKER_NAME" not in told


def test_an_empty_value_of_the_file_is_unset(tmp_path: Path) -> None:
    path = written(tmp_path, "IEXEC_CORE_URL=\n")
    done = run(environment(tmp_path), "config", "--env-file", str(path))
    assert "core_url" in done.stdout
    assert "http://localhost:13000" in done.stdout


@pytest.mark.parametrize("verb", ["status", "pause", "resume", "drain", "reload", "healthcheck"])
def test_the_other_verbs_find_the_worker_by_the_file(verb: str, tmp_path: Path) -> None:
    path = written(tmp_path, f"IEXEC_WORKER_BASE_DIR={tmp_path}/elsewhere\nIEXEC_WORKER_NAME=v\n")
    done = run(environment(tmp_path), verb, "--env-file", str(path))
    assert done.returncode == 3
    assert f"{tmp_path}/elsewhere/v" in done.stderr


def test_a_password_of_the_file_is_in_no_process_environment(tmp_path: Path) -> None:
    from tests.field.helpers.running_tree import running_trees

    path = written(
        tmp_path, "IEXEC_WORKER_WALLET_PASSWORD=marked-secret\nHTTP_PROXY=http://p.example:1\n"
    )
    with running_trees(tmp_path) as start:
        tree = start("--env-file", str(path), scheduling="curious")
        seen = json.loads((tree.root / "seen-scheduling").read_text())
        assert seen["secret"] == "marked-secret"
        assert seen["environ"] == []
        assert seen["proxy"] == "http://p.example:1"


def test_the_unit_and_supervisords_program_name_the_file() -> None:
    deploy = Path(__file__).parents[2] / "deploy"
    for name in ("systemd/iexworker.service", "supervisord/iexworker.conf"):
        text = (deploy / name).read_text(encoding="utf-8")
        assert "iexworker run --env-file /etc/iexworker/worker.env" in text
