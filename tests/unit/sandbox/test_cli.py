from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import pytest

from iexworker.errors import SandboxError
from iexworker.sandbox import cli
from iexworker.sandbox.network.network import Network


def run(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    cli.add_parser(parser.add_subparsers())
    options = parser.parse_args(["sandbox", *arguments])
    code: int = options.verb(options)
    return code


@pytest.mark.parametrize("verb", ["deal", "tasks", "result 0x1"])
def test_verbs_that_need_a_network_say_how_to_get_one(verb: str, tmp_path: Path) -> None:
    with pytest.raises(SandboxError, match=f"run `iexworker sandbox up --dir {tmp_path}`"):
        run(*verb.split(), "--dir", str(tmp_path))


def test_the_usual_folder_need_not_be_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))

    with pytest.raises(SandboxError, match=r"run `iexworker sandbox up`$"):
        run("tasks")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--timer", "sleepiness=3"), "--timer: there is no sleepiness; worker_lost, "),
        (("--timer", "worker_lost=soon"), "--timer: worker_lost=soon: soon is not from 0.001 to"),
        (("--category", "XXS"), "--category: XXS: NAME=SECONDS"),
    ],
)
def test_wrong_pairs_are_refused_with_what_is_expected(
    arguments: tuple[str, str],
    words: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit, match="2"):
        run("up", "--dir", str(tmp_path), *arguments)

    assert words in capsys.readouterr().err


def test_down_without_a_network_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("down", "--dir", str(tmp_path / "none")) == 0

    assert capsys.readouterr().out == f"no network was up in {tmp_path}/none\n"


def test_down_tells_where_the_state_is_and_how_to_delete_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "mine"
    made = Network(str(folder), "9", "127.0.0.1", 1, 2, 3, 4, 5)
    made.save()
    made.deployed_path.touch()

    run("down", "--dir", str(folder))
    told = capsys.readouterr().out
    run(*f"down --delete --dir {folder}".split())

    assert f"state is kept in {folder}\n" in told
    assert f"iexworker sandbox up --dir {folder}\n" in told
    assert f"iexworker sandbox down --delete --dir {folder}\n" in told
    assert capsys.readouterr().out == f"no network was up in {folder}\ndeleted: {folder}\n"
    assert not folder.exists()


def test_logs_show_the_end_of_each_components_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "logs").mkdir()
    for name in ("anvil", "server"):
        (tmp_path / "logs" / f"{name}.log").write_text(f"{name} 1\n{name} 2\n")

    run("logs", "--dir", str(tmp_path), "-n", "1")
    both = capsys.readouterr().out
    run("logs", "server", "--dir", str(tmp_path))
    one = capsys.readouterr().out

    assert "anvil 2" in both
    assert "server 2" in both
    assert "anvil 1" not in both
    assert "server 1\nserver 2" in one
    assert "anvil" not in one.replace("anvil.log", "")


def test_the_command_line_is_there_before_web3_and_docker() -> None:
    script = (
        "import sys, argparse; from iexworker.sandbox import cli; "
        "cli.add_parser(argparse.ArgumentParser().add_subparsers()); "
        "print([m for m in ('web3', 'docker', 'eth_account', 'requests') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)

    assert done.stdout == "[]\n", done.stderr
