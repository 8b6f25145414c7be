"""What is in deploy/ for other programs: read as they read it, and tried with them where they are.

promtool (Debian: prometheus), caddy and ansible-playbook are not needed to work on labnode.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from labnode.install.options import OPTIONS

DEPLOY = Path(__file__).parent.parent / "deploy"
ROLE = DEPLOY / "ansible/roles/labnode"
BUILTINS = re.compile(r"ansible\.builtin\.\w+")
TASK_WORDS = {
    "name", "when", "loop", "loop_control", "register", "changed_when", "failed_when", "notify",
    "environment", "no_log",
}  # fmt: skip


def tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def run(*command: str | Path, cwd: Path) -> None:
    said = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stdout + said.stderr


@pytest.mark.parametrize(
    "path",
    sorted(path.relative_to(DEPLOY).as_posix() for path in DEPLOY.rglob("*.yml")),
)
def test_every_yaml_file_can_be_read(path: str) -> None:
    assert yaml.safe_load((DEPLOY / path).read_text()) is not None


# --- Ansible ---


def tasks() -> Iterator[tuple[str, dict[str, Any]]]:
    for path in sorted((ROLE / "tasks").glob("*.yml")):
        for task in yaml.safe_load(path.read_text()):
            yield path.name, task


def test_every_task_of_the_role_is_one_built_in_module_and_has_a_name() -> None:
    for file, task in tasks():
        modules = set(task) - TASK_WORDS
        assert len(modules) == 1, (file, task)
        assert BUILTINS.fullmatch(modules.pop()), (file, task)
        assert task["name"], file


def test_every_file_of_tasks_that_is_named_is_there() -> None:
    included = {task.get("ansible.builtin.include_tasks") for _, task in tasks()} - {None}
    for playbook in (DEPLOY / "ansible").glob("*.yml"):
        included |= {
            f"{name}.yml" for name in re.findall(r"tasks_from: (\w+)", playbook.read_text())
        }
    assert included
    assert all((ROLE / "tasks" / name).is_file() for name in included)


def test_every_variable_of_the_role_has_a_default_or_is_made_by_it() -> None:
    text = "".join(path.read_text() for path in (ROLE / "tasks").glob("*.yml"))
    made = {task["register"] for _, task in tasks() if "register" in task}
    known = set(yaml.safe_load((ROLE / "defaults/main.yml").read_text())) | {"labnode_lab"}
    assert set(re.findall(r"\blabnode_[a-z_]+\b", text)) <= known | made


def test_the_options_of_install_sh_that_the_role_uses_are_there() -> None:
    text = "".join(path.read_text() for path in (ROLE / "tasks").glob("*.yml"))
    used = set(re.findall(r"'--([a-z-]+)'", text)) | set(
        re.findall(r"^ +- --(yes|wait)$", text, re.M)
    )
    assert {"board", "name", "wait", "yes", "wheels"} <= used
    assert used <= OPTIONS.keys()


@pytest.mark.parametrize("playbook", ["install", "upgrade", "rollback", "targets"])
def test_ansible_takes_the_playbook(playbook: str) -> None:
    command = (tool("ansible-playbook"), "-i", "inventory.example.yml", "--syntax-check")
    run(*command, f"{playbook}.yml", cwd=DEPLOY / "ansible")


# --- Prometheus, Caddy, Avahi ---


def test_every_alert_has_a_sentence_and_is_for_somebody() -> None:
    (group,) = yaml.safe_load((DEPLOY / "prometheus/labnode.rules.yml").read_text())["groups"]
    for rule in group["rules"]:
        assert rule["annotations"]["summary"]
        assert rule["labels"]["severity"] in ("page", "ticket")
    names = [rule["alert"] for rule in group["rules"]]
    assert len(set(names)) == len(names)


def test_promtool_finds_the_rules_right_and_their_tests_pass() -> None:
    promtool = tool("promtool")
    run(promtool, "check", "rules", "labnode.rules.yml", cwd=DEPLOY / "prometheus")
    run(promtool, "test", "rules", "labnode.rules.test.yml", cwd=DEPLOY / "prometheus")


def test_caddy_takes_its_file(tmp_path: Path) -> None:
    command = (tool("caddy"), "adapt", "--config", DEPLOY / "caddy/Caddyfile")
    run(*command, "--adapter", "caddyfile", cwd=tmp_path)


def test_the_announcement_is_xml_with_its_places_to_fill_in() -> None:
    text = (DEPLOY / "avahi/labnode.service").read_text()
    for place, value in {"@NAME@": "oven", "@PORT@": "8080", "@BASE@": "/oven"}.items():
        assert place in text
        text = text.replace(place, value)
    group = ET.fromstring(text)
    assert group.findtext("service/type") == "_labnode._tcp"
    assert group.findtext("service/port") == "8080"
    records = [record.text for record in group.findall("service/txt-record")]
    assert records == ["lab=oven", "path=/oven/"]
    assert "@" not in re.sub("<!--.*?-->", "", text, flags=re.DOTALL)
