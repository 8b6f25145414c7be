"""A port of weblablib's examples/complete: lights and a microcontroller, over a WebSocket.

There are no Redis, no Socket.IO, no Babel and no token against other sites' forms: labnode takes no
request that changes something from another site.
"""

import json

from bottle import template

from labnode import Lab

LIGHTS = range(1, 11)
STEP = 1.0  # seconds of each of the ten steps of programming

STATES = {
    "empty": {"en": "Empty memory", "es": "Memoria vacía"},
    "programming": {"en": "Programming", "es": "Programando"},
    "failed": {"en": "Programming failed", "es": "La programación ha fallado"},
    "programmed": {"en": "Programming worked!", "es": "¡Programado!"},
}
WORDS = {
    "welcome": {"en": "Welcome to my lab!", "es": "¡Bienvenido a mi laboratorio!"},
    "expired": {"en": "Your session is expired", "es": "Tu sesión ha terminado"},
    "back": {"en": "Go back", "es": "Volver"},
    "leave": {"en": "Log out", "es": "Salir"},
    "over": {"en": "Time is over!", "es": "¡Se acabó el tiempo!"},
    "good": {"en": "Send good program", "es": "Enviar un programa bueno"},
    "bad": {"en": "Send bad program", "es": "Enviar un programa malo"},
}

lab = Lab()


@lab.initial_url
def initial_url():
    return lab.app.get_url("index")


@lab.on_start
def start(client_data, server_data):
    return {"local_identifier": lab.create_token(), "microcontroller": ["empty"]}


@lab.app.get("/", name="index", access="login")
def index():
    words = {name: lab.text(word) for name, word in WORDS.items()}
    return template("index", lab=lab, lights=LIGHTS, words=words)


@lab.app.get("/status")
def status():
    return {"error": False, **board_status()}


@lab.app.post("/logout", access="login")
def logout():
    lab.logout()
    return {"error": False}


@lab.websocket("/mylab")
def mylab(ws):
    lab.push("board-status", board_status())
    for message in ws:
        asked = json.loads(message)
        if asked["event"] == "lights":
            lab.devices[f"light{asked['number']}"].set(asked["state"])
        elif lab.running_tasks or program_device.delay(asked["code"]).failed:
            lab.push("error", {"message": "There is another task, or too little time."})
        lab.push("board-status", board_status())


@lab.task(unique="global", estimated_time=10)
def program_device(code):
    for step in range(10):
        show("programming", step)
        if not lab.current_task.wait(STEP):
            show("empty")
            return {"success": False}
    if code == "division-by-zero":
        show("failed")
        return 10 / 0
    show("programmed")
    return {"success": True}


def show(*state):
    lab.user.data["microcontroller"] = state
    lab.push("board-status", board_status())


def board_status():
    state, *step = lab.user.data["microcontroller"]
    return {
        "lights": {f"light-{number}": lab.devices[f"light{number}"].value for number in LIGHTS},
        "microcontroller": ": ".join([lab.text(STATES[state]), *map(str, step)]),
        "time_left": lab.user.time_left,
    }
