"""The command line: settings, errors, and what it asks of the hub."""

from __future__ import annotations

import base64
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
import yaml
from click.testing import CliRunner

from towline.certs import kubeconfig
from towline.certs.authority import create
from towline.cli.failures import explain
from towline.cli.main import COMMANDS, cli
from towline.cli.options import Seconds
from towline.hub.config import HealthLimits, HubConfig

OIDC = ("hub", "--data-dir", "d", "--oidc-issuer-url", "https://i", "--oidc-client-id", "c")


def run(*arguments: str, **environment: str) -> Any:
    return CliRunner().invoke(cli, list(arguments), env=environment, prog_name="towline")


@pytest.fixture
def hub_configs(monkeypatch: pytest.MonkeyPatch) -> list[HubConfig]:
    """The configurations that `towline hub` would have run."""
    seen: list[HubConfig] = []

    async def record(config: HubConfig) -> None:
        seen.append(config)

    monkeypatch.setitem(sys.modules, "towline.hub.app", SimpleNamespace(run=record))
    return seen


def test_help_names_every_command_and_imports_none() -> None:
    code = (
        "import sys; from towline.cli.main import cli; cli(['--help'], standalone_mode=False);"
        "heavy = {'aiohttp', 'grpc', 'cryptography', 'yaml', 'uvloop', 'rich', 'towline.hub', 'towline.agent'};"
        "sys.exit(str(sorted(heavy & set(sys.modules))) if heavy & set(sys.modules) else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for name in COMMANDS:
        assert f"  {name} " in done.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name: str) -> None:
    result = run(name, "--help")
    assert result.exit_code == 0, result.output
    assert f"Usage: towline {name}" in result.output


def test_version_is_printed() -> None:
    assert run("version").output.startswith("towline 0.")


def test_flags_environment_and_file_reach_the_hub(hub_configs: list[HubConfig], tmp_path: Path) -> None:
    settings = tmp_path / "hub.yaml"
    settings.write_text(
        "data-dir: /from/file\nadvertise: hub.example\nnamespace_sync: needed\nresource-eviction-rate: 2\n"
    )
    assert run("hub", "--config", str(settings)).exit_code == 0
    assert run("hub", "--config", str(settings), TOWLINE_HUB_DATA_DIR="/from/environment").exit_code == 0
    assert (
        run("hub", "--config", str(settings), "--data-dir", "/from/flag", "--advertise", "a").exit_code == 0
    )
    assert [c.data_dir for c in hub_configs] == [
        Path("/from/file"),
        Path("/from/environment"),
        Path("/from/flag"),
    ]
    assert [c.advertise for c in hub_configs] == [("hub.example",), ("hub.example",), ("a",)]
    assert {(c.namespace_sync, c.evictions_a_second) for c in hub_configs} == {("needed", 2.0)}


def test_when_clusters_count_as_lost_can_be_set(hub_configs: list[HubConfig]) -> None:
    assert run("hub", "--data-dir", "d").exit_code == 0
    flags = ["--cluster-monitor-grace-seconds", "8", "--cluster-failure-threshold-seconds", "0"]
    assert run("hub", "--data-dir", "d", *flags).exit_code == 0
    assert [config.health for config in hub_configs] == [
        HealthLimits(30, 30, 40, 60),
        HealthLimits(30, 0, 8, 60),
    ]
    assert "is not in the range x>=4" in run("hub", "--data-dir", "d", flags[0], "1").output


def test_how_long_agents_certificates_last_can_be_set(hub_configs: list[HubConfig]) -> None:
    assert run("hub", "--data-dir", "d").exit_code == 0
    assert run("hub", "--data-dir", "d", "--agent-certificate-seconds", "3600").exit_code == 0
    assert [config.agent_certificate_seconds for config in hub_configs] == [7 * 86_400, 3600]
    assert "is not in the range" in run("hub", "--data-dir", "d", "--agent-certificate-seconds", "59").output


def test_addresses_are_advertised_without_brackets(hub_configs: list[HubConfig]) -> None:
    flags = ["--advertise", "[::1]", "--advertise", "10.0.0.1", "--advertise", "hub-1.example.org"]
    assert run("hub", "--data-dir", "d", *flags).exit_code == 0
    assert hub_configs[0].advertise == ("::1", "10.0.0.1", "hub-1.example.org")


