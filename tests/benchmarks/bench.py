"""A lab that measures from the inside how long a task takes to begin."""

from __future__ import annotations

import builtins
import time

from labnode import Lab

lab = Lab()
_began: list[float] = []


@lab.task(unique="global")
def on_the_hardware_thread():
    _began.append(time.perf_counter())


@lab.task()
def in_the_background():
    _began.append(time.perf_counter())


@lab.task(unique="global", label="A short job")
def job(steps=5):
    for step in range(steps):
        lab.current_task.data["percent"] = 100 * step / steps
        lab.devices.switch.toggle()
        lab.current_task.wait(0.05)
    return "finished"


@lab.app.get("/delays/<name>/<number:int>")
def delays(name, number):
    """Seconds from delay() to the task's first line, `number` times."""
    seconds = []
    for _ in range(number):
        asked = time.perf_counter()
        lab.functions[name].delay().join(10)
        seconds.append(_began.pop() - asked)
    return {"seconds": seconds}


@lab.app.get("/statements", access="public")
def statements():
    """SQL statements so far."""
    return {"statements": builtins.statements}
