"""What central servers' administrators have to enter: as those servers read it."""

from __future__ import annotations

import ast
import re
from typing import Any

import pytest
import yaml

from labnode.errors import ConfigError
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
LAB = {"name": "thermal", "category": "Control", "title": "Control térmico"}


def files(parts: list[Part]) -> dict[str, Any]:
    """The values in each file, YAML or Python."""
    return {part.file: values(part) for part in parts}


def values(part: Part) -> Any:
    if part.file.endswith(".yml"):
        return yaml.safe_load(part.text)
    return {
        statement.targets[0].id: ast.literal_eval(statement.value)  # type: ignore[attr-defined]
        for statement in ast.parse(part.text).body
        if isinstance(statement, ast.Assign)
    }


def test_weblab_deusto_gets_its_four_parts() -> None:
    lab = registration(SETTINGS, **LAB, host="pi3:8080", show_password=True)
    parts = weblab_deusto(lab)
    assert files(parts) == {
        "configuration.yml": {
            "hosts": {
                "core_host": {
                    "processes": {
                        "laboratory1": {
                            "components": {
                                "thermal": {
                                    "class": "experiments.http_experiment.HttpExperiment",
                                    "config": {
                                        "http_experiment_url": "http://pi3:8080/lab1",
                                        "http_experiment_username": "weblab",
                                        "http_experiment_password": "new: # 'secret\"",
                                    },
                                    "type": "experiment",
                                }
                            }
                        }
                    }
                }
            }
        },
        "lab1_config.py": {
            "laboratory_assigned_experiments": {
                "exp1:thermal@Control": {
                    "coord_address": "thermal:laboratory1@core_host",
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
                    "exp1|thermal|Control": "thermal1@thermal_queue"
                }
            },
        },
        "the administration panel": {},
    }
    assert "thermal@Control" in parts[-1].text


def test_a_board_of_several_students_is_as_many_instances_of_one_experiment() -> None:
    lab = registration(SETTINGS, **LAB, users=3)
    found = files(weblab_deusto(lab))
    (component,) = found["configuration.yml"]["hosts"]["core_host"]["processes"]["laboratory1"][
        "components"
    ].values()
    assert component["class"] == "experiments.http_experiment.ConcurrentHttpExperiment"
    experiments = found["lab1_config.py"]["laboratory_assigned_experiments"]
    assert list(experiments) == [f"exp{n}:thermal@Control" for n in (1, 2, 3)]
    assert {entry["api"] for entry in experiments.values()} == {"2_concurrent"}
    (slots,) = found["core_host_config.py"]["core_coordinator_laboratory_servers"].values()
    assert slots == {f"exp{n}|thermal|Control": f"thermal{n}@thermal_queue" for n in (1, 2, 3)}
    found = files(lab_discovery_engine(lab))
    assert list(found["resources.yml"]) == ["thermal-1", "thermal-2", "thermal-3"]
    assert found["laboratories.yml"]["thermal"]["resources"] == list(found["resources.yml"])


def test_lab_discovery_engine_gets_its_two_files() -> None:
    lab = registration(SETTINGS, **LAB, client="lde", max_time=600.0, show_password=True)
    assert files(lab_discovery_engine(lab)) == {
        "resources.yml": {
            "thermal-1": {
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
                "resources": ["thermal-1"],
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
    assert found["resources.yml"]["a_b-1"]["password"] == text
    assert found["laboratories.yml"]["a b"]["display_name"] == text
    found = files(weblab_deusto(lab))
    assert "exp1:a b@c" in found["lab1_config.py"]["laboratory_assigned_experiments"]


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
        ({"base_url": "/lab1", "weblab_base": "/hidden/door"}, "http://pi3:8080/hidden/door"),
        ({"base_url": "https://labs.example.org/t", "weblab_base": ""}, "https://labs.example.org"),
    ],
)
def test_the_address_is_where_the_protocol_is(changes: dict[str, Any], url: str) -> None:
    settings = Settings(weblab=Credentials(username="x", password="y"), **changes)
    assert registration(settings, **LAB, host="pi3:8080").url == url


def test_a_client_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(ConfigError, match=r"no central server called 'ldl', only: weblab, lde\."):
        registration(SETTINGS, **LAB, client="ldl")


@pytest.mark.parametrize("name", ["a|b", "a:b", "a@b"])
def test_weblab_deusto_cannot_have_its_own_separators_in_a_name(name: str) -> None:
    lab = registration(SETTINGS, name=name, category="Control")
    with pytest.raises(ConfigError, match=f"it cannot have {name!r}".replace("|", r"\|")):
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
