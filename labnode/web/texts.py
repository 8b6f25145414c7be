"""The words of the student's page, in the languages that it speaks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

LANGUAGES = ("en", "es")

NO_DETAILS = "That did not work; the lab's log says why."
_DETAILS = re.compile(
    r"\[Errno|(?<![\w.])/(?:dev|sys|proc|run|etc|tmp|opt|home|var)/|\b[A-Z]\w*Error\b"
)

_WORDS = {  # in each of LANGUAGES
    "lab": ("Remote laboratory", "Laboratorio remoto"),
    "time-left": ("Time left", "Tiempo restante"),
    "leave": ("Leave", "Salir"),
    "leave-sure": (
        "Leave the lab? Your session ends.",
        "¿Salir del laboratorio? Tu sesión se cierra.",
    ),
    "more": ("{n} more", "{n} más"),
    "devices": ("Devices", "Dispositivos"),
    "tasks": ("Tasks", "Tareas"),
    "on": ("On", "Encendido"),
    "off": ("Off", "Apagado"),
    "no-value": ("No reading", "Sin lectura"),
    "start": ("Start", "Iniciar"),
    "range": ("from {min} to {max}", "de {min} a {max}"),
    "at-least": ("at least {min}", "como mínimo {min}"),
    "at-most": ("at most {max}", "como máximo {max}"),
    "stop": ("Stop", "Parar"),
    "submitted": ("Waiting for its turn…", "Esperando su turno…"),
    "running": ("Running…", "En marcha…"),
    "stopping": ("Stopping…", "Parando…"),
    "done": ("Done", "Terminado"),
    "failed": ("Failed", "Ha fallado"),
    "press": ("Press", "Pulsar"),
    "send": ("Send", "Enviar"),
    "set": ("Set", "Fijar"),
    "number": ("as a number", "como número"),
    "not-a-number": (
        "A whole number from 0 to {max} is needed: 42, 0x2A or 0b101010.",
        "Hace falta un número entero de 0 a {max}: 42, 0x2A o 0b101010.",
    ),
    "bit": ("Bit {n}", "Bit {n}"),
    "busy": ("The board is busy…", "La placa está ocupada…"),
    "disconnected": ("The device is not connected.", "El dispositivo no está conectado."),
    "device-error": ("The device does not work: {error}", "El dispositivo no funciona: {error}"),
    "stale": ("This value is old.", "Este valor es antiguo."),
    "stale-since": ("This value is {age} old.", "Este valor es de hace {age}."),
    "deadman": (
        "Goes off when the lab has not heard this page for {n} s.",
        "Se apaga si el laboratorio no sabe nada de esta página durante {n} s.",
    ),
    "unheard": (
        "Switched off, because the lab no longer heard the page that had switched it on.",
        "Apagado, porque el laboratorio dejó de saber de la página que lo había encendido.",
    ),
    "output": ("Output", "Salida"),
    "choose": ("Choose a file", "Elegir un archivo"),
    "no-file": ("No file chosen", "Ningún archivo elegido"),
    "wrong-file": (
        "A file that ends with {accept} is needed.",
        "Hace falta un archivo que acabe en {accept}.",
    ),
    "large-file": (
        "The file is too large: at most {max}.",
        "El archivo es demasiado grande: como mucho {max}.",
    ),
    "error:file-gone": ("Choose the file again.", "Elige el archivo otra vez."),
    "program": ("Send to the board", "Enviar a la placa"),
    "blank": ("Make blank", "Borrar"),
    "stopped": ("Stopped", "Parado"),
    "written": ("Written in {n} s.", "Grabado en {n} s."),
    "sent": ("Files sent: {n}", "Archivos enviados: {n}"),
    "send-again": ("Send again", "Enviar otra vez"),
    "sending": ("Sending…", "Enviando…"),
    "snapshot": ("Snapshot", "Captura"),
    "plot": ("Plot of the last {span} s. {what}", "Gráfica de los últimos {span} s. {what}"),
    "recording": ("What was measured in this session:", "Lo medido en esta sesión:"),
    "command:off": ("Off", "Apagado"),
    "command:on": ("On", "Encendido"),
    "command:toggle": ("Toggle", "Alternar"),
    "command:stop": ("Stop", "Parar"),
    "command:forward": ("Forward", "Adelante"),
    "command:backward": ("Backward", "Atrás"),
    "command:mid": ("Middle", "Centro"),
    "over-time": ("Over time", "En el tiempo"),
    "zoom-in": ("Zoom in", "Acercar"),
    "zoom-out": ("Zoom out", "Alejar"),
    "now": ("Now", "Ahora"),
    "csv": ("Save as CSV", "Guardar como CSV"),
    "observing": (
        "You are watching this session; only its student can use the board.",
        "Estás observando esta sesión; solo su estudiante puede usar la placa.",
    ),
    "latched": (
        "The lab’s staff have to clear this.",
        "Tiene que rearmarlo el personal del laboratorio.",
    ),
    "dismiss": ("Dismiss", "Descartar"),
    "confirm": ("Are you sure?", "¿Seguro?"),
    "yes": ("Continue", "Continuar"),
    "no": ("Cancel", "Cancelar"),
    "noscript": (
        "This page needs JavaScript to reach the board.",
        "Esta página necesita JavaScript para llegar a la placa.",
    ),
    "last-minute": ("Less than a minute left.", "Queda menos de un minuto."),
    "offline": (
        "The lab does not answer. Trying again…",
        "El laboratorio no responde. Reintentando…",
    ),
    "online": ("The lab answers again.", "El laboratorio vuelve a responder."),
    "slow": (
        "The connection is slow: some changes may have been missed. What is shown is right again.",
        "La conexión es lenta: puede haberse perdido algún cambio. Lo que se muestra vuelve a ser"
        " correcto.",
    ),
    "restarted": (
        "The lab was restarted. Its devices went to their safe state and your session goes on.",
        "El laboratorio se ha reiniciado. Sus dispositivos han vuelto a su estado seguro y tu"
        " sesión continúa.",
    ),
    "over": ("Your session is over", "Tu sesión ha terminado"),
    "over:time": ("Your time is up.", "Se ha acabado el tiempo."),
    "over:exited": ("You have left the lab.", "Has salido del laboratorio."),
    "over:inactivity": (
        "The lab had not heard from this page for too long.",
        "El laboratorio llevaba demasiado tiempo sin noticias de esta página.",
    ),
    "over:never-connected": (
        "The page was opened too late.",
        "La página se abrió demasiado tarde.",
    ),
    "over:deleted": (
        "The session was ended by the server that sent you here.",
        "El servidor que te envió aquí ha cerrado la sesión.",
    ),
    "over:superseded": (
        "A newer session took the place of yours: the server that sent you here has started one.",
        "Una sesión más reciente ha ocupado el lugar de la tuya: la ha iniciado el servidor que te"
        " envió aquí.",
    ),
    "over:start-failed": (
        "The board could not be made ready.",
        "No se ha podido preparar la placa.",
    ),
    "over:restart": ("The lab had to be restarted.", "Ha habido que reiniciar el laboratorio."),
    "over:estop": ("The lab was stopped for safety.", "El laboratorio se ha parado por seguridad."),
    "over:observed": (
        "The session that you were watching is over.",
        "La sesión que estabas mirando ha terminado.",
    ),
    "over:forbidden": (
        "This page no longer belongs to an open session.",
        "Esta página ya no pertenece a una sesión abierta.",
    ),
    "back": ("Go back", "Volver"),
    "back-in": ("You go back in {n} s.", "Vuelves dentro de {n} s."),
    "stay": ("Stay here", "Quedarse aquí"),
    "close": ("You can close this page.", "Puedes cerrar esta página."),
    "error": ("That did not work.", "No ha funcionado."),
    "error:offline": ("The lab does not answer.", "El laboratorio no responde."),
    "error:busy": (
        "The board is busy; try again in a moment.",
        "La placa está ocupada; inténtalo dentro de un momento.",
    ),
    "error:interlocked": ("An interlock does not allow it.", "Un enclavamiento no lo permite."),
    "error:outdated": (
        "It has gone to its safe value since you asked for this. Set it again.",
        "Ha pasado a su valor seguro desde que lo pediste. Ajústalo otra vez.",
    ),
    "error:already-running": ("This is already running.", "Ya está en marcha."),
    "error:timeout": (
        "The board took too long to answer.",
        "La placa ha tardado demasiado en responder.",
    ),
    "error:device": ("The device does not work.", "El dispositivo no funciona."),
    "error:device-gone": ("The device does not answer.", "El dispositivo no responde."),
    "error:interrupted": (
        "It was interrupted because the lab was restarted.",
        "Se interrumpió porque el laboratorio se reinició.",
    ),
    "console:text": ("Text to send", "Texto para enviar"),
    "console:ending": ("Line ending", "Fin de línea"),
    "console:none": ("no line ending", "sin fin de línea"),
    "console:rate": ("Baud rate", "Velocidad"),
    "console:baud": ("{n} baud", "{n} baudios"),
    "console:pause": ("Pause", "Pausa"),
    "console:times": ("Times", "Horas"),
    "console:echo": ("Echo", "Eco"),
    "console:hex": ("Hex", "Hex"),
    "console:plot": ("Plot", "Gráfica"),
    "console:clear": ("Clear", "Limpiar"),
    "console:save": ("Download", "Descargar"),
    "console:search": ("Search", "Buscar"),
    "console:hits": ("{at} of {n}", "{at} de {n}"),
    "console:delay": ("Milliseconds between lines", "Milisegundos entre líneas"),
    "console:back": ("Connected again, {n} baud", "Conectado de nuevo, {n} baudios"),
    "console:break": ("Break", "Break"),
    "console:file": ("Send file…", "Enviar archivo…"),
    "console:sent": ("{name} was sent.", "{name} se ha enviado."),
    "console:not-sent": ("{name} was not sent to its end.", "{name} no se ha enviado entero."),
    "console:dropped": (
        "{n} bytes dropped: this page was too slow.",
        "{n} bytes perdidos: esta página era demasiado lenta.",
    ),
    "console:lent": ("Lent to a programmer…", "Prestado a un programador…"),
    "console:gone": ("Not connected", "Sin conexión"),
    "console:restart": ("The lab was restarted.", "El laboratorio se ha reiniciado."),
    "forbidden": ("No open session", "No hay ninguna sesión abierta"),
    "forbidden:text": (
        "The lab opens from the page where you reserved it, when it is your turn. This link has"
        " ended, or was opened in another browser.",
        "El laboratorio se abre desde la página donde lo reservaste, cuando te toca. Este enlace"
        " ha caducado o se abrió en otro navegador.",
    ),
    "not-found": ("There is no such page", "Esa página no existe"),
    "not-found:text": (
        "The lab has nothing at this address.",
        "El laboratorio no tiene nada en esta dirección.",
    ),
    "to-lab": ("To the lab", "Al laboratorio"),
    "failed:text": (
        "Something went wrong in the lab; it was written to its log.",
        "Algo ha fallado en el laboratorio; queda escrito en su registro.",
    ),
    "loading": ("The board is being made ready", "Preparando la placa"),
    "loading:text": (
        "This page goes on by itself in a moment.",
        "Esta página continuará sola en un momento.",
    ),
}


def language(locales: Iterable[str]) -> str:
    """The first of `locales` ("es", "es_ES", "es-MX") that is among LANGUAGES, else "en"."""
    for locale in locales:
        primary = re.split("[-_.@]", locale.strip().lower(), maxsplit=1)[0]
        if primary in LANGUAGES:
            return primary
    return "en"


def words(language: str) -> Mapping[str, str]:
    """The page's words in one of LANGUAGES."""
    return in_language(_WORDS, language)


def for_students(message: str) -> str:
    """`message`, unless it names files or errors of the system: the log has those."""
    return NO_DETAILS if _DETAILS.search(message) else message


def in_language(table: Mapping[str, tuple[str, str]], language: str) -> dict[str, str]:
    """One column of a table that has each text in all LANGUAGES."""
    column = LANGUAGES.index(language)
    return {name: texts[column] for name, texts in table.items()}
