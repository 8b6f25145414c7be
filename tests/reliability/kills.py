"""A lab that tells in the diary what happens to each session, in one write each."""

from __future__ import annotations

import os

from labnode import Lab

lab = Lab()
app = lab.app

_DIARY = int(os.environ["LABNODE_TEST_DIARY"])


def tell(what):
    os.write(_DIARY, f"{what} {lab.user.session_id}\n".encode())


@lab.on_start
def start(client_data, _server_data):
    tell("on_start")
    lab.devices.switch.on()
    lab.devices.heater.off()
    lab.devices.dimmer.set(0.7)
    lab.wait(client_data["pause"])
    tell("started")


@lab.on_dispose
def dispose():
    tell("on_dispose")
    lab.wait(lab.user.request_client_data["pause"])
    tell("disposed")


@lab.task(unique="global", label="On the hardware thread")
def heat(seconds=0.02):
    tell("task")
    for _ in range(3):
        lab.devices.heater.off()
        if not lab.wait(seconds / 3):
            break
        lab.devices.heater.on()
    return seconds


@lab.task(label="In the background")
def count(seconds=0.02):
    tell("task")
    lab.wait(seconds)
    return seconds
