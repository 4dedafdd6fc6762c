from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from iexworker.errors import EXIT_CONFIG, SettingsError
from iexworker.settings import reader
from iexworker.settings.model import Loaded, RegistryCredentials, Settings, load
from iexworker.settings.table import TABLE

ADDRESS = "0x365e7bae02ce1a8fbf8fa8a9e1de6bef7aea2b12"


def loaded(environ: Mapping[str, str], folder: Path | None = None) -> Loaded:
    """Load without the machine's own /etc/iexworker."""
    return load(environ, config_dirs=[folder] if folder else [])


def settings(environ: Mapping[str, str], folder: Path | None = None) -> Settings:
    return loaded(environ, folder).settings


def problems(environ: Mapping[str, str], folder: Path | None = None) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as caught:
        loaded(environ, folder)
    assert caught.value.exit_code == EXIT_CONFIG
    return caught.value.problems


def folder_with(tmp_path: Path, **files: str) -> Path:
    """Write settings.toml, settings.local.toml and .secrets.toml."""
    names = {
        "settings": "settings.toml",
        "local": "settings.local.toml",
        "secrets": ".secrets.toml",
    }
    for key, text in files.items():
        (tmp_path / names[key]).write_text(text, encoding="utf-8")
    return tmp_path


def test_nothing_set_gives_the_defaults_of_upstream() -> None:
    found = settings({})

    assert found.port == 13100
    assert found.core_url == "http://localhost:13000"
    assert found.exposure == {"health", "info", "prometheus"}
    assert found.name == "worker"
    assert found.root == Path("/tmp/iexec-worker/worker")
    assert found.cpu_override is None
    assert found.gas_price_cap_wei == 22_000_000_000
    assert (found.min_pull_timeout_s, found.max_pull_timeout_s) == (300, 1800)
    assert found.window_size == 1000
    assert found.registries == ()
    assert found.scone_registry == RegistryCredentials("registry.scontain.com:5050", "", "")


def test_every_field_has_a_source() -> None:
    found = loaded({"IEXEC_WORKER_NAME": "w", "IEXWORKER_LOG_JSON": "true"})

    assert set(found.sources) == {item.name for item in dataclasses.fields(Settings)}
    assert found.sources["name"] == "IEXEC_WORKER_NAME"
    assert found.sources["log_json"] == "IEXWORKER_LOG_JSON"
    assert found.sources["port"] == "default"


DEPLOYMENTS = {
    "pool": {
        "IEXEC_CORE_HOST": "core",
        "IEXEC_CORE_PORT": "13000",
        "IEXEC_CORE_GRAYLOG_HOST": "",
        "IEXEC_WORKER_NAME": "worker1",
        "IEXEC_WORKER_BASE_DIR": "/srv/iexec-worker",
        "IEXEC_WORKER_OVERRIDE_AVAILABLE_CPU_COUNT": "",
        "IEXEC_WORKER_GPU_ENABLED": "False",
        "IEXEC_TEE_ENABLED": "False",
        "IEXEC_DEVELOPER_LOGGER_ENABLED": "True",
        "IEXEC_WORKER_TEE_COMPUTE_MAX_HEAP_SIZE_GB": "8",
        "IEXEC_WORKER_WALLET_PATH": "/iexec-wallet/encrypted-wallet_worker1.json",
        "IEXEC_WORKER_WALLET_PASSWORD": "12345678",
        "IEXEC_WORKER_DOCKER_REGISTRY_ADDRESS_1": "",
        "IEXEC_WORKER_DOCKER_REGISTRY_USERNAME_1": "",
        "IEXEC_WORKER_DOCKER_REGISTRY_PASSWORD_1": "",
        "IEXEC_GAS_PRICE_MULTIPLIER": "0",
        "IEXEC_GAS_PRICE_CAP": "0",
        "MANAGEMENT_ENDPOINTS_WEB_EXPOSURE_INCLUDE": "health",
        "IEXEC_WORKER_SSL_TRUSTSTORE": "",
        "IEXEC_WORKER_SSL_TRUSTSTORE_PASSWORD": "",
        "IEXEC_WORKER_SGX_DRIVER_MODE": "NONE",
    },
    "9.x": {
        "IEXEC_CORE_URL": "http://core:13000",
        "POOL_ADDRESS": ADDRESS,
        "IEXEC_WORKER_OVERRIDE_BLOCKCHAIN_NODE_ADDRESS": "",
        "IEXEC_WORKER_SGX_DRIVER_MODE": "native",
        "IEXEC_LAS_PORT": "18766",
        "IEXEC_SCONE_SHOW_VERSION": "true",
        "TEE_TDX_SECRET_PROVIDER_AGENT": "/opt/agent",
        "WORKER_DOCKER_EXTRA_HOSTS": "sms:10.0.0.5",
    },
}


