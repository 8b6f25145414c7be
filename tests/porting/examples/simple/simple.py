"""A port of weblablib's examples/simple: hooks, one view, one that is for everybody."""

import logging

from labnode import Lab

log = logging.getLogger(__name__)
lab = Lab()


@lab.initial_url
def initial_url():
    return lab.app.get_url("lab")


@lab.on_start
def start(client_data, server_data):
    log.info("New user: %s, %s, %s", client_data, server_data["request.username"], lab.user)


@lab.on_dispose
def dispose():
    log.info("The user has gone: %s", lab.user)


@lab.app.get("/lab/", name="lab")
def view():
    user = lab.user
    return (
        f"Hello {user.username}. You didn't poll in {user.time_without_polling:.2f} seconds. "
        f"Total time left: {user.time_left:.0f}"
    )


@lab.app.get("/", access="public")
def index():
    return "<!doctype html><title>Nothing here</title>"
