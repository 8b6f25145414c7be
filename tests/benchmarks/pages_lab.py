"""A lab that writes down when its switch is driven, by the clock on the wall, as browsers do."""

from __future__ import annotations

import time

from labnode import Lab

lab = Lab()
_times: list[float] = []


@lab.on_start
def listen(client_data, server_data):
    driver = lab._node.board.file.devices["switch"]
    if "drive" in vars(driver):
        return
    drive = driver.drive

    def timed(value):
        drive(value)
        _times.append(time.time())

    driver.drive = timed


@lab.app.get("/driven")
def driven():
    return {"times": _times}


@lab.app.post("/flip/<value:int>")
def flip(value):
    lab.devices.switch.set(bool(value))
