"""`labnode simulate`: reads and sets the values of a simulated board's devices."""

from __future__ import annotations

import json
from typing import Any

import click

from labnode.cli.language import said
from labnode.cli.node import Ask, which_node


@click.group()
def simulate() -> None:
    """Look into a simulated board, and play the outside world."""


@simulate.command("get")
@click.argument("device", required=False)
@click.option("--json", "as_json", is_flag=True, help="As one JSON object.")
@which_node
def get(ask: Ask, device: str | None, as_json: bool) -> None:
    """Show the value of DEVICE, or of all devices and pins."""
    answer = ask("simulate", **({} if device is None else {"device": device}))
    click.echo(json.dumps(answer) if as_json else _text(answer, pins=device is None))


@simulate.command("set", context_settings={"ignore_unknown_options": True})
@click.argument("device")
@click.argument("value")
@which_node
def set_(ask: Ask, device: str, value: str) -> None:
    """Make the input DEVICE show VALUE.

    VALUE is a number, true, false, on, off, null (it can no longer be read) or a text.
    """
    answer = ask("simulate", device=device, value=_value(value))
    click.echo(_text(answer, pins=False))


def _value(text: str) -> Any:
    if text in ("on", "off"):
        return text == "on"
    try:
        return json.loads(text)
    except ValueError:
        return text


def _text(answer: dict[str, Any], *, pins: bool) -> str:
    functions = {"input": said("cli.pin:input"), "output": said("cli.pin:output")}
    lines = []
    for name, state in answer["devices"].items():
        why = f"  ({state['error']})" if "error" in state else ""
        stale = f"  ({said('cli.stale')})" if state.get("stale") else ""
        stale += f"  ({said('cli.stand-in')})" if state.get("stand_in") else ""
        lines.append(f"{name:<20}{json.dumps(state['value'], ensure_ascii=False)}{stale}{why}")
    for name, pin in answer["pins"].items() if pins else ():
        function = functions.get(pin["function"], pin["function"])
        lines.append(f"{name:<20}{function}, {json.dumps(pin['level'])}")
    return "\n".join(lines)