@pytest.mark.parametrize("environ", DEPLOYMENTS.values(), ids=DEPLOYMENTS)
def test_the_variables_of_real_deployments_start_cleanly(environ: dict[str, str]) -> None:
    found = loaded(environ)

    assert not [warning for warning in found.warnings if "did you mean" in warning]


def test_a_real_deployment_is_read_to_the_letter() -> None:
    found = settings(DEPLOYMENTS["pool"])

    assert found.core_url == "http://core:13000"
    assert found.gpu_enabled is False
    assert found.developer_logger is True
    assert (found.gas_price_multiplier, found.gas_price_cap_wei) == (0, 0)
    assert found.wallet_password == "12345678"
    assert found.exposure == {"health"}
    assert found.cpu_override is None


def test_values_are_not_cast_evaluated_or_stripped() -> None:
    found = settings(
        {
            "IEXEC_WORKER_WALLET_PASSWORD": "@format {env[HOME]}",
            "IEXWORKER_REPORTED_VERSION": " 9.2.0 ",
            "POOL_ADDRESS": ADDRESS,
        }
    )

    assert found.wallet_password == "@format {env[HOME]}"
    assert found.reported_version == " 9.2.0 "
    assert found.pool_address == ADDRESS


def test_all_problems_are_told_at_once_with_value_and_example() -> None:
    told = problems(
        {
            "IEXEC_WORKER_PORT": "http",
            "IEXEC_WORKER_DOCKER_IMAGE_MIN_PULL_TIMEOUT": "5 minutes",
            "POOL_ADDRESS": "0x12",
            "IEXEC_WORKER_METRICS_WINDOW_SIZE": "0",
            "IEXEC_WORKER_OVERRIDE_AVAILABLE_CPU_COUNT": "0",
            "IEXWORKER_PROFILE": "7",
            "IEXEC_WORKER_NAME": "my worker",
            "IEXEC_CORE_URL": "core:13000",
            "LOGGING_LEVEL_ROOT": "LOUD",
        }
    )

    assert len(told) == 9
    assert (
        "IEXEC_WORKER_PORT=http: expected a whole number from 0 to 65535, "
        "for example IEXEC_WORKER_PORT=13100"
    ) in told
    assert all("expected" in problem and "for example" in problem for problem in told)


@pytest.mark.parametrize("window", ["0", "-2"])
def test_a_window_of_zero_or_below_minus_one_is_refused(window: str) -> None:
    (told,) = problems({"IEXEC_WORKER_METRICS_WINDOW_SIZE": window})

    assert told.startswith(f"IEXEC_WORKER_METRICS_WINDOW_SIZE={window}: expected")


