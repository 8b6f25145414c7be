"""The JSON Schema of boards: what labnode accepts passes, what people get wrong does not."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fastjsonschema
import pytest
import yaml

from labnode.drivers.framework.driver import Driver
from labnode.drivers.framework.registry import load_drivers
from labnode.schema import build, options, parse_yaml
from labnode.wizard.board_schema import board_schema, text_of

BOARDS = sorted((Path(__file__).parents[2] / "boards").glob("*.yaml"))
MODELINE = "# yaml-language-server: $schema=board.schema.json\n"

Validate = Callable[[Any], Any]


@pytest.fixture(scope="module")
def validate() -> Validate:
    check: Validate = fastjsonschema.compile(board_schema())
    return check


class Words(yaml.SafeLoader):
    """As editors read YAML 1.2: on and off are texts."""


Words.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith("bool")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


@pytest.mark.parametrize("path", BOARDS, ids=lambda path: path.stem)
def test_the_boards_of_labnode_name_it_and_pass_it(path: Path, validate: Validate) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.startswith(MODELINE)
    validate(yaml.safe_load(text))


@pytest.mark.parametrize("kind", load_drivers())
def test_the_example_of_each_driver_passes_it(kind: str, validate: Validate) -> None:
    example = (inspect.getdoc(load_drivers()[kind]) or "").partition("Example::")[2]
    validate({"schema": 1, "devices": parse_yaml(inspect.cleandoc(example), "x.yaml").value})


def test_each_option_of_each_driver_is_in_it_with_its_sentence() -> None:
    schema = board_schema()
    for kind, cls in load_drivers().items():
        found = schema["definitions"][kind]["properties"]
        assert list(found) == ["driver", *(option.key for option in options(cls))]
        for option in options(cls):
            entry = found[option.key]
            if "$ref" in entry:
                entry = schema["definitions"][entry["$ref"].removeprefix("#/definitions/")]
            assert entry["description"] == option.doc, (kind, option.key)


@pytest.mark.parametrize(
    "device",
    [
        "{driver: relay, pin: 17, safe: off, max_on_time: 2m}",
        "{driver: relay, pin: BOARD11, safe: no, max_on_time: 0.5}",
        "{driver: relay, pin: gpio17, label: {en: Heater, pt-BR: Aquecedor}, confirm: Sure}",
        "{driver: button, pin: 4, pull_up: null, active_state: yes, bounce_time: 50 ms}",
        "{driver: pwm_output, pin: GPIO18, frequency: 100, safe: 1.0, min: 0, access: system}",
    ],
)
@pytest.mark.parametrize("loader", [yaml.SafeLoader, Words])
def test_what_labnode_accepts_passes_in_every_spelling(
    device: str, loader: Any, validate: Validate
) -> None:
    section = parse_yaml(device, "x.yaml")
    kind = load_drivers()[str(section["driver"].value)]
    assert isinstance(build(kind, section, ignore={"driver"}), Driver)
    validate(yaml.load(f"schema: 1\ndevices:\n  a: {device}\n", loader))


@pytest.mark.parametrize(
    "text",
    [
        "devices: {}",
        "schema: 2",
        "schema: 1\ndevice: {}",
        "schema: 1\ntitle: 5",
        "schema: 1\ntitle: {english: Lab}",
        "schema: 1\nsession: {max_time: 5 minutes}",
        "schema: 1\nsession: {max_time: 0}",
        "schema: 1\nsession: {on_restart: never}",
        "schema: 1\ndevices: [a]",
        "schema: 1\ndevices: {2a: {driver: led, pin: 4}}",
        "schema: 1\ndevices: {a: {pin: 4}}",
        "schema: 1\ndevices: {a: {driver: ledd, pin: 4}}",
        "schema: 1\ndevices: {a: {driver: led}}",
        "schema: 1\ndevices: {a: {driver: led, pim: 4}}",
        "schema: 1\ndevices: {a: {driver: led, pin: 28}}",
        "schema: 1\ndevices: {a: {driver: led, pin: LED4}}",
        "schema: 1\ndevices: {a: {driver: led, pin: 4, safe: high}}",
        "schema: 1\ndevices: {a: {driver: led, pin: 4, access: everybody}}",
        "schema: 1\ndevices: {a: {driver: pwm_output, pin: 4, frequency: 20000}}",
        "schema: 1\ninterlocks: [{name: a, requires: door, for: [b]}]",
        "schema: 1\ninterlocks: [{name: a, when: door}]",
        "schema: 1\npage: [a, b]",
        "schema: 1\nmodule: [a.py]",
        "schema: 1\ninclude: {a: b}",
    ],
)
def test_what_people_get_wrong_does_not_pass(text: str, validate: Validate) -> None:
    with pytest.raises(fastjsonschema.JsonSchemaValueException):
        validate(yaml.safe_load(text))


def test_what_is_kept_is_the_same_schema_with_short_lines() -> None:
    text = text_of(board_schema())
    assert json.loads(text) == board_schema()
    assert text.count("\n") > 100
