"""The words of the student's page, in the languages that it speaks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

_WORDS: dict[str, dict[str, str]] = {
    "en": {
        "lab": "Remote laboratory",
        "time-left": "Time left",
        "leave": "Leave",
        "devices": "Devices",
        "tasks": "Tasks",
        "on": "On",
        "off": "Off",
        "no-value": "No reading",
        "start": "Start",
        "stop": "Stop",
        "submitted": "Waiting for its turn…",
        "running": "Running…",
        "stopping": "Stopping…",
        "done": "Done",
        "failed": "Failed",
        "dismiss": "Dismiss",
        "confirm": "Are you sure?",
        "yes": "Continue",
        "no": "Cancel",
        "noscript": "This page needs JavaScript to reach the board.",
        "last-minute": "Less than a minute left.",
        "offline": "The lab does not answer. Trying again…",
        "online": "The lab answers again.",
        "slow": "The connection is slow: some changes may have been missed. What is shown is right"
        " again.",
        "restarted": "The lab was restarted. Its devices went to their safe state"
        " and your session goes on.",
        "over": "Your session is over",
        "over:time": "Your time is up.",
        "over:exited": "You have left the lab.",
        "over:inactivity": "The lab had not heard from this page for too long.",
        "over:never-connected": "The page was opened too late.",
        "over:deleted": "The session was ended by the server that sent you here.",
        "over:start-failed": "The board could not be made ready.",
        "over:restart": "The lab had to be restarted.",
        "over:estop": "The lab was stopped for safety.",
        "over:forbidden": "This page no longer belongs to an open session.",
        "back": "Go back",
        "close": "You can close this page.",
        "error": "That did not work.",
        "error:offline": "The lab does not answer.",
        "error:busy": "The board is busy; try again in a moment.",
        "error:already-running": "This is already running.",
        "error:timeout": "The board took too long to answer.",
        "error:device-gone": "The device does not answer.",
        "error:interrupted": "It was interrupted because the lab was restarted.",
        "forbidden": "No open session",
        "forbidden:text": "The lab opens from the page where you reserved it, when it is your turn."
        " This link has ended, or was opened in another browser.",
        "loading": "The board is being made ready",
        "loading:text": "This page goes on by itself in a moment.",
    },
    "es": {
        "lab": "Laboratorio remoto",
        "time-left": "Tiempo restante",
        "leave": "Salir",
        "devices": "Dispositivos",
        "tasks": "Tareas",
        "on": "Encendido",
        "off": "Apagado",
        "no-value": "Sin lectura",
        "start": "Iniciar",
        "stop": "Parar",
        "submitted": "Esperando su turno…",
        "running": "En marcha…",
        "stopping": "Parando…",
        "done": "Terminado",
        "failed": "Ha fallado",
        "dismiss": "Descartar",
        "confirm": "¿Seguro?",
        "yes": "Continuar",
        "no": "Cancelar",
        "noscript": "Esta página necesita JavaScript para llegar a la placa.",
        "last-minute": "Queda menos de un minuto.",
        "offline": "El laboratorio no responde. Reintentando…",
        "online": "El laboratorio vuelve a responder.",
        "slow": "La conexión es lenta: puede haberse perdido algún cambio. Lo que se muestra vuelve"
        " a ser correcto.",
        "restarted": "El laboratorio se ha reiniciado. Sus dispositivos han vuelto a su estado"
        " seguro y tu sesión continúa.",
        "over": "Tu sesión ha terminado",
        "over:time": "Se ha acabado el tiempo.",
        "over:exited": "Has salido del laboratorio.",
        "over:inactivity": "El laboratorio llevaba demasiado tiempo sin noticias de esta página.",
        "over:never-connected": "La página se abrió demasiado tarde.",
        "over:deleted": "El servidor que te envió aquí ha cerrado la sesión.",
        "over:start-failed": "No se ha podido preparar la placa.",
        "over:restart": "Ha habido que reiniciar el laboratorio.",
        "over:estop": "El laboratorio se ha parado por seguridad.",
        "over:forbidden": "Esta página ya no pertenece a una sesión abierta.",
        "back": "Volver",
        "close": "Puedes cerrar esta página.",
        "error": "No ha funcionado.",
        "error:offline": "El laboratorio no responde.",
        "error:busy": "La placa está ocupada; inténtalo dentro de un momento.",
        "error:already-running": "Ya está en marcha.",
        "error:timeout": "La placa ha tardado demasiado en responder.",
        "error:device-gone": "El dispositivo no responde.",
        "error:interrupted": "Se interrumpió porque el laboratorio se reinició.",
        "forbidden": "No hay ninguna sesión abierta",
        "forbidden:text": "El laboratorio se abre desde la página donde lo reservaste, cuando te"
        " toca. Este enlace ha caducado o se abrió en otro navegador.",
        "loading": "Preparando la placa",
        "loading:text": "Esta página continuará sola en un momento.",
    },
}

LANGUAGES = tuple(_WORDS)


def language(locales: Iterable[str]) -> str:
    """The first language of `locales` ("es", "es_ES", "es-MX") that is spoken here, else "en"."""
    for locale in locales:
        primary = re.split("[-_.@]", locale.strip().lower(), maxsplit=1)[0]
        if primary in _WORDS:
            return primary
    return "en"


def words(language: str) -> Mapping[str, str]:
    """The page's words in one of `LANGUAGES`."""
    return _WORDS[language]
