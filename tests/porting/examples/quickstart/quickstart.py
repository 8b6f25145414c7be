"""A port of weblablib's examples/quickstart: ten lights, switched by a page of the lab's own.

There is no clean-up: labnode sets the lights to safe before and after each student.
"""

from bottle import request, template

from labnode import Lab

LIGHTS = range(1, 11)

lab = Lab()
lab.content_security_policy(script_src="'unsafe-inline'")  # the addresses in the page


@lab.initial_url
def initial_url():
    return lab.app.get_url("index")


@lab.app.get("/", name="index", access="login")
def index():
    return template(
        "lab",
        lights=LIGHTS,
        poll_script=lab.poll_script(),
        status_url=lab.app.get_url("status"),
        light_url=lab.app.get_url("light", number="LIGHT"),
    )


@lab.app.get("/status", name="status")
def status():
    return {"lights": lights_that_are_on(), "time_left": lab.user.time_left, "error": False}


@lab.app.post(
    "/lights/<number>/", name="light"
)  # a GET there; here what changes something is a POST
def light(number):
    lab.devices[f"light{number}"].set(request.query.state == "true")
    return {"lights": lights_that_are_on(), "error": False}


def lights_that_are_on():
    return {f"light-{number}": lab.devices[f"light{number}"].value for number in LIGHTS}
