"""The thermal board's Python: a PID controller that holds the box at the student's setpoint."""

from labnode import Lab
from labnode.errors import Busy, Interlocked

lab = Lab()

WINDOW = 15  # seconds: a relay cannot be half on, so it is on for a part of each window
REST = 5  # seconds that it has to be off at least (min_off_time in thermal.yaml)
SHORTEST = 1  # seconds that are worth switching it on


class Pid:
    """How much of its power the heater should have, from 0 to 1."""

    def __init__(self, kp=0.06, ki=0.0012, kd=0.25):
        self.kp, self.ki, self.kd = kp, ki, kd  # for a box that answers in about 40 s
        self.integral = 0.0
        self.measured = None

    def power(self, setpoint, measured, seconds):
        """The power for the next `seconds`."""
        error = setpoint - measured
        # By the measurement, not by the error: a new setpoint is no blow.
        slope = 0.0 if self.measured is None else (measured - self.measured) / seconds
        self.measured = measured
        wanted = self.kp * error + self.integral - self.kd * slope
        power = min(1.0, max(0.0, wanted))
        if power == wanted:  # at its limit the integral must not grow on (windup)
            self.integral += self.ki * error * seconds
        return power


def on_time(power):
    """For how much of a window the heater is on, such that its relay gets its rest."""
    seconds = power * WINDOW
    if seconds < SHORTEST:
        return 0
    return WINDOW if seconds > WINDOW - REST else seconds


@lab.task(unique="global", label={"en": "Hold the setpoint", "es": "Mantener la consigna"})
def hold(minutes: float = 15):
    """Runs until it is stopped, or for so many minutes; gives what it has seen."""
    task, heater = lab.current_task, lab.devices.heater
    pid, errors, refused = Pid(), [], ""
    windows = max(1, int(minutes * 60 / WINDOW))
    for window in range(windows):
        measured, setpoint = lab.devices.temp.value, lab.devices.setpoint.value
        power = 0.0 if measured is None else pid.power(setpoint, measured, WINDOW)
        seconds = on_time(power)
        if measured is not None:
            errors.append(abs(setpoint - measured))
        line = f"{measured} °C, {setpoint} °C wanted: {power:.0%} {refused}"
        task.data.update(percent=100 * window / windows, power=round(power, 3), log=[line])
        refused = switch(heater, seconds > 0)
        if not task.wait(seconds):  # others use the board meanwhile; False: it shall stop
            break
        if seconds < WINDOW:
            refused = switch(heater, False) or refused
            if not task.wait(WINDOW - seconds):
                break
    switch(heater, False)
    recent = errors[-8:]
    return {
        "windows": len(errors),
        "error": round(sum(recent) / len(recent), 2) if recent else None,
    }


def switch(heater, value):
    """Why the heater could not be switched, "" where it could: the controller goes on."""
    try:
        heater.set(value)
    except (Busy, Interlocked) as error:
        return str(error)
    return ""
