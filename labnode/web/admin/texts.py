"""The words of the administration's page."""

from __future__ import annotations

from collections.abc import Mapping

from labnode.web.texts import in_language

_WORDS = {  # in each of LANGUAGES
    "administration": ("Administration", "Administración"),
    "login": ("Log in", "Entrar"),
    "login:wrong": ("Wrong user name or password.", "Usuario o contraseña incorrectos."),
    "login:wrong:code": (
        "Wrong user name, password or code.",
        "Usuario, contraseña o código incorrectos.",
    ),
    "login:wait": (
        "Too many attempts: try again in {seconds} s.",
        "Demasiados intentos: prueba de nuevo dentro de {seconds} s.",
    ),
    "logout": ("Log out", "Salir"),
    "username": ("User name", "Usuario"),
    "password": ("Password", "Contraseña"),
    "code": ("Code", "Código"),
    "state": ("State", "Estado"),
    "state:ready": ("Ready for a student", "Listo para un estudiante"),
    "state:busy": ("In use", "En uso"),
    "state:draining": ("Draining: takes no new students", "Vaciándose: no acepta más estudiantes"),
    "state:drained": ("Drained: takes no students", "Vacío: no acepta estudiantes"),
    "state:quarantine": ("In quarantine", "En cuarentena"),
    "state:fault": ("An interlock has acted", "Ha actuado un enclavamiento"),
    "state:stopped": ("Stopped", "Parado"),
    "estop": ("Emergency stop", "Parada de emergencia"),
    "estop:hint": (
        "Makes everything safe at once and ends all sessions.",
        "Lo pone todo en estado seguro de inmediato y cierra todas las sesiones.",
    ),
    "estopped": ("Emergency stop", "Parada de emergencia"),
    "quarantine": (
        "The board is in quarantine and takes no students",
        "La placa está en cuarentena y no acepta estudiantes",
    ),
    "fault": ("Interlock", "Enclavamiento"),
    "fault:active": ("acts now", "actúa ahora"),
    "fault:latched": ("has acted and is latched", "ha actuado y está retenido"),
    "alarm": ("Database", "Base de datos"),
    "clock": ("Clock", "Reloj"),
    "unhealthy": ("Not healthy", "No está bien"),
    "clear": ("Clear: the board is as it should be", "Levantar: la placa está como debe"),
    "clear:sure": (
        "Have you looked at the board? It takes students again after this.",
        "¿Has mirado la placa? Después de esto vuelve a aceptar estudiantes.",
    ),
    "drain": ("Drain: take no new students", "Vaciar: no aceptar más estudiantes"),
    "undrain": ("Take students again", "Volver a aceptar estudiantes"),
    "node": ("Node", "Nodo"),
    "board": ("Board", "Placa"),
    "simulated": ("simulated", "simulada"),
    "health": ("Health", "Salud"),
    "healthy": ("All parts work", "Todas las partes funcionan"),
    "uptime": ("Running for", "En marcha"),
    "version": ("Version", "Versión"),
    "process": ("process", "proceso"),
    "address": ("Address", "Dirección"),
    "on-board": ("On the board", "En la placa"),
    "nobody": ("Nobody.", "Nadie."),
    "time-left": ("left", "restantes"),
    "observe": ("Observer's link", "Enlace para observar"),
    "devices": ("Devices", "Dispositivos"),
    "devices:idle": (
        "Nobody is on the board: you can try its devices. A minute after your last command, or"
        " with the button, all of them are made safe again.",
        "No hay nadie en la placa: puedes probar sus dispositivos. Un minuto después de tu última"
        " orden, o con el botón, todos vuelven a su estado seguro.",
    ),
    "devices:busy": (
        "A student is on the board: its devices can be tried when nobody is.",
        "Hay un estudiante en la placa: se puede probar cuando no haya nadie.",
    ),
    "devices:stopped": (
        "The board is stopped: its devices can be tried when that is cleared.",
        "La placa está parada: se puede probar cuando se levante la parada.",
    ),
    "reset": ("Make all devices safe", "Poner todo en estado seguro"),
    "device": ("Device", "Dispositivo"),
    "value": ("Value", "Valor"),
    "commands": ("Try it", "Probar"),
    "on": ("On", "Encender"),
    "off": ("Off", "Apagar"),
    "true": ("on", "encendido"),
    "false": ("off", "apagado"),
    "none": ("–", "–"),
    "stale": ("old value", "valor antiguo"),
    "not-connected": ("not connected", "sin conexión"),
    "sessions": ("Sessions of the last 24 hours", "Sesiones de las últimas 24 horas"),
    "no-sessions": ("No sessions in the last 24 hours.", "Ninguna sesión en las últimas 24 horas."),
    "began": ("Began", "Inicio"),
    "student": ("Student", "Estudiante"),
    "session": ("Session", "Sesión"),
    "slot": ("Slot", "Turno"),
    "client": ("Server", "Servidor"),
    "end": ("End", "Fin"),
    "tasks": ("Tasks of the last 24 hours", "Tareas de las últimas 24 horas"),
    "no-tasks": ("No tasks in the last 24 hours.", "Ninguna tarea en las últimas 24 horas."),
    "task": ("Task", "Tarea"),
    "cancel": ("Stop", "Parar"),
    "run-tasks": ("Tasks of the lab", "Tareas del laboratorio"),
    "run": ("Run", "Ejecutar"),
    "schedule": ("When", "Cuándo"),
    "next": ("Next", "Próxima"),
    "status": ("Status", "Estado"),
    "result": ("Result", "Resultado"),
    "events": ("Events", "Sucesos"),
    "no-events": ("Nothing has happened yet.", "Todavía no ha pasado nada."),
    "event": ("Event", "Suceso"),
    "at": ("At", "Hora"),
    "log": ("Log", "Registro"),
    "no-log": ("Nothing has been logged yet.", "Todavía no hay nada en el registro."),
    "back": ("Back", "Volver"),
    "refused": ("That was not done", "No se ha hecho"),
    "done": ("Done.", "Hecho."),
    "offline": ("The node does not answer. Trying again…", "El nodo no responde. Reintentando…"),
    "only-js": (
        "Reload the page to see what is new: without JavaScript it stays as it is.",
        "Recarga la página para ver las novedades: sin JavaScript se queda como está.",
    ),
}


def words(language: str) -> Mapping[str, str]:
    """The page's words in one of LANGUAGES."""
    return in_language(_WORDS, language)
