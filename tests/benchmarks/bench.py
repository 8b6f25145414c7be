"""The lab that is measured: three switches and a task with one line, and a look inside."""

from __future__ import annotations

import time

from labnode import Lab

lab = Lab()
_began: list[float] = []


@lab.task(unique="global", label="One line")
def line():
    _began.append(time.perf_counter())


@lab.task()
def in_the_background():
    _began.append(time.perf_counter())


@lab.app.get("/began")
def began():
    """When the last task had its first line, by the clock that all processes share."""
    return {"seconds": _began[-1]}


@lab.app.get("/delays/<number:int>")
def delays(number):
    """Seconds from delay() to the task's first line, `number` times."""
    return {"seconds": _delays(line, number)}


@lab.app.get("/delays/background/<number:int>")
def background_delays(number):
    return {"seconds": _delays(in_the_background, number)}


def _delays(task, number):
    seconds = []
    for _ in range(number):
        asked = time.perf_counter()
        task.delay().join(10)
        seconds.append(_began[-1] - asked)
    return seconds


@lab.task()
def change(seconds, times):
    """Change another device `times` a second."""
    more = [name for name in lab.devices if name.startswith("more")]
    for number in range(int(seconds * times)):
        turn, which = divmod(number, len(more))
        lab.devices[more[which]].set(turn % 2 == 0)
        lab.current_task.wait(1 / times)


@lab.app.get("/change/<seconds:float>/<times:int>")
def begin_to_change(seconds, times):
    change.delay(seconds, times)
    return {}