def test_settings_may_stand_under_the_commands_name(hub_configs: list[HubConfig], tmp_path: Path) -> None:
    settings = tmp_path / "towline.yaml"
    settings.write_text("hub:\n  data-dir: /d\n  store: etcd://a:1,b:2\nagent:\n  data-dir: /other\n")
    assert run("hub", TOWLINE_HUB_CONFIG=str(settings)).exit_code == 0
    assert (hub_configs[0].data_dir, hub_configs[0].store) == (Path("/d"), "etcd://a:1,b:2")


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["bogus"], 2, "There is no command 'bogus'"),
        (["hub"], 2, "Missing option '--data-dir'"),
        (
            ["hub", "--data-dir", "d", "--api-address", "nowhere"],
            2,
            "--api-address 'nowhere' is not HOST:PORT.",
        ),
        (
            ["hub", "--data-dir", "d", "--advertise", "hub.example:6443"],
            2,
            "'hub.example:6443' is not a host.",
        ),
        (["hub", "--data-dir", "d", "--advertise", "https://hub.example"], 2, "Write a name or an address"),
        (["hub", "--data-dir", "d", "--advertise", ""], 2, "is not a host"),
        (["hub", "--data-dir", "d", "--store", "mysql"], 2, "There is no store 'mysql'."),
        (["hub", "--data-dir", "d", "--store", "etcd://a:1", "--etcd-cert", "c"], 2, "needs its key"),
        (["hub", "--data-dir", "d", "--service-account-issuer", "me"], 2, "'me' is not https"),
        (["hub", "--data-dir", "d", "--service-account-max-token-seconds", "9"], 2, "Invalid value"),
        (["hub", "--data-dir", "d", "--oidc-client-id", "c"], 2, "needs its client"),
        (
            ["hub", "--data-dir", "d", "--oidc-issuer-url", "http://i", "--oidc-client-id", "c"],
            2,
            "is not https",
        ),
        ([*OIDC, "--oidc-signing-algs", "none"], 2, "'none' is not known"),
        ([*OIDC, "--oidc-required-claim", "hd"], 2, "is not CLAIM=VALUE"),
        ([*OIDC, "--oidc-ca-file", "missing"], 2, "--oidc-ca-file cannot be read"),
        (["hub", "--config", "missing.yaml"], 2, "The settings in missing.yaml cannot be read"),
        (["join", "m", "--kubeconfig", "missing"], 1, "The kubeconfig missing cannot be read"),
        (["release", "m", "--kubeconfig", "missing"], 1, "The kubeconfig missing cannot be read"),
        (["taint", "m", "--kubeconfig", "missing"], 2, "at least one taint update is required."),
        (["taint", "k:Evict"], 2, "invalid taint spec: k:Evict, invalid taint effect: Evict"),
        (["taint", "k:NoSchedule"], 2, "Which clusters?"),
        (["taint", "m", "k:NoSchedule", "--all"], 2, "Which clusters?"),
        (["cordon"], 2, "Which clusters?"),
        (["uncordon", "m", "-l", "a=b"], 2, "Which clusters?"),
        (["demo", "--manifests", "missing"], 1, "There are no manifests in missing."),
        (["sim", "--data-dir", "d", "--nodes", "-1"], 2, "Invalid value for '--nodes'"),
    ],
)
def test_mistakes_are_told_without_a_traceback(arguments: list[str], code: int, told: str) -> None:
    result = run(*arguments)
    assert result.exit_code == code
    assert told in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("data-dir: [unclosed", "is not YAML"),
        ("- a list", "is not a mapping of flags"),
        ("data-dirs: /d", "sets data_dirs, which `towline hub` does not know"),
    ],
)
def test_wrong_settings_are_told(content: str, told: str, tmp_path: Path) -> None:
    settings = tmp_path / "s.yaml"
    settings.write_text(content)
    result = run("hub", "--config", str(settings))
    assert result.exit_code == 2
    assert told in result.stderr


def test_an_unexpected_error_is_one_line_and_a_traceback_only_with_debug(
    monkeypatch: pytest.MonkeyPatch,
) -> None:

    async def fail(config: HubConfig) -> None:
        raise ExceptionGroup("tasks", [OSError(98, "Address already in use")])

    monkeypatch.setitem(sys.modules, "towline.hub.app", SimpleNamespace(run=fail))
    result = run("hub", "--data-dir", "d")
    assert result.exit_code == 1
    assert result.stderr == (
        "towline: Address already in use. Stop what listens there, or choose another address.\n"
    )
    assert isinstance(run("--debug", "hub", "--data-dir", "d").exception, ExceptionGroup)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("the hub is away", "The hub is away."),
        ("agent1/agent.db is locked.", "agent1/agent.db is locked."),
        ("", "ValueError."),
    ],
)
def test_a_path_keeps_its_letters(words: str, told: str) -> None:
    assert explain(ValueError(words)).message.startswith(told)


