"""The other commands: up, agent, flows, config, doctor, columns, model."""

import csv
import json
import signal
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from fortress.store import Store
from tests.e2e import captures
from tests.e2e.command import FORTRESS, environment, fortress


def test_up_replays_once_writes_lines_and_store_and_says_where(
    attack_day: Path, state: Path
) -> None:
    done = fortress("up", "--replay", attack_day, "--once", state=state, env={"COLUMNS": "150"})
    assert done.code == 0, done.err
    assert str(state / "eve.json") in done.out
    assert str(state / "fortress.sqlite") in done.out
    assert "RED" in done.out
    with Store(f"sqlite:///{state}/fortress.sqlite") as store:
        assert [run.status for run in store.runs()] == ["complete"]


def test_up_once_without_a_capture_replays_the_sample_and_says_so(state: Path) -> None:
    done = fortress("up", "--once", "--json", state=state)
    assert done.code == 0, done.err
    assert "--once: replaying the sample" in done.err
    assert done.of("alert")


def test_up_hands_on_the_exit_code_of_the_agent(tmp_path: Path) -> None:
    damaged = captures.write(tmp_path, "damaged", captures.sound()[:-3])
    assert fortress("up", "--replay", damaged, "--once", state=tmp_path / "s").code == 3
    assert fortress("up", "--replay", tmp_path / "none", "--once", state=tmp_path / "s").code == 1


def test_up_tells_a_wrong_configuration_once(tmp_path: Path) -> None:
    (tmp_path / "f.toml").write_text("[stroe]\n")
    done = fortress("up", "--config", tmp_path / "f.toml", "--once", state=tmp_path)
    assert done.code == 2
    assert len(done.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("command", "option"),
    [
        (("up", "--interface", "lo", "--once"), "--once"),
        (("up", "--interface", "lo", "--speed", "real"), "--speed"),
        (("agent", "run", "--interface", "lo", "--speed", "max"), "--speed"),
        (("agent", "run", "--interface", "lo", "--once"), "--once"),
        (("agent", "run", "--interface", "lo", "--batch-packets", "9"), "--batch-packets"),
        (("agent", "run", "--source", "packet", "--replay", "none.pcap"), "--source"),
    ],
)
def test_an_option_that_would_have_no_effect_is_refused_by_name(
    command: tuple[str, ...], option: str, tmp_path: Path
) -> None:
    done = fortress(*command, state=tmp_path)
    assert done.code == 2
    assert f"{option} concerns" in done.err


