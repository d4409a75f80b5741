"""The configuration says where each value came from, and names what is wrong with it."""

import json
import re
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

from fortress import config
from fortress.config import environment, loading
from fortress.config.keys import leaves, plain
from fortress.config.settings import SECTIONS
from fortress.errors import ConfigError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "conf.d").mkdir()
    return tmp_path / "fortress.toml"


def test_without_a_file_everything_is_a_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "SYSTEM_FILE", Path("/nonexistent"))
    loaded = config.load(environ={})
    assert {origin for _, _, origin in loaded.values()} == {"default"}


def test_defaults_and_the_command_line_need_no_checks() -> None:
    code = """
import sys
from pathlib import Path
from fortress import config
from fortress.config import loading
loading.SYSTEM_FILE = Path("/nonexistent")
loaded = config.load(None, {"state_dir": Path("/s"), "eve.flows": True}, {})
assert (loaded.settings.eve.flows, str(loaded.settings.eve_path())) == (True, "/s/eve.json")
assert loaded.origin("eve.flows") == "command line" and loaded.origin("eve.keep") == "default"
assert not {"pydantic", "pydantic_core"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_defaults_are_what_a_file_may_say(file: Path) -> None:
    everything = plain(config.Settings())
    file.write_text("\n".join(_toml(everything)))
    loaded = config.load(file, environ={})
    assert len(loaded.origins) > 40
    assert loaded.settings == config.Settings()


def _toml(tree: dict[str, object]) -> list[str]:
    told = {key: value for key, value in leaves(tree) if value not in (None, {})}
    return [f"{key} = {json.dumps(value)}" for key, value in told.items()]


def test_later_origins_win_key_by_key_and_are_remembered(file: Path) -> None:
    file.write_text("[flows]\nbudget_mib = 1\nidle_timeout_s = 10\n[eve]\nkeep = 1\n")
    (file.parent / "conf.d" / "10.toml").write_text("[flows]\nbudget_mib = 2\n[eve]\nkeep = 2\n")
    (file.parent / "conf.d" / "20.toml").write_text("[eve]\nkeep = 3\nrotate_mib = 9\n")
    environ = {"FORTRESS_EVE__KEEP": "4", "FORTRESS_STATE_DIR": "/s"}
    loaded = config.load(file, {"eve.flows": True}, environ)

    told = {key: (value, origin) for key, value, origin in loaded.values()}
    assert told["flows.idle_timeout_s"] == (10, str(file))
    assert told["flows.budget_mib"] == (2, str(file.parent / "conf.d" / "10.toml"))
    assert told["eve.rotate_mib"] == (9, str(file.parent / "conf.d" / "20.toml"))
    assert told["eve.keep"] == (4, "environment FORTRESS_EVE__KEEP")
    assert told["state_dir"] == ("/s", "environment FORTRESS_STATE_DIR")
    assert told["eve.flows"] == (True, "command line")
    assert told["flows.active_timeout_s"] == (1800, "default")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[store]\nulr = 'x'", r"fortress\.toml: store\.ulr: unknown key; did you mean store\.url"),
        ("[stroe]\nurl = 'x'", r"fortress\.toml: stroe: unknown key; did you mean store"),
        ("flows = 3", r"fortress\.toml: flows: .*dictionary"),
        ("[flows]\nbudget_mib = 0", r"fortress\.toml: flows\.budget_mib: .*\(it is 0\)"),
        ("[log]\nlevel = 'loud'", r"fortress\.toml: log\.level: .*'debug'"),
        ("[metrics]\nlisten = '9090'", r"fortress\.toml: metrics\.listen: "),
        ("[detectors]\nx = 1", r"fortress\.toml: detectors\.x: "),
        ("[store]\nurl = 'sqlite:///'", r"fortress\.toml: store\.url: is neither sqlite:///FILE"),
        ("[store]\nurl = 'postgres://h/d'", r"store\.url: is neither .* nor postgresql://"),
        ("[store]\nurl = 'events.sqlite'", r"store\.url: is neither .*\(it is 'events.sqlite'\)$"),
        (
            "qsecbit.tau_s = []",
            r"fortress\.toml: qsecbit\.tau_s: .* number or a text \(it is \[\]\)$",
        ),
        ("detectors.x.y = {z = 1}", r"fortress\.toml: detectors\.x\.y: .*number or a text"),
        ("[flows\n", r"fortress\.toml: is not TOML: .*line 1"),
    ],
)
def test_a_wrong_key_or_value_is_named_with_its_file(file: Path, text: str, words: str) -> None:
    file.write_text(text)
    with pytest.raises(ConfigError, match=words):
        config.load(file, environ={})


def test_every_fault_is_told_at_once_on_a_line_of_its_own(file: Path) -> None:
    file.write_text("qsecbit.tau_s = []\n[flows]\nbudget_mib = 0\nnothing = 1\n")
    with pytest.raises(ConfigError) as caught:
        config.load(file, environ={})
    assert len(str(caught.value).splitlines()) == 3
    with pytest.raises(ConfigError) as caught:
        config.load(file, environ={"FORTRESS_NOTHING": "", "FORTRESS_NOR_THIS__KEY": ""})
    named = [line.split(": ")[0] for line in str(caught.value).splitlines()]
    assert named == ["environment FORTRESS_NOR_THIS__KEY", "environment FORTRESS_NOTHING"]


def test_variables_set_numbers_lists_and_tables(file: Path) -> None:
    file.write_text("[eve]\nkeep = 1\n")
    environ = {
        "FORTRESS_DETECTORS__PORT_SCAN__HALF_PORTS": "3.5",
        "FORTRESS_DETECTORS__PORT_SCAN__ENABLED": "false",
        "FORTRESS_QSECBIT": '{"tau_s": 60}',
        "FORTRESS_EVE": '{"flows": true}',
        "FORTRESS_EVE__PATH": "lines.json",
    }
    loaded = config.load(file, environ=environ)
    assert loaded.settings.detectors == {"port_scan": {"half_ports": 3.5, "enabled": False}}
    assert loaded.settings.qsecbit == {"tau_s": 60}
    eve = loaded.settings.eve
    assert (eve.keep, eve.flows, eve.path) == (1, True, Path("lines.json"))
    assert loaded.origin("detectors.port_scan") in loaded.origins.values()
    assert "FORTRESS_EVE__PATH" in loaded.variables


def test_what_tests_and_containers_are_told_is_no_setting(file: Path) -> None:
    file.write_text("")
    environ = {"FORTRESS_SHARED": "x", "FORTRESS_SEED": "1", "FORTRESS_CONFIG": str(file)}
    loaded = config.load(environ=environ)
    assert (loaded.files, loaded.variables) == ((file,), ())


def test_every_variable_that_the_project_reads_is_known(root: Path) -> None:
    places = [root / "dev", *root.glob("fortress/**/*.py"), *root.glob("tests/**/*.py")]
    places += [*root.glob("bench/**/*.py"), *root.glob("containers/*"), root / ".ci" / "run"]
    text = "\n".join(path.read_text() for path in places if path.is_file())
    read = set(re.findall(r"""(?:environ(?:\.get)?[\[(]["']|\$\{?)FORTRESS_([A-Z_]+)""", text))
    settings = {name.split("__")[0].lower() for name in read} & set(SECTIONS)
    others = {name for name in read if name.split("__")[0].lower() not in settings}
    assert others == {*environment.DEVELOPMENT, "CONFIG"}


def test_a_table_does_not_hide_a_wrong_value_before_it(file: Path) -> None:
    file.write_text("flows = 3\n")
    (file.parent / "conf.d" / "10.toml").write_text("[flows]\nbudget_mib = 2\n")
    with pytest.raises(ConfigError, match=r"fortress\.toml: flows"):
        config.load(file, environ={})


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("FORTRESS_STORE__ULR", "x", r"FORTRESS_STORE__ULR: store\.ulr: unknown key"),
        ("FORTRESS_STROE__URL", "x", r"STROE__URL: no such .* did you mean FORTRESS_STORE__URL\?"),
        ("FORTRESS_FLOWS__BUDGET_MIB", "x", r"FLOWS__BUDGET_MIB: flows\.budget_mib"),
        ("FORTRESS_STATEDIR", "x", r"STATEDIR: no such .* did you mean FORTRESS_STATE_DIR\?"),
        ("FORTRESS_CONFIG_FILE", "x", r"CONFIG_FILE: no such .* did you mean FORTRESS_CONFIG\?"),
        ("FORTRESS_STORE", "{", r"environment FORTRESS_STORE: store: .*dictionary"),
        (
            "FORTRESS_STORE__URL",
            "mysql://u:secret@h/d",
            r"STORE__URL: store.url: is neither .*\*\*\*",
        ),
    ],
)
def test_a_wrong_variable_is_named(file: Path, name: str, value: str, words: str) -> None:
    file.write_text("")
    with pytest.raises(ConfigError, match=words):
        config.load(file, environ={name: value})