def test_the_demo_does_not_touch_a_folder_that_is_not_its_own(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("x")
    result = run("demo", "--once", "--data-dir", str(tmp_path), "--manifests", str(tmp_path))
    assert result.exit_code == 1
    assert "is not empty, and not from an earlier demo." in result.stderr
    assert (tmp_path / "precious").read_text() == "x"


# --- what is asked of a hub ----------------------------------------------------------------------------------


class Hub:
    """An HTTPS server that answers what it is told to and remembers what it was asked."""

    def __init__(self, folder: Path) -> None:
        now = time.time()
        authority = create(now)
        self.asked: list[tuple[str, str, Any]] = []
        self.answer: tuple[int, Any] = (201, {"token": "towline1.abc"})
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(length)
                hub.asked.append((self.command, self.path, orjson.loads(body) if body else None))
                code, answer = hub.answer
                content = orjson.dumps(answer)
                self.send_response(code)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_POST = do_PATCH = do_GET = do_DELETE = handle_any

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        leaf = authority.issue_server(["127.0.0.1"], now)
        pair = folder / "pair.pem"
        pair.write_bytes(leaf.certificate_pem + leaf.key_pem)
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.verify_mode = ssl.CERT_REQUIRED
        tls.load_verify_locations(cadata=authority.bundle_pem.decode())
        tls.load_cert_chain(pair)
        self.server.socket = tls.wrap_socket(self.server.socket, server_side=True)
        self.kubeconfig = folder / "admin.kubeconfig"
        url = f"https://127.0.0.1:{self.server.server_port}"
        config = kubeconfig.admin_kubeconfig(url, authority.bundle_pem, authority.issue_admin(now))
        kubeconfig.write(self.kubeconfig, config)


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    hub = Hub(tmp_path)
    hub.server.daemon_threads = True
    thread = threading.Thread(target=hub.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield hub
    hub.server.shutdown()
    hub.server.server_close()
    thread.join()


def test_join_asks_for_a_token_with_the_clusters_traits(hub: Hub) -> None:
    flags = ["--region", "r", "--zone", "z", "--provider", "p", "--label", "tier=prod", "--label", "empty="]
    result = run("join", "m1", "--kubeconfig", str(hub.kubeconfig), "--token-only", *flags)
    assert (result.exit_code, result.output) == (0, "towline1.abc\n")
    wanted = {
        "name": "m1",
        "labels": {"tier": "prod", "empty": ""},
        "region": "r",
        "zones": ["z"],
        "provider": "p",
        "ttlSeconds": 3600,
    }
    assert hub.asked == [("POST", "/towline/v1/jointokens", wanted)]


def test_join_prints_what_one_kubectl_apply_installs(hub: Hub) -> None:
    result = run("join", "m1", "--kubeconfig", str(hub.kubeconfig), "--image", "registry/towline:1")
    assert result.exit_code == 0
    objects = list(yaml.safe_load_all(result.output))
    kinds = ["Namespace", "ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Secret", "Deployment"]
    assert [o["kind"] for o in objects] == kinds
    assert objects[4]["stringData"] == {"token": "towline1.abc"}
    assert objects[5]["spec"]["template"]["spec"]["containers"][0]["image"] == "registry/towline:1"


@pytest.mark.parametrize(
    ("answer", "flags", "says"),
    [
        pytest.param({}, [], "", id="nothing to say"),
        pytest.param({"replaced": True}, [], "that m1 had and did not use is worthless", id="replaced"),
        pytest.param({"joined": True}, ["--token-only"], "m1 is joined already", id="joined"),
        pytest.param(
            {"joined": True},
            [],
            "`kubectl delete roles,rolebindings -A -l app.kubernetes.io/part-of=towline`",
            id="joined, perhaps with a wider scope",
        ),
        pytest.param({"hubs": ["127.0.0.1:6443"]}, [], "Start it with --advertise HOST", id="loopback"),
        pytest.param(
            {"hubs": ["[::1]:6443", "localhost:1"]}, [], "no pod of another machine", id="loopbacks"
        ),
        pytest.param({"hubs": ["127.0.0.1:6443"]}, ["--token-only"], "", id="an agent beside it"),
        pytest.param({"hubs": ["hub.example.org:6443", "127.0.0.1:1"]}, [], "", id="reachable"),
    ],
)
def test_join_notes_what_nobody_expects(hub: Hub, answer: Any, flags: list[str], says: str) -> None:
    hub.answer = (201, {"token": "towline1.abc", **answer})
    result = run("join", "m1", "--kubeconfig", str(hub.kubeconfig), *flags)
    assert result.exit_code == 0 and "Note" not in result.stdout
    assert (says in result.stderr) if says else result.stderr == ""


@pytest.mark.parametrize(("ttl", "seconds"), [("90s", 90), ("30m", 1800), ("24h", 86_400), ("7d", 604_800)])
def test_a_token_may_last_as_long_as_one_says(hub: Hub, ttl: str, seconds: int) -> None:
    run("join", "m1", "--kubeconfig", str(hub.kubeconfig), "--token-only", "--ttl", ttl)
    assert hub.asked[0][2]["ttlSeconds"] == seconds


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("1.5s", 1.5), ("10m", 600), ("2d", 172_800)])
def test_times_are_written_as_for_kubectl(text: str, seconds: float) -> None:
    assert Seconds().convert(text, None, None) == seconds