def test_secrets_show_in_no_problem_no_line_and_no_repr(tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("hunter2\n", encoding="utf-8")
    environ = {
        "IEXEC_WORKER_WALLET_PASSWORD_FILE": str(password),
        "IEXEC_WORKER_DOCKER_REGISTRY_USERNAME_0": "me",
        "IEXEC_WORKER_DOCKER_REGISTRY_PASSWORD_0": "hunter2",
        "IEXEC_WORKER_SCONTAIN_REGISTRY_PASSWORD": "hunter2",
        "IEXEC_CORE_URL": "http://user:hunter2@core:13000",
    }

    found = loaded(environ)
    told = problems(environ | {"IEXEC_CORE_URL": "ftp://user:hunter2@core"})

    assert found.settings.wallet_password == "hunter2"
    assert "hunter2" not in repr(found.settings).replace(found.settings.core_url, "")
    assert "hunter2" not in str(found.lines())
    assert "hunter2" not in str(told)
    assert told[0].startswith("IEXEC_CORE_URL=ftp://***@core: ")


def test_lines_show_value_and_source_of_each_field() -> None:
    found = loaded(
        {
            "IEXEC_WORKER_GPU_ENABLED": "on",
            "IEXEC_WORKER_DOCKER_REGISTRY_USERNAME_0": "me",
            "IEXEC_WORKER_DOCKER_REGISTRY_PASSWORD_0": "x",
        }
    )

    lines = {line.key: (line.value, line.source) for line in found.lines()}

    assert lines["gpu_enabled"] == ("true", "IEXEC_WORKER_GPU_ENABLED")
    assert lines["pool_address"] == ("(none)", "default")
    assert lines["exposure"] == ("health, info, prometheus", "default")
    assert lines["wallet_password"] == ("***", "default")
    assert lines["registries"] == (
        "docker.io as me",
        "IEXEC_WORKER_DOCKER_REGISTRY_USERNAME_0, IEXEC_WORKER_DOCKER_REGISTRY_PASSWORD_0",
    )
    assert lines["scone_registry"][0] == "registry.scontain.com:5050 without a login"


class TestPlaces:
    def test_the_strongest_place_wins(self, tmp_path: Path) -> None:
        files = folder_with(
            tmp_path,
            settings='[default]\nname = "a"\nport = 1\nwindow_size = 1\nlas_port = 1\n',
            local="[default]\nport = 2\nwindow_size = 2\nlas_port = 2\n",
            secrets="[default]\nwindow_size = 3\nlas_port = 3\n",
        )

        found = settings({"IEXWORKER_LAS_PORT": "4"}, files)
        assert (found.name, found.port, found.window_size, found.las_port) == ("a", 2, 3, 4)
        assert settings({"IEXEC_LAS_PORT": "5", "IEXWORKER_LAS_PORT": "4"}, files).las_port == 5

    def test_empty_counts_as_unset_in_every_place(self, tmp_path: Path) -> None:
        files = folder_with(
            tmp_path, settings='[default]\nname = "a"\n', local='[default]\nname = ""\n'
        )

        found = loaded(
            {"IEXEC_WORKER_NAME": "", "IEXWORKER_NAME": "", "IEXEC_WORKER_PORT": ""}, files
        )

        assert found.settings.port == 13100
        assert found.settings.name == "worker"

    def test_the_named_section_wins_over_default(self, tmp_path: Path) -> None:
        files = folder_with(
            tmp_path, settings="[default]\nport = 1\n[production]\nport = 2\n[rack]\nport = 3\n"
        )

        assert settings({}, files).port == 2
        found = loaded({"IEXWORKER_ENV": "rack"}, files)
        assert found.settings.port == 3
        assert found.sources["port"] == f"{tmp_path}/settings.toml [rack]: port"

    def test_texts_in_files_are_as_verbatim_as_variables(self, tmp_path: Path) -> None:
        files = folder_with(
            tmp_path,
            settings='[default]\ngpu_enabled = true\nmin_pull_timeout = "PT1M"\n'
            'exposure = ["health", "info"]\ngas_price_multiplier = 1.5\n',
            secrets='[default]\nwallet_password = "@int 12"\n',
        )

        found = settings({}, files)

        assert found.wallet_password == "@int 12"
        assert found.gpu_enabled is True
        assert found.min_pull_timeout_s == 60
        assert found.exposure == {"health", "info"}
        assert found.gas_price_multiplier == 1.5

    def test_variables_of_dynaconf_reach_nothing(self, tmp_path: Path) -> None:
        (tmp_path / "evil.toml").write_text("[default]\nport = 9\n", encoding="utf-8")
        (tmp_path / ".env").write_text("IEXWORKER_PORT=9\n", encoding="utf-8")
        files = folder_with(tmp_path, settings='[default]\nname = "a"\n')
        script = (
            "import os; from pathlib import Path; from iexworker.settings.model import load; "
            f"print(load(os.environ, config_dirs=[Path({str(files)!r})]).settings.port)"
        )
        environ = {
            "SETTINGS_FILE_FOR_DYNACONF": str(tmp_path / "evil.toml"),
            "DYNACONF_PORT": "8",
            "LOAD_DOTENV_FOR_DYNACONF": "true",
        }

        done = subprocess.run(
            [sys.executable, "-c", script],
            cwd=tmp_path,
            env=environ,
            capture_output=True,
            text=True,
            check=True,
        )

        assert done.stdout == "13100\n"

    def test_the_folder_comes_from_the_environment_when_none_is_given(self, tmp_path: Path) -> None:
        files = folder_with(tmp_path, settings="[default]\nport = 7\n")

        assert load({"IEXWORKER_CONFIG_DIR": str(files)}).settings.port == 7

    @pytest.mark.parametrize("name", ["absent", "x" * 300])
    def test_a_folder_that_was_named_must_exist(self, name: str, tmp_path: Path) -> None:
        with pytest.raises(SettingsError, match="expected a folder that exists"):
            load({"IEXWORKER_CONFIG_DIR": str(tmp_path / name)})

    def test_the_folder_of_the_system_need_not_exist(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(reader, "DEFAULT_CONFIG_DIR", tmp_path)
        assert load({}).settings.port == 13100

        folder_with(tmp_path, settings="[default]\nport = 7\n")
        assert load({}).settings.port == 7

    def test_a_problem_in_a_file_names_file_section_and_key(self, tmp_path: Path) -> None:
        files = folder_with(tmp_path, settings="[default]\npool_address = 0x365e\n")

        (told,) = problems({}, files)

        assert told.startswith(
            f"{tmp_path}/settings.toml [default]: pool_address=13918: expected 0x"
        )


class TestPasswordFiles:
    def test_one_newline_at_the_end_is_dropped(self, tmp_path: Path) -> None:
        for content, password in (("a b\n", "a b"), ("a\r\n", "a"), (" a", " a")):
            (tmp_path / "p").write_bytes(content.encode())
            found = loaded({"IEXEC_WORKER_WALLET_PASSWORD_FILE": str(tmp_path / "p")})
            assert found.settings.wallet_password == password
            assert found.sources["wallet_password"] == "IEXEC_WORKER_WALLET_PASSWORD_FILE"

    def test_the_twin_stands_below_the_variable_and_above_our_prefix(self, tmp_path: Path) -> None:
        (tmp_path / "p").write_text("from file", encoding="utf-8")
        environ = {
            "IEXEC_WORKER_WALLET_PASSWORD_FILE": str(tmp_path / "p"),
            "IEXWORKER_WALLET_PASSWORD": "own",
        }

        assert settings(environ).wallet_password == "from file"
        own = {"IEXWORKER_WALLET_PASSWORD_FILE": str(tmp_path / "p")}
        assert settings(own).wallet_password == "from file"

    def test_every_password_has_one(self, tmp_path: Path) -> None:
        (tmp_path / "p").write_text("secret", encoding="utf-8")
        path = str(tmp_path / "p")

        found = settings(
            {
                "IEXEC_WORKER_DOCKER_REGISTRY_USERNAME_0": "me",
                "IEXEC_WORKER_DOCKER_REGISTRY_PASSWORD_0_FILE": path,
                "IEXEC_WORKER_SCONTAIN_REGISTRY_PASSWORD_FILE": path,
            }
        )
        listed = settings(
            {
                "DOCKER_REGISTRIES_0_ADDRESS": "r",
                "DOCKER_REGISTRIES_0_USERNAME": "me",
                "DOCKER_REGISTRIES_0_PASSWORD_FILE": path,
            }
        )

        assert found.registries == (RegistryCredentials("docker.io", "me", "secret"),)
        assert found.scone_registry.password == "secret"
        assert listed.registries == (RegistryCredentials("r", "me", "secret"),)

    def test_both_set_is_one_problem(self) -> None:
        (told,) = problems(
            {
                "IEXEC_WORKER_WALLET_PASSWORD": "hunter2",
                "IEXEC_WORKER_WALLET_PASSWORD_FILE": "/run/secrets/wallet",
            }
        )

        assert "are both set" in told
        assert "hunter2" not in told

    @pytest.mark.parametrize(
        ("content", "words"),
        [(None, "there is no such file"), (b"", "it is empty"), (b"\xff", "it is not UTF-8")],
    )
    def test_a_file_without_a_password_is_a_problem(
        self, content: bytes | None, words: str, tmp_path: Path
    ) -> None:
        path = tmp_path / "p"
        if content is not None:
            path.write_bytes(content)

        (told,) = problems({"IEXEC_WORKER_WALLET_PASSWORD_FILE": str(path)})

        assert words in told


class TestScheduler:
    @pytest.mark.parametrize(
        ("environ", "url", "source"),
        [
            ({"IEXEC_CORE_HOST": "a"}, "http://a:13000", "IEXEC_CORE_HOST"),
            (
                {"IEXEC_CORE_PROTOCOL": "https", "IEXEC_CORE_PORT": "443"},
                "https://localhost:443",
                "IEXEC_CORE_PROTOCOL, IEXEC_CORE_PORT",
            ),
            (
                {"IEXEC_CORE_URL": "http://b:1/", "IEXEC_CORE_HOST": "a"},
                "http://b:1",
                "IEXEC_CORE_URL",
            ),
            (
                {"IEXWORKER_CORE_URL": "http://b:1", "IEXEC_CORE_HOST": "a"},
                "http://a:13000",
                "IEXEC_CORE_HOST",
            ),
        ],
    )
    def test_one_url_wins_over_three_parts_of_the_same_place(
        self, environ: dict[str, str], url: str, source: str
    ) -> None:
        found = loaded(environ)

        assert (found.settings.core_url, found.sources["core_url"]) == (url, source)

    def test_parts_that_make_no_url_are_a_problem(self) -> None:
        (told,) = problems({"IEXEC_CORE_HOST": "http://core", "IEXEC_CORE_PORT": "13000"})

        assert told.startswith(
            "IEXEC_CORE_HOST, IEXEC_CORE_PORT: the parts give http://http://core"
        )

    @pytest.mark.parametrize("text", ["", "0x0", "0X0", "0x" + "0" * 40])
    def test_a_zero_pool_is_no_pool(self, text: str) -> None:
        assert settings({"POOL_ADDRESS": text}).pool_address is None


class TestRegistries:
    def test_a_username_without_a_password_is_a_problem(self) -> None:
        (told,) = problems({"IEXEC_WORKER_DOCKER_REGISTRY_USERNAME_0": "me"})

        assert told.startswith(
            "IEXEC_WORKER_DOCKER_REGISTRY_USERNAME_0=me: expected a password for docker.io too, "
            "for example IEXEC_WORKER_DOCKER_REGISTRY_PASSWORD_0="
        )

    def test_a_password_without_a_username_or_an_address_is_ignored(self) -> None:
        found = settings(
            {
                "IEXEC_WORKER_DOCKER_REGISTRY_PASSWORD_0": "x",
                "IEXEC_WORKER_DOCKER_REGISTRY_USERNAME_1": "me",
                "IEXEC_WORKER_DOCKER_REGISTRY_PASSWORD_1": "x",
            }
        )

        assert found.registries == ()

    def test_more_registries_come_by_number(self, tmp_path: Path) -> None:
        files = folder_with(
            tmp_path,
            settings='[default]\ndocker_registry_address_5 = "f"\n',
            local='[default]\ndocker_registry_username_5 = "u"\n',
            secrets='[default]\ndocker_registry_password_5 = "p"\n',
        )
        environ = {
            "IEXEC_WORKER_DOCKER_REGISTRY_ADDRESS_1": "one",
            "IEXEC_WORKER_DOCKER_REGISTRY_USERNAME_1": "me",
            "IEXEC_WORKER_DOCKER_REGISTRY_PASSWORD_1": "x",
            "IEXWORKER_DOCKER_REGISTRY_ADDRESS_3": "three",
            "IEXWORKER_DOCKER_REGISTRY_USERNAME_3": "me",
            "IEXWORKER_DOCKER_REGISTRY_PASSWORD_3": "x",
        }

        found = loaded(environ, files)

        assert [login.address for login in found.settings.registries] == ["one", "three", "f"]
        assert not [warning for warning in found.warnings if "no setting" in warning]

    def test_the_list_of_spring_replaces_all_others(self) -> None:
        found = settings(
            {
                "IEXEC_WORKER_DOCKER_REGISTRY_USERNAME_0": "me",
                "IEXEC_WORKER_DOCKER_REGISTRY_PASSWORD_0": "x",
                "DOCKER_REGISTRIES_0_ADDRESS": "zero",
                "DOCKER_REGISTRIES_1_ADDRESS": "one",
                "DOCKER_REGISTRIES_1_USERNAME": "you",
                "DOCKER_REGISTRIES_1_PASSWORD": "y",
            }
        )

        assert found.registries == (RegistryCredentials("one", "you", "y"),)

    def test_a_gap_in_the_list_is_a_problem(self) -> None:
        (told,) = problems({"DOCKER_REGISTRIES_1_ADDRESS": "one"})

        assert "numbers from 0 without a gap" in told


class TestLogLevel:
    @pytest.mark.parametrize(
        ("environ", "level"),
        [
            ({"IEXEC_LOG_LEVEL": "debug"}, "DEBUG"),
            ({"IEXEC_LOG_LEVEL": "chatty"}, "DEBUG"),
            ({"IEXEC_LOG_LEVEL": "debug", "LOGGING_LEVEL_ROOT": "WARN"}, "WARNING"),
            ({"LOGGING_LEVEL_ROOT": "WARN", "LOGGING_LEVEL_COM_IEXEC_WORKER": "TRACE"}, "DEBUG"),
            ({"LOGGING_LEVEL_ORG_WEB3J": "DEBUG", "LOGGING_LEVEL_ROOT": ""}, "INFO"),
        ],
    )
    def test_the_nearest_logger_decides(self, environ: dict[str, str], level: str) -> None:
        assert settings(environ).log_level == level


class TestWarnings:
    def test_a_lasting_folder_and_an_own_password_are_fine(self, tmp_path: Path) -> None:
        found = loaded(
            {"IEXEC_WORKER_WALLET_PASSWORD": "mine", "IEXEC_WORKER_BASE_DIR": "/var/lib/iexec"}
        )

        assert found.warnings == ()

    def test_upstreams_defaults_are_warned_of(self) -> None:
        told = " ".join(loaded({}).warnings)

        assert "password is the public default" in told
        assert "below /tmp" in told

    def test_limits_on_apps_are_warned_of(self) -> None:
        told = " ".join(loaded({"IEXWORKER_APP_MEMORY": "8g", "IEXWORKER_APP_PIDS": "99"}).warnings)

        assert "limits on apps (app_memory_bytes, app_pids)" in told


def test_a_task_folder_stays_below_the_root() -> None:
    found = settings({})

    assert found.task_dir("0xab") == found.root / "0xab"
    for task_id in ("", "..", "../../etc", "/etc"):
        with pytest.raises(ValueError, match="task id"):
            found.task_dir(task_id)


def test_each_documented_example_and_default_is_a_value_that_its_setting_takes() -> None:
    for entry in TABLE:
        for text in filter(None, (entry.default, entry.example)):
            entry.kind.parse(text)