def test_a_file_that_is_not_there_is_an_error(file: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        config.load(file, environ={})
    with pytest.raises(ConfigError, match="No such file"):
        config.load(environ={"FORTRESS_CONFIG": str(file)})


def test_the_schema_takes_what_the_program_takes_and_refuses_what_it_refuses(file: Path) -> None:
    validator = jsonschema.Draft202012Validator(json.loads(json.dumps(config.schema())))
    file.write_text("")
    everything = plain(config.load(file, environ={}).settings)
    validator.validate(everything)
    assert not validator.is_valid({"flows": {"budget_mib": 0}})
    assert not validator.is_valid({"stroe": {}})


def test_passwords_come_from_a_file_and_are_never_shown(file: Path) -> None:
    secret = file.parent / "password"
    secret.write_text("p@ss/w:rd\n")
    file.write_text(f"[store]\nurl = 'postgresql://u@h/d'\npassword_file = '{secret}'\n")
    loaded = config.load(file, environ={})
    assert loaded.settings.store_url() == "postgresql://u:p%40ss%2Fw%3Ard@h/d"
    assert "p@ss" not in str(list(loaded.values()))


def test_a_password_in_the_url_is_covered_when_shown(file: Path) -> None:
    file.write_text("[store]\nurl = 'postgresql://u:secret@h/d'\n")
    assert ("store.url", "postgresql://u:***@h/d", str(file)) in list(
        config.load(file, environ={}).values()
    )


def test_a_password_file_that_cannot_be_read_is_named(file: Path) -> None:
    file.write_text("[store]\nurl = 'postgresql://u@h/d'\npassword_file = '/nonexistent/p'\n")
    with pytest.raises(ConfigError, match="/nonexistent/p"):
        config.load(file, environ={}).settings.store_url()


def test_a_sqlite_file_lies_in_the_state_folder_unless_it_is_absolute(file: Path) -> None:
    file.write_text("state_dir = '/s'\n")
    assert config.load(file, environ={}).settings.store_url() == "sqlite:////s/fortress.sqlite"
    file.write_text("state_dir = '/s'\n[store]\nurl = 'sqlite:////t/x'\n")
    assert config.load(file, environ={}).settings.store_url() == "sqlite:////t/x"
