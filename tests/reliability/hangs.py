"""A lab whose page makes threads of the node hang; it reaches into the node as no lab would."""

import gc
import socket
import threading

from labnode import Lab
from labnode.node.agent import Agent

lab = Lab()


def hang(*_arguments, **_options):
    threading.Event().wait()


def main(agent):
    agent.runtime.turn = hang


def safety(agent):
    agent.safety._owner = type("Owner", (), {"fault": hang, "give_up": agent.give_up})()


def hardware(agent):
    agent.worker.post(hang)


def http(agent):
    agent.web._listener.reactor._take_woken = hang


def http_writer(agent):
    agent.web._listener.writer.queue(hang)


def store(agent):
    agent.store.later(lambda db: hang())


def reaper(agent):
    agent.sessions.reaper._step = hang
    agent.sessions.reaper.wake()


def live(agent):
    agent.runtime.websockets.live._turn = hang
    agent.runtime.websockets.live._wake.set()


def recorder(agent):
    agent.runtime.recordings._sample = hang
    agent.runtime.recordings._wake.set()


def routines(agent):
    agent.runtime.routines._take_news = hang
    agent.runtime.routines._wake.set()


def pruning(agent):
    agent.runtime._pruning._store = type("Store", (), {"run": hang})()
    agent.runtime._pruning._clock_is_right = lambda: True
    threading.Thread(target=agent.runtime._pruning.prune, daemon=True).start()


def control(agent):
    agent._control._accept = hang
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(agent.settings.state_dir / "control.sock"))


HANGS = {
    "main": main,
    "safety": safety,
    "hardware": hardware,
    "http": http,
    "http-writer": http_writer,
    "store": store,
    "reaper": reaper,
    "live": live,
    "recorder": recorder,
    "routines": routines,
    "pruning": pruning,
    "control": control,
}


@lab.on_start
def on_start(client_data, server_data):
    lab.devices.switch.on()
    lab.devices.heater.off()


@lab.app.post("/hang/<name>", access="public")
def hang_now(name):
    (agent,) = (found for found in gc.get_objects() if isinstance(found, Agent))
    HANGS[name](agent)
    return {}


@lab.app.post("/hang-here", access="public")
def hang_here():
    hang()
