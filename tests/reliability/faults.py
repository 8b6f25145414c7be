"""A lab that switches everything on for its student, and does what it should never do."""

from __future__ import annotations

from labnode import Lab

lab = Lab()


def switch_on():
    lab.devices.pump.on()
    lab.devices.valve.off()
    lab.devices.fan.set(0.5)
    lab.devices.belt.forward()


@lab.on_start
def start(client_data, server_data):
    if client_data.get("loop"):
        switch_on()
        while True:
            pass


@lab.app.post("/on")
def on():
    switch_on()


@lab.task(unique="global", label="Take all memory")
def hoard():
    hoarded = []
    while True:
        hoarded.append(b"x" * (4 << 20))
