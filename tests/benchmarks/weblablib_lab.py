"""The lab of bench.py with weblablib, as its manual writes one.

Its switches are a dictionary, where labnode has a pin library: to weblablib's advantage.
"""

import os
import time

from flask import Flask, jsonify, render_template_string, request, url_for
from weblablib import WebLab, requires_active

app = Flask(__name__)
app.config.update(
    SECRET_KEY="something-random",
    WEBLAB_USERNAME="weblab",
    WEBLAB_PASSWORD="a password",
    WEBLAB_REDIS_URL=os.environ["REDIS_URL"],
    WEBLAB_TIMEOUT=3600,
)
weblab = WebLab(app, callback_url="/callback")
switches = {"switch": False, "second": False, "third": False}
began = []

PAGE = """<!DOCTYPE html>
<html><head><title>bench</title><script src="https://code.jquery.com/jquery-1.12.4.min.js"></script>
{{ weblab_poll_script() }}</head><body><h1>{{ weblab_user.username }}</h1>
{% for name, on in switches.items() %}
<button data-switch="{{ name }}" aria-pressed="{{ on }}">{{ name }}</button>{% endfor %}
<script>const SWITCH_URL = "{{ url_for('switch', name='NAME') }}";</script></body></html>"""


@weblab.initial_url
def initial_url():
    return url_for("index")


@weblab.on_start
def start(client_data, server_data):
    clean()


@weblab.on_dispose
def clean():
    for name in switches:
        switches[name] = False


@weblab.task(unique="global")
def line():
    began.append(time.perf_counter())


@app.route("/")
@requires_active
def index():
    return render_template_string(PAGE, switches=switches)


@app.route("/switches/<name>", methods=["POST"])
@requires_active
def switch(name):
    switches[name] = bool(request.get_json()[0])
    return jsonify(switches=switches, error=False)


@app.route("/tasks/line", methods=["POST"])
@requires_active
def start_task():
    return jsonify(task_id=line.delay().task_id)


@app.route("/tasks/<task_id>")
@requires_active
def task(task_id):
    return jsonify(status=weblab.get_task(task_id).status)


@app.route("/began")
@requires_active
def when():
    """When the last task had its first line, by the clock that all processes share."""
    return jsonify(seconds=began[-1])


@app.route("/delays/<int:number>")
@requires_active
def delays(number):
    """Seconds from delay() to the task's first line, `number` times."""
    seconds = []
    for _ in range(number):
        asked = time.perf_counter()
        line.delay().join(10)
        seconds.append(began[-1] - asked)
        time.sleep(0.05)
    return jsonify(seconds=seconds)
