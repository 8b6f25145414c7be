"""A lab that does whatever harm a test asks for, and tells in the trace what it does."""

from __future__ import annotations

import os
import threading

from labnode import Lab

lab = Lab()
app = lab.app

_TRACE = int(os.environ["LABNODE_TEST_TRACE"])
_CALM = "LABNODE_TEST_CALM" in os.environ  # after a restart: the harm has passed
if "LABNODE_TEST_THREAD" in os.environ:
    threading.Thread(target=threading.Event().wait, name="forgotten").start()


def trace(text):
    os.write(_TRACE, f"{text}\n".encode())


def behave(how):
    """None, "wait" as labs should, "hang" and ignore everything, or "fail"."""
    if _CALM:
        return
    if how == "wait":
        lab.wait(60)
    elif how == "hang":
        threading.Event().wait()
    elif how == "fail":
        raise RuntimeError("the pump does not answer")


@lab.on_start
def start(client_data, server_data):
    trace(f"on_start {'again' if lab.restarted else 'first'}")
    lab.devices.heater.off()
    lab.devices.switch.on()
    behave(client_data.get("on_start"))
    trace("started")


@lab.on_dispose
def dispose():
    trace("on_dispose")
    asked = lab.user.request_client_data.get("on_dispose")
    behave(os.environ.get("LABNODE_TEST_ON_DISPOSE", asked))
    trace("cleaned")


@lab.task(unique="global", label="On the hardware thread")
def hold(how=None):
    trace("hold")
    behave(how)
    return "stopped" if lab.current_task_stopping else "finished"


@lab.task(label="In the background")
def chore(how=None):
    trace("chore")
    behave(how)
    return "stopped" if lab.current_task_stopping else "finished"