@pytest.mark.parametrize("command", [["up"], ["agent", "run"]])
def test_it_serves_metrics_after_the_replay_until_it_is_stopped(
    command: list[str], attack_day: Path, state: Path
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    service = subprocess.Popen(
        [*FORTRESS, *command, "--replay", str(attack_day), "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(state) | {"FORTRESS_METRICS__LISTEN": address},
    )
    try:
        assert service.stdout is not None
        assert service.stderr is not None
        last = ""
        while "stats" not in last:
            last = service.stdout.readline()
            assert last, service.stderr.read()
        packets = json.loads(last)["stats"]["packets"]
        assert "serving" in service.stderr.readline()
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as answer:
            text = answer.read().decode()
    finally:
        service.send_signal(signal.SIGTERM)
        service.communicate(timeout=30)
    assert f"fortress_capture_packets_total {float(packets)}" in text
    assert 'fortress_qsecbit_alerts_total{detector="port_scan"}' in text
    assert service.returncode == 0


@pytest.mark.parametrize(
    ("level", "form", "said"),
    [("info", "json", '"event": "serving"'), ("info", "plain", "serving"), ("error", "json", "")],
)
def test_the_log_has_the_level_and_form_of_the_configuration(
    quiet_lan: Path, state: Path, level: str, form: str, said: str
) -> None:
    log = {"FORTRESS_LOG__LEVEL": level, "FORTRESS_LOG__FORMAT": form}
    with subprocess.Popen(
        [*FORTRESS, "agent", "run", "--replay", str(quiet_lan), "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(state) | log,
    ) as service:
        assert service.stdout is not None
        while "stats" not in (line := service.stdout.readline()):
            assert line
        time.sleep(1)
        service.send_signal(signal.SIGTERM)
        _, err = service.communicate(timeout=30)
    assert said in err
    assert bool(err) == bool(said)


def test_ctrl_c_ends_up_and_its_services(quiet_lan: Path, state: Path) -> None:
    with subprocess.Popen(
        [*FORTRESS, "up", "--replay", str(quiet_lan), "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(state),
    ) as supervisor:
        assert supervisor.stdout is not None
        while "stats" not in (line := supervisor.stdout.readline()):
            assert line
        supervisor.send_signal(signal.SIGINT)
        rest, _ = supervisor.communicate(timeout=30)  # ends when no child holds the pipe any more
    assert supervisor.returncode in (0, 130)
    assert rest == ""


def test_the_store_may_be_postgresql(quiet_lan: Path, state: Path, postgres_url: str) -> None:
    url = {"FORTRESS_STORE__URL": postgres_url}
    done = fortress("up", "--replay", quiet_lan, "--once", "--json", state=state, env=url)
    assert done.code == 0, done.err
    with Store(postgres_url) as store:
        (run,) = store.runs()
        assert run.stats["packets"] == done.stats["packets"]
        assert len(store.scores(run.id)) == len(done.of("score"))


def test_only_so_many_runs_and_eve_files_are_kept(quiet_lan: Path, state: Path) -> None:
    few = {"FORTRESS_STORE__KEEP_RUNS": "2", "FORTRESS_EVE__ROTATE_MIB": "1"}
    few |= {"FORTRESS_EVE__KEEP": "1", "FORTRESS_EVE__FLOWS": "true"}
    for _ in range(3):
        done = fortress("up", "--replay", quiet_lan, "--once", state=state, env=few)
        assert done.code == 0, done.err
    with Store(f"sqlite:///{state}/fortress.sqlite") as store:
        assert len(store.runs()) == 2
    assert {path.name for path in state.glob("eve.json*")} <= {"eve.json", "eve.json.1"}
    assert '"event_type":"flow"' in (state / "eve.json").read_text(encoding="utf-8")


def test_a_port_that_is_taken_is_told(attack_day: Path, state: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        listen = {"FORTRESS_METRICS__LISTEN": address}
        done = fortress("agent", "run", "--replay", attack_day, state=state, env=listen)
    assert done.code == 1
    assert address in done.err


def test_agent_run_without_an_interface_says_how_to_name_one(state: Path) -> None:
    done = fortress("agent", "run", state=state)
    assert done.code == 2
    assert "name an interface: --interface IF" in done.err


def test_flows_are_the_same_in_every_format(attack_day: Path, tmp_path: Path) -> None:
    rows = {}
    for form in ("parquet", "csv", "jsonl"):
        out = tmp_path / f"flows.{form}"
        done = fortress("flows", attack_day, "-o", out, "--json", state=tmp_path)
        assert done.code == 0, done.err
        told = json.loads(done.out)
        rows[form] = told["flows"]
    table = pq.read_table(tmp_path / "flows.parquet")
    with (tmp_path / "flows.csv").open(newline="") as file:
        from_csv = list(csv.DictReader(file))
    from_json = list(map(json.loads, (tmp_path / "flows.jsonl").read_text().splitlines()))
    assert len(from_csv) == len(from_json) == table.num_rows == rows["csv"] > 1000
    for row, line, flow in zip(table.to_pylist(), from_csv, from_json, strict=True):
        present = {name: value for name, value in row.items() if value is not None}
        assert present == {name: pytest.approx(value) for name, value in flow.items()}
        assert {name for name, value in line.items() if value != ""} >= present.keys() - {"history"}
        assert line["orig_addr"] == row["orig_addr"]


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_states_and_reasons_are_words_in_every_format(
    quiet_lan: Path, tmp_path: Path, form: str
) -> None:
    out = tmp_path / f"flows.{form}"
    names = "conn_state,end_reason,history"
    assert fortress("flows", quiet_lan, "-o", out, "--columns", names, state=tmp_path).code == 0
    with out.open(newline="") as file:
        flows = list(csv.DictReader(file) if form == "csv" else map(json.loads, file))
    assert {"conn_state": "SF", "end_reason": "fin", "history": "ShADadFf"} in flows
    done = fortress("flows", quiet_lan, "-o", tmp_path / "x.parquet", state=tmp_path)
    assert done.code == 0
    schema = pq.read_schema(tmp_path / "x.parquet")
    assert {str(schema.field(name).type) for name in ("conn_state", "end_reason")} == {
        "dictionary<values=string, indices=int32, ordered=0>"
    }


def test_parquet_carries_units_and_meanings(attack_day: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.parquet"
    fortress("flows", attack_day, "-o", out, state=tmp_path)
    field = pq.read_schema(out).field("duration_ns")
    assert field.metadata == {b"unit": b"ns", b"meaning": b"last_ns - first_ns"}


def test_columns_may_be_chosen_and_sequences_come_when_asked_for(
    attack_day: Path, tmp_path: Path
) -> None:
    out = tmp_path / "x.jsonl"
    names = "sequence_size,flow_id,sequence_length"
    assert fortress("flows", attack_day, "-o", out, "--columns", names, state=tmp_path).code == 0
    flows = list(map(json.loads, out.read_text().splitlines()))
    assert list(flows[0]) == names.split(",")
    assert all(flow["sequence_length"] > 0 for flow in flows)
    assert all(flow["sequence_size"][0] != 0 for flow in flows)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-o", "x.txt"], ".parquet"),
        (["-o", "x.csv", "--columns", "flow_idd"], "did you mean flow_id"),
    ],
)
def test_flows_refuses_what_it_cannot_write(
    attack_day: Path, tmp_path: Path, arguments: list[str], words: str
) -> None:
    done = fortress("flows", attack_day, *arguments, state=tmp_path, cwd=tmp_path)
    assert done.code == 2
    assert words in done.err
    assert list(tmp_path.iterdir()) == []


def test_flows_of_a_damaged_capture_are_those_before_the_damage(tmp_path: Path) -> None:
    damaged = captures.write(tmp_path, "damaged", captures.sound(100)[:-3])
    done = fortress("flows", damaged, "-o", tmp_path / "x.csv", "--json", state=tmp_path)
    assert done.code == 3
    assert str(damaged) in done.err
    assert json.loads(done.out)["packets"] == 99


def test_a_failed_export_leaves_the_old_file_and_no_rubbish(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("old")
    done = fortress("flows", tmp_path / "none.pcap", "-o", tmp_path / "x.csv", state=tmp_path)
    assert done.code == 1
    assert (tmp_path / "x.csv").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["x.csv"]


def test_a_place_for_flows_that_cannot_be_written_is_told(attack_day: Path, tmp_path: Path) -> None:
    done = fortress("flows", attack_day, "-o", tmp_path / "no" / "x.csv", state=tmp_path)
    assert done.code == 1
    assert str(tmp_path / "no" / "x.csv") in done.err


def test_config_show_names_origins(tmp_path: Path) -> None:
    file = tmp_path / "f.toml"
    file.write_text("[eve]\nkeep = 9\n")
    lines = fortress("config", "show", "--config", file, state=tmp_path).out.splitlines()
    assert f"eve.keep = 9  # {file}" in lines
    assert f'state_dir = "{tmp_path}"  # environment FORTRESS_STATE_DIR' in lines
    told = fortress("config", "show", "--config", file, "--json", state=tmp_path).events
    assert {"key": "eve.keep", "value": 9, "origin": str(file)} in told


def test_what_config_show_prints_is_a_configuration_that_says_the_same(tmp_path: Path) -> None:
    file, shown = tmp_path / "f.toml", tmp_path / "shown.toml"
    file.write_text(
        'state_dir = "/s/\\"quoted\\" \\\\ \\u007f ü"\n[detectors.port_scan]\nhalf_ports = 7\n'
        "[detectors.beaconing]\nenabled = false\n[qsecbit]\ntau_s = 60\n"
    )
    nothing = {"FORTRESS_STATE_DIR": None, "FORTRESS_METRICS__LISTEN": None}
    kept = {name: value for name, value in environment(tmp_path).items() if name not in nothing}

    def show(*more: object) -> str:
        command = [*FORTRESS, "config", "show", *map(str, more)]
        return subprocess.run(command, env=kept, capture_output=True, text=True, check=True).stdout

    shown.write_text(show("--config", file))
    values = [
        {
            one["key"]: one["value"]
            for one in map(json.loads, show("--config", path, "--json").splitlines())
        }
        for path in (file, shown)
    ]
    assert values[0] == values[1]
    assert values[0]["detectors.port_scan.half_ports"] == 7
    assert values[0]["detectors.beaconing.enabled"] is False
    assert values[0]["detectors.syn_flood.half_rate"] == 100
    assert (values[0]["qsecbit.tau_s"], values[0]["qsecbit.model_may_block"]) == (60, False)
    assert "# store.password_file is not set  # default" in shown.read_text().splitlines()
    assert f"detectors.port_scan.half_ports = 7  # {file}" in shown.read_text().splitlines()


def test_config_check_says_what_it_looked_at(tmp_path: Path) -> None:
    done = fortress("config", "check", state=tmp_path)
    names = sorted(name for name in environment(tmp_path) if name.startswith("FORTRESS_"))
    seen = ", ".join(["no file", *(f"environment {name}" for name in names)])
    assert done.out == f"the configuration is right ({seen})\n"
    (told,) = fortress("config", "check", "--json", state=tmp_path).events
    assert told["environment"] == names


def test_config_check_refuses_a_store_that_no_run_could_open(tmp_path: Path) -> None:
    url = {"FORTRESS_STORE__URL": "mysql://u:secret@h/d"}
    done = fortress("config", "check", state=tmp_path, env=url)
    assert done.code == 2
    assert "FORTRESS_STORE__URL: store.url: is neither sqlite:///FILE nor" in done.err
    assert "secret" not in done.err
    assert len(done.err.splitlines()) == 1


def test_config_check_and_schema(tmp_path: Path) -> None:
    assert fortress("config", "check", state=tmp_path).code == 0
    schema = json.loads(fortress("config", "schema", state=tmp_path).out)
    assert schema["properties"]["store"]
    (tmp_path / "f.toml").write_text("[flows]\nbudget = 1\n")
    done = fortress("config", "check", "--config", tmp_path / "f.toml", state=tmp_path)
    assert done.code == 2
    assert "flows.budget: unknown key; did you mean flows.budget_mib?" in done.err


def test_a_small_flow_budget_has_an_effect(attack_day: Path, tmp_path: Path) -> None:
    small = {"FORTRESS_FLOWS__BUDGET_MIB": "1"}
    few = fortress("replay", attack_day, "--json", state=tmp_path, env=small)
    assert few.stats["evictions"] > 0
    assert fortress("replay", attack_day, "--json", state=tmp_path).stats["evictions"] == 0


@pytest.mark.parametrize("timeout", ["IDLE_TIMEOUT_S", "ACTIVE_TIMEOUT_S"])
def test_a_shorter_timeout_has_an_effect(attack_day: Path, tmp_path: Path, timeout: str) -> None:
    short = {f"FORTRESS_FLOWS__{timeout}": "1"}
    many = fortress("replay", attack_day, "--json", state=tmp_path, env=short).stats["flows"]
    assert many > fortress("replay", attack_day, "--json", state=tmp_path).stats["flows"]


def test_eve_and_store_may_be_switched_off(attack_day: Path, state: Path) -> None:
    off = {"FORTRESS_EVE__ENABLED": "false", "FORTRESS_STORE__ENABLED": "false"}
    done = fortress("up", "--replay", attack_day, "--once", state=state, env=off)
    assert done.code == 0
    assert not state.exists()


def test_training_without_data_says_where_it_looked(tmp_path: Path) -> None:
    done = fortress("model", "train", "--data", tmp_path, "--out", tmp_path, state=tmp_path)
    assert done.code == 1
    assert str(tmp_path) in done.err


def test_doctor_says_what_works(tmp_path: Path) -> None:
    no_guard = {"FORTRESS_RESPOND__GUARD": str(tmp_path / "guard.sock")}
    done = fortress("doctor", "--json", state=tmp_path, env=no_guard)
    states = {check["name"]: check["state"] for check in done.events}
    assert {states[name] for name in ("python", "core", "state", "store", "parquet")} == {"ok"}
    probes = ("live capture", "guard", "capabilities", "BPF", "XDP", "BTF", "nft")
    assert {states[name] for name in probes} <= {"ok", "note"}
    assert states["guard"] == "note", "there is none at the place of the configuration"
    assert done.code == (1 if "missing" in states.values() else 0)


def test_doctor_says_what_is_missing(tmp_path: Path) -> None:
    wrong = {"FORTRESS_STORE__URL": "sqlite:////proc/x/y"}
    (tmp_path / "model_state").mkdir()
    (tmp_path / "model_state" / "flow-classifier").write_text("7.7.7\n")
    done = fortress("doctor", "--json", state=tmp_path, env=wrong)
    states = {check["name"]: check["state"] for check in done.events}
    assert (states["model"], states["store"], done.code) == ("note", "missing", 1)


def test_the_data_dictionary_has_every_table(tmp_path: Path) -> None:
    rows = fortress("columns", "--json", state=tmp_path).events
    assert {row["table"] for row in rows} == {"packets", "flows", "intervals"}
    assert all(row["meaning"] for row in rows)
    assert sum(row["table"] == "flows" for row in rows) >= 90
    only = fortress("columns", "--table", "intervals", "--json", state=tmp_path).events
    assert {row["table"] for row in only} == {"intervals"}
    assert "conn_state" in fortress("columns", state=tmp_path).out


def test_help_of_every_command_fits_and_needs_nothing_heavy(tmp_path: Path) -> None:
    done = fortress("--help", state=tmp_path, env={"PYTHONPROFILEIMPORTTIME": "1"})
    assert done.code == 0
    assert all(len(line) <= 88 for line in done.out.splitlines())
    imported = {line.rsplit("|", 1)[-1].strip() for line in done.err.splitlines()}
    assert not imported & {"numpy", "pydantic", "sqlalchemy", "pyarrow", "rich", "onnxruntime"}


def test_a_replay_imports_nothing_that_it_does_not_use(tmp_path: Path) -> None:
    sound = captures.write(tmp_path, "sound", captures.sound())
    profile = {"PYTHONPROFILEIMPORTTIME": "1"}
    done = fortress("replay", sound, "--json", state=tmp_path, env=profile)
    imported = {line.rsplit("|", 1)[-1].strip() for line in done.err.splitlines()}
    assert not imported & {"sqlalchemy", "pyarrow", "rich.console", "alembic", "structlog"}
    assert not imported & {"sklearn", "scipy.stats", "matplotlib", "jsonschema"}


def test_python_m_fortress_is_the_command(tmp_path: Path) -> None:
    assert fortress("--version", state=tmp_path).out.startswith("fortress ")
