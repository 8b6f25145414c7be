"""The demo's Python: a task that the page offers, beside what boards/demo.yaml declares."""

from labnode import Lab

lab = Lab()


@lab.on_start
def welcome(client_data, server_data):
    """Runs before each student, on a board that has just been reset."""
    lab.user.data["blinks"] = 0


@lab.task(
    unique="global",
    label={
        "en": "Blink the red light",
        "es": "Hacer parpadear la luz roja",
        "de": "Das rote Licht blinken lassen",
        "fr": "Faire clignoter la lumière rouge",
        "pt": "Fazer piscar a luz vermelha",
        "eu": "Argi gorria keinuka jarri",
    },
)
def blink(times: int = 10):
    """Blinks; only one can run at a time, because the board has only one LED."""
    task = lab.current_task
    for done in range(times):
        task.data["percent"] = 100 * done // times
        lab.devices.led.toggle()
        if not task.wait(0.5):  # others can use the board meanwhile; False: it shall stop
            break
        lab.user.data["blinks"] += 1
    lab.devices.led.off()
    task.data["percent"] = 100
    return f"{lab.user.data['blinks']} blinks so far"


@lab.app.get("/about", access="public")
def about():
    """A view of the lab's own; without access="public" it would be for the student alone."""
    return {"lab": "labnode demo", "board": "simulated"}