@pytest.mark.parametrize("text", ["", "h", "-1h", "1w", "1h30m", "soon"])
@pytest.mark.parametrize("command", [("join", "--ttl"), ("unjoin", "--wait"), ("drain", "--timeout")])
def test_a_time_that_is_none_is_told(hub: Hub, command: tuple[str, str], text: str) -> None:
    name, flag = command
    result = run(name, "m1", "--kubeconfig", str(hub.kubeconfig), flag, text)
    assert result.exit_code == 2 and "write it like 90s, 30m, 24h or 7d." in result.stderr and hub.asked == []


def test_join_finds_the_kubeconfig_in_the_environment(hub: Hub) -> None:
    assert run("join", "m1", "--token-only", KUBECONFIG=str(hub.kubeconfig)).exit_code == 0


def test_a_refusal_of_the_hub_is_told(hub: Hub) -> None:
    hub.answer = (422, {"kind": "Status", "reason": "Invalid", "message": "name: must be lower case"})
    result = run("join", "M1", "--kubeconfig", str(hub.kubeconfig))
    assert (result.exit_code, result.stderr) == (1, "towline: The API refused: name: must be lower case\n")


NO_SUCH_PATH = {
    "kind": "Status",
    "reason": "NotFound",
    "message": "the server could not find the requested resource",
}


@pytest.mark.parametrize(
    ("command", "answer", "is_hub"),
    [
        (["clusters"], (404, NO_SUCH_PATH), False),
        (["cordon", "m1"], (404, NO_SUCH_PATH), False),
        (["unjoin", "m1"], (404, NO_SUCH_PATH), False),
        (["join", "m1"], (405, {"kind": "Status", "message": "POST cannot be used on /towline/v1/jointokens"}), False),
        (["unjoin", "m1"], (404, {"kind": "Status", "message": 'clusters.cluster.karmada.io "m1" not found'}), True),
        (["revoke", "m1"], (404, {"kind": "Status", "message": "there is no cluster m1"}), True),
    ],
)  # fmt: skip
def test_an_api_server_that_is_no_hub_is_told(
    hub: Hub, command: list[str], answer: Any, is_hub: bool
) -> None:
    hub.answer = answer
    result = run(*command, "--kubeconfig", str(hub.kubeconfig))
    assert result.exit_code == 1
    assert ("is not a hub of Towline. Give --kubeconfig DIR/admin.kubeconfig" in result.stderr) is not is_hub


def test_a_label_without_value_is_refused_before_the_hub_is_asked(hub: Hub) -> None:
    result = run("join", "m1", "--kubeconfig", str(hub.kubeconfig), "--label", "tier")
    assert result.exit_code == 2
    assert hub.asked == []


def test_a_hub_that_does_not_run_is_told(hub: Hub, tmp_path: Path) -> None:
    config = yaml.safe_load(hub.kubeconfig.read_text())
    config["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1"
    (tmp_path / "dead").write_text(yaml.safe_dump(config))
    result = run("join", "m1", "--kubeconfig", str(tmp_path / "dead"))
    assert result.exit_code == 1
    assert result.stderr == "towline: Nothing listens at https://127.0.0.1:1. Is the hub running?\n"


@pytest.mark.parametrize("content", ["{}", "current-context: x", ": : :", "current-context: a\ncontexts: []"])
def test_a_file_that_is_no_kubeconfig_is_told(content: str, tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text(content)
    result = run("join", "m1", "--kubeconfig", str(path))
    assert result.exit_code == 1
    assert "is not a kubeconfig that can be used" in result.stderr


def test_another_hubs_kubeconfig_is_told(hub: Hub, tmp_path: Path) -> None:
    config = yaml.safe_load(hub.kubeconfig.read_text())
    other = create(time.time())
    config["clusters"][0]["cluster"]["certificate-authority-data"] = base64.b64encode(
        other.bundle_pem
    ).decode()
    (tmp_path / "other").write_text(yaml.safe_dump(config))
    result = run("join", "m1", "--kubeconfig", str(tmp_path / "other"))
    assert result.exit_code == 1
    assert "Use the kubeconfig of this hub." in result.stderr
