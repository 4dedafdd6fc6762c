"""Access keys in addresses are seen nowhere: not in config, log, status, page or error."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from iexworker import logs
from iexworker.settings.model import load
from iexworker.shared.board import Board
from tests.field.helpers.command import environment, run
from tests.unit.helpers.web_worker import WebWorker

NODE = "IEXEC_WORKER_OVERRIDE_BLOCKCHAIN_NODE_ADDRESS"
KEY = "0123456789abcdef0123456789abcdef"
UUID = "0f8fad5b-d9cb-469f-a165-70867728950e"
MASKED = {
    f"https://user:pw@node.example/v3/{KEY}?token=tok123": (
        "https://***@node.example/v3/***?token=***"
    ),
    "https://node.example/v3/0123456789abcdefKEY": "https://node.example/v3/***",
    f"https://arb-mainnet.g.alchemy.com/v2/{KEY}": "https://arb-mainnet.g.alchemy.com/v2/***",
    "https://arb-mainnet.g.alchemy.com/v2/Ab-3_x": "https://arb-mainnet.g.alchemy.com/v2/***",
    f"https://x.quiknode.pro/{KEY}12345678/": "https://x.quiknode.pro/***/",
    f"https://x.quiknode.pro/{KEY}/ext/bc/C/rpc": "https://x.quiknode.pro/***/ext/bc/C/rpc",
    f"https://rpc.ankr.com/arbitrum/{KEY}{KEY}": "https://rpc.ankr.com/arbitrum/***",
    f"https://arb.blastapi.io/{UUID}": "https://arb.blastapi.io/***",
    f"https://{KEY}.eth.rpc.rivet.cloud/": "https://***.eth.rpc.rivet.cloud/",
    "https://lb.drpc.org/ogrpc?network=arbitrum&dkey=Ak": (
        "https://lb.drpc.org/ogrpc?network=***&dkey=***"
    ),
    "https://node.example/rpc?apikey=a&b": "https://node.example/rpc?apikey=***&***",
    "https://node.example/?secret": "https://node.example/?***",
    "https://node.example/rpc#secret": "https://node.example/rpc#***",
    "https://token@node.example/": "https://***@node.example/",
    "http://me:pa@ss@host:8545/": "http://***@host:8545/",
    "http://me:pa/ss@host/x": "http://***@host/x",
    "tcp://me:pw@10.0.0.1:2375": "tcp://***@10.0.0.1:2375",
    "wss://node.example/ws/v3/k3y": "wss://node.example/ws/v3/***",
}
KEPT = (
    "http://core.example:13000/workers/config",
    "https://proxy.example/v1/results/token",
    f"https://proxy.example/v1/results/0x{KEY}{KEY}/ipfshash",
    "https://registry-1.docker.io/v2/library/alpine/manifests/3.19",
    "https://gateway.example/ipfs/QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWKe7PK",
    "https://host.example/folder/data-set_2024.csv",
    "https://node.example/rpc",
    "http://host/a@b",
    "unix:///var/run/docker.sock",
    "http://[::1]:8545/",
)


@pytest.mark.parametrize("url", MASKED)
def test_an_address_is_shown_without_its_keys(url: str) -> None:
    from iexworker.masking import masked

    assert masked(url) == MASKED[url]
    assert masked(f'GET {url}: refused, see "{url}", ({url})') == (
        f'GET {MASKED[url]}: refused, see "{MASKED[url]}", ({MASKED[url]})'
    )


@pytest.mark.parametrize("url", KEPT)
def test_what_is_no_key_stays_readable(url: str) -> None:
    from iexworker.masking import masked

    assert masked(f"GET {url}: HTTP 404") == f"GET {url}: HTTP 404"


def test_a_path_in_the_words_of_a_library_is_shown_without_its_key() -> None:
    from iexworker.masking import masked

    told = f"HTTPSConnectionPool(host='n', port=443): Max retries exceeded with url: /v3/{KEY}?a=b"
    assert KEY not in masked(told)
    assert "a=b" not in masked(told)


def test_config_shows_no_key_of_any_address(tmp_path: Path) -> None:
    secret = f"https://user:pw@node.example/v3/{KEY}?token=tok123"
    environ = environment(
        tmp_path,
        **{NODE: secret},
        IEXEC_CORE_URL="http://user:pw@core.example:13000",
        IEXWORKER_IPFS_GATEWAYS=f"https://a.example,https://user:pw@b.example/v2/{KEY}",
        DOCKER_HOST="tcp://user:pw@docker.example:2375",
    )
    done = run(environ, "config")
    assert done.returncode == 0
    for part in ("pw", KEY, "tok123"):
        assert part not in done.stdout + done.stderr
    lines = dict(line.split(" = ", 1) for line in done.stdout.splitlines())
    shown = {name.strip(): value.split("    #")[0] for name, value in lines.items()}
    assert shown["node_url_override"] == "https://***@node.example/v3/***?token=***"
    assert shown["ipfs_gateways"] == "https://a.example, https://***@b.example/v2/***"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("IEXEC_CORE_URL", "user:pw@core.example:13000"),
        ("IEXEC_CORE_URL", "http://user:pw@core.example:13000 "),
        ("IEXEC_CORE_URL", "http://user:p/w@core.example:13000/?"),
        (NODE, f"node.example/v3/{KEY}"),
        (NODE, f"node.example/{KEY}"),
        (NODE, f"https:/node.example/v2/{KEY}\r"),
        (NODE, f'"https://node.example/v2/{KEY}"'),
        (NODE, "https://node.example:port/rpc?apikey=pw"),
        ("IEXWORKER_IPFS_GATEWAYS", f"https://a.example,b.example/v2/{KEY}"),
        ("DOCKER_HOST", "user:pw@docker.example"),
    ],
)
def test_a_problem_with_an_address_shows_no_key(name: str, text: str, tmp_path: Path) -> None:
    done = run(environment(tmp_path, **{name: text}), "config")
    assert done.returncode == 78
    assert f"{name}=" in done.stderr
    for part in ("pw", "p/w", KEY):
        assert part not in done.stderr


class TestGates:
    """Whatever else names an address: what is written and shown is masked at the last moment."""

    URL = f"https://user:pw@node.example/v3/{KEY}?apikey=tok123"

    @pytest.mark.parametrize("as_json", [False, True])
    def test_a_log_line_and_its_traceback_show_no_key(
        self, as_json: bool, capfd: pytest.CaptureFixture[str]
    ) -> None:
        kind = logs.JsonFormatter if as_json else logs.TextFormatter
        handler = logs.LineHandler(1, -1, None)
        handler.setFormatter(kind("scheduling"))
        try:
            raise ValueError(f"POST {self.URL}: refused")
        except ValueError as error:
            record = logging.makeLogRecord({"msg": f"asked {self.URL}", "error": str(error)})
            record.exc_info = (type(error), error, error.__traceback__)
            record.cause = error
        text = handler.format(record)
        for part in ("user", "pw", KEY, "tok123"):
            assert part not in text
        assert text.count("node.example/v3/***") >= 4

    def test_what_an_app_has_printed_stays_as_it_is(self) -> None:
        formatter = logs.TextFormatter("compute-0")
        record = logging.makeLogRecord({"msg": "app output", "text_block": self.URL})
        assert formatter.format(record).endswith(f"\n{self.URL}")

    def test_status_page_and_readiness_show_no_key(self, tmp_path: Path) -> None:
        worker = WebWorker(tmp_path)
        worker.be_ready()
        worker.board.facts.set(
            chain_ok=False, chain_text=f"node {self.URL}: refused", scheduler_text=self.URL
        )
        worker.board.entry("scheduling").write(text=f"asks {self.URL}")
        pages = ("/", "/actuator/health/readiness", "/actuator/health", "/actuator/prometheus")
        seen = "".join(worker.get(path).text for path in pages)
        for part in ("user:", "pw@", KEY, "tok123"):
            assert part not in seen
        assert "node.example/v3/***" in seen

    def test_the_board_masks_before_it_cuts(self) -> None:
        board = Board.create(("scheduling",))
        board.facts.set(chain_text="x" * 215 + " https://user:pw@node.example/")
        assert "pw" not in board.facts.read().chain_text

    def test_an_error_of_the_command_line_shows_no_key(
        self, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from iexworker import cli, control
        from iexworker.errors import WorkerError

        def ask(*_: object) -> None:
            raise WorkerError(f"GET {self.URL}: refused")

        monkeypatch.setattr(control, "ask", ask)
        for name, value in environment(tmp_path).items():
            monkeypatch.setenv(name, value)
        assert cli.main(["status"]) == 70
        told = capsys.readouterr().err
        assert "node.example/v3/***" in told
        assert "pw" not in told


def test_the_settings_are_masked_by_the_same_function(tmp_path: Path) -> None:
    from iexworker.masking import masked

    url = f"https://user:pw@node.example/v3/{KEY}"
    lines = load({NODE: url, "IEXEC_WORKER_BASE_DIR": "/b"}, config_dirs=()).lines()
    (shown,) = [line.value for line in lines if line.key == "node_url_override"]
    assert shown == masked(url)
