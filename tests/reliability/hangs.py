"""A lab whose page makes threads of the node hang; it reaches into the node as no lab would."""

import gc
import os
import socket
import sys
import threading

from labnode import Lab
from labnode.drivers.framework.subprocess import run
from labnode.node.agent import Agent
from labnode.supervisor.client import Supervisor

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


def timers(agent):
    agent.tasks.timers._turn = hang
    agent.tasks.timers._wake.set()


def wall_clock(agent):
    wall = agent.runtime.wall
    wall.stop(1)
    wall.look = hang
    wall.subscribe(print)


def pruning(agent):
    agent.runtime._pruning._store = type("Store", (), {"run": hang})()
    agent.runtime._pruning._knows_age = lambda: True
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
    "timers": timers,
    "wall-clock": wall_clock,
    "control": control,
}


@lab.on_start
def on_start(client_data, server_data):
    lab.devices.switch.on()
    lab.devices.heater.off()


def the_agent():
    gc.unfreeze()  # `labnode run` hides from the garbage collector what there is at its start
    (agent,) = (found for found in gc.get_objects() if isinstance(found, Agent))
    return agent


@lab.app.post("/hang/<name>", access="public")
def hang_now(name):
    HANGS[name](the_agent())
    return {}


@lab.task(unique="global", label="Run a program")
def program():
    """One that stays, and tells its number in the trace."""

    def tell(lines, _rest):
        for line in lines:
            os.write(int(os.environ["LABNODE_TEST_TRACE"]), f"program {line}\n".encode())

    script = "import os, time; print(os.getpid(), flush=True); time.sleep(10_000)"
    services = the_agent().board.services("switch")
    with Supervisor() as supervisor:
        run(
            [sys.executable, "-S", "-c", script],
            services,
            supervisor,
            name="program",
            timeout=10_000,
            on_output=tell,
        )


@lab.app.post("/hang-here", access="public")
def hang_here():
    hang()
