"""What central servers' administrators have to enter: as those servers read it."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from labnode.errors import BadInput
from labnode.settings import Client, Credentials, Settings
from labnode.weblab.config import (
    Part,
    as_text,
    lab_discovery_engine,
    registration,
    weblab_deusto,
)

SETTINGS = Settings(
    base_url="/lab1",
    weblab=Credentials(username="weblab", password=["old", "new: # 'secret\""]),
    clients=[Client(name="lde", username="yes", password="12345")],
)
PYTHON = (
    "laboratory_assigned_experiments",
    "core_scheduling_systems",
    "core_coordinator_laboratory_servers",
)
LAB = {"name": "thermal", "category": "Control", "title": "Control térmico"}


def files(parts: list[Part]) -> dict[str, Any]:
    """The values in each file, YAML or Python."""
    return {part.file: values(part) for part in parts}


def values(part: Part, there: dict[str, Any] | None = None) -> Any:
    """What is in the file, or there with the part at the end of it."""
    if part.file.endswith(".yml"):
        return yaml.safe_load(part.text)
    assert part.text.isascii() or not part.file.endswith(".py")
    found = there if there is not None else {name: {} for name in PYTHON}
    exec(part.text, {}, found)
    return {name: value for name, value in found.items() if value}


def test_weblab_deusto_gets_its_four_parts() -> None:
    lab = registration(SETTINGS, **LAB, host="pi3:8080", show_password=True)
    parts = weblab_deusto(lab)
    assert files(parts) == {
        "configuration.yml": {
            "thermal_pi3_8080_lab1": {
                "class": "experiments.http_experiment.HttpExperiment",
                "config": {
                    "http_experiment_url": "http://pi3:8080/lab1",
                    "http_experiment_username": "weblab",
                    "http_experiment_password": "new: # 'secret\"",
                },
                "type": "experiment",
            }
        },
        "lab1_config.py": {
            "laboratory_assigned_experiments": {
                "pi3_8080_lab1_1:thermal@Control": {
                    "coord_address": "thermal_pi3_8080_lab1:laboratory1@core_host",
                    "checkers": (("WebHandler", ("http://pi3:8080/lab1/weblab/health",)),),
                    "api": "2",
                    "manages_polling": True,
                }
            }
        },
        "core_host_config.py": {
            "core_scheduling_systems": {"thermal_queue": ("PRIORITY_QUEUE", {})},
            "core_coordinator_laboratory_servers": {
                "laboratory1:laboratory1@core_host": {
                    "pi3_8080_lab1_1|thermal|Control": "thermal_pi3_8080_lab1_1@thermal_queue"
                }
            },
        },
        "the administration panel": {},
    }
    assert "thermal@Control" in parts[-1].text


def test_a_board_of_several_students_is_as_many_instances_of_one_experiment() -> None:
    lab = registration(SETTINGS, **LAB, users=3)
    found = files(weblab_deusto(lab))
    (component,) = found["configuration.yml"].values()
    assert component["class"] == "experiments.http_experiment.ConcurrentHttpExperiment"
    experiments = found["lab1_config.py"]["laboratory_assigned_experiments"]
    place = "127_0_0_1_8080_lab1"
    assert list(experiments) == [f"{place}_{n}:thermal@Control" for n in (1, 2, 3)]
    assert {entry["api"] for entry in experiments.values()} == {"2_concurrent"}
    (slots,) = found["core_host_config.py"]["core_coordinator_laboratory_servers"].values()
    assert slots == {
        f"{place}_{n}|thermal|Control": f"thermal_{place}_{n}@thermal_queue" for n in (1, 2, 3)
    }
    found = files(lab_discovery_engine(lab))
    assert list(found["resources.yml"]) == [f"thermal_{place}-{n}" for n in (1, 2, 3)]
    assert found["laboratories.yml"]["thermal"]["resources"] == list(found["resources.yml"])


def test_lab_discovery_engine_gets_its_two_files() -> None:
    lab = registration(SETTINGS, **LAB, client="lde", max_time=600.0, show_password=True)
    assert files(lab_discovery_engine(lab)) == {
        "resources.yml": {
            "thermal_127_0_0_1_8080_lab1-1": {
                "url": "http://127.0.0.1:8080/lab1",
                "login": "yes",
                "password": "12345",
                "api": "labdiscoverylib",
                "healthchecks": {
                    "labnode": {
                        "type": "robotchecker",
                        "url": "http://127.0.0.1:8080/lab1/weblab/health",
                        "timeout": 10,
                    }
                },
            }
        },
        "laboratories.yml": {
            "thermal": {
                "display_name": "Control térmico",
                "category": "Control",
                "max_time": 600,
                "resources": ["thermal_127_0_0_1_8080_lab1-1"],
            }
        },
    }


@pytest.mark.parametrize(
    "text", ["no", "Null", "1.5", "a: b", "- x", "é ñ", "#", 'it\'s \\ "x"', "😀", "{}", "*a", "~"]
)
def test_any_name_arrives_as_it_is(text: str) -> None:
    settings = Settings(weblab=Credentials(username="x", password=text))
    lab = registration(settings, name="a b", category="c", title=text, show_password=True)
    found = files(lab_discovery_engine(lab))
    (resource,) = found["resources.yml"].values()
    assert resource["password"] == text
    assert found["laboratories.yml"]["a b"]["display_name"] == text
    (name,) = files(weblab_deusto(lab))["lab1_config.py"]["laboratory_assigned_experiments"]
    assert name == "127_0_0_1_8080_1:a b@c"


@pytest.mark.parametrize("name", ["42", "on", "1e3", "2026-01-31", "Péndulo", "日本", "😀 \\ 'x'"])
def test_a_lab_may_have_any_name_in_every_file(name: str) -> None:
    lab = registration(SETTINGS, name=name, category="Señales", host="pi3")
    assert lab.url == "http://pi3:8080/lab1"
    found = files(weblab_deusto(lab))
    (component,) = found["configuration.yml"]
    assert isinstance(component, str)
    ((experiment, entry),) = found["lab1_config.py"]["laboratory_assigned_experiments"].items()
    assert experiment == f"pi3_8080_lab1_1:{name}@Señales"
    assert entry["coord_address"] == f"{component}:laboratory1@core_host"
    found = files(lab_discovery_engine(lab))
    (resource,) = found["resources.yml"]
    assert found["laboratories.yml"][name]["resources"] == [resource]


def test_no_two_labs_get_the_same_names_in_a_server() -> None:
    names = ["日本", "中国", "lab 1", "lab_1", "lab", "Lab", "_"]
    there: dict[str, Any] = {name: {} for name in PYTHON}
    yaml_keys: list[str] = []
    for name in names:
        lab = registration(SETTINGS, name=name, category="c", host="pi3")
        for part in (*weblab_deusto(lab), *lab_discovery_engine(lab)):
            if part.file.endswith(".yml"):
                yaml_keys += values(part)
            else:
                values(part, there)
    assert len(set(yaml_keys)) == len(yaml_keys) == 3 * len(names)
    (slots,) = there["core_coordinator_laboratory_servers"].values()
    assert {len(each) for each in (slots, *there.values())} == {len(names), 1}
    assert len(there["core_scheduling_systems"]) == len(names)


def test_identical_boards_are_one_experiment_that_loses_none_of_them() -> None:
    there: dict[str, Any] = {name: {"of before": {}} for name in PYTHON}
    resources: dict[str, Any] = {}
    for host in ("pi1", "pi2:8081"):
        lab = registration(SETTINGS, **LAB, host=host)
        for part in weblab_deusto(lab)[1:]:
            values(part, there)
        resources |= files(lab_discovery_engine(lab))["resources.yml"]
    assert list(there["laboratory_assigned_experiments"]) == [
        "of before",
        "pi1_8080_lab1_1:thermal@Control",
        "pi2_8081_lab1_1:thermal@Control",
    ]
    assert list(there["core_scheduling_systems"]) == ["of before", "thermal_queue"]
    _, slots = there["core_coordinator_laboratory_servers"].values()
    assert slots == {
        "pi1_8080_lab1_1|thermal|Control": "thermal_pi1_8080_lab1_1@thermal_queue",
        "pi2_8081_lab1_1|thermal|Control": "thermal_pi2_8081_lab1_1@thermal_queue",
    }
    assert len(resources) == 2


def test_each_part_says_where_it_belongs_and_how_to_include_it() -> None:
    configuration, laboratory, core, _ = weblab_deusto(registration(SETTINGS, **LAB, host="pi3"))
    assert "# hosts:\n#   core_host:\n#     processes:\n" in configuration.text
    for part, begin in ((laboratory, "lab1"), (core, "core")):
        assert part.text.startswith(f"# At the end of {part.file}; or in a file of its own")
        assert f"# execfile(CURRENT_PATH + '/{begin}_thermal_pi3_8080_lab1.py')" in part.text


def test_credentials_that_no_central_server_can_send_are_told_of() -> None:
    for password, told in (("señal", True), ("signal", False)):
        settings = Settings(weblab=Credentials(username="x", password=password))
        notes = " ".join(map(str, registration(settings, **LAB).notes))
        assert ("characters other than ASCII" in notes) == told


def test_the_password_is_shown_only_when_it_is_asked_for() -> None:
    lab = registration(SETTINGS, **LAB)
    for parts in (weblab_deusto(lab), lab_discovery_engine(lab)):
        assert "secret" not in as_text(parts)
        assert "PASSWORD-OF-weblab" in as_text(parts)


@pytest.mark.parametrize(
    ("changes", "url"),
    [
        ({"base_url": "https://labs.example.org/t"}, "https://labs.example.org/t"),
        ({"base_url": "https://labs.example.org"}, "https://labs.example.org"),
        ({"base_url": "", "scheme": "https"}, "https://pi3:8080"),
        ({"port": 9000}, "http://pi3:8080"),
        ({"base_url": "/lab1", "weblab_base": "/hidden/door"}, "http://pi3:8080/hidden/door"),
        ({"base_url": "https://labs.example.org/t", "weblab_base": ""}, "https://labs.example.org"),
    ],
)
def test_the_address_is_where_the_protocol_is(changes: dict[str, Any], url: str) -> None:
    settings = Settings(weblab=Credentials(username="x", password="y"), **changes)
    assert registration(settings, **LAB, host="pi3:8080").url == url


def test_a_client_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(BadInput, match=r"no central server called 'ldl', only: weblab, lde\."):
        registration(SETTINGS, **LAB, client="ldl")


@pytest.mark.parametrize("name", ["a|b", "a:b", "a@b"])
def test_weblab_deusto_cannot_have_its_own_separators_in_a_name(name: str) -> None:
    lab = registration(SETTINGS, name=name, category="Control")
    with pytest.raises(BadInput, match=f"it cannot have {name!r}".replace("|", r"\|")):
        weblab_deusto(lab)
    assert name in files(lab_discovery_engine(lab))["laboratories.yml"]


def test_all_parts_are_one_text_with_the_files_named() -> None:
    text = as_text(weblab_deusto(registration(SETTINGS, **LAB)))
    assert re.findall(r"^# ---- (.*)$", text, re.M) == [
        "configuration.yml",
        "lab1_config.py",
        "core_host_config.py",
        "the administration panel",
    ]
