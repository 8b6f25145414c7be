"""What programs print when they fail, and what a student reads instead."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from labnode.drivers.framework.subprocess import Cause, Ended
from labnode.errors import ToolFailed


@dataclass(frozen=True)
class Known:
    """A message of a program: a regular expression, and its meaning in English and Spanish.

    `{name}` in a sentence is the group of that name. `final`: trying again is no use; `hopeless`:
    the program is ended at once; `despite`: it has failed even if its exit code is 0.
    """

    pattern: str
    en: str
    es: str
    final: bool = False
    hopeless: bool = False
    despite: bool = False

    def find(self, line: str) -> ToolFailed | None:
        match = re.search(self.pattern, line, re.IGNORECASE)
        if match is None:
            return None
        found = match.groupdict()
        texts = {"en": self.en.format_map(found), "es": self.es.format_map(found)}
        return ToolFailed(texts, final=self.final)


NOT_THERE = {
    "en": "The board cannot be found: it is unplugged, or has no power.",
    "es": "No se encuentra la placa: está desconectada o no tiene alimentación.",
}
UNPLUGGED = {
    "en": "The board was unplugged while it was programmed.",
    "es": "La placa se desconectó mientras se programaba.",
}

# What several programs say: `wrong_chip(r"unknown chip id")` is a Known.
not_there = partial(Known, en=NOT_THERE["en"], es=NOT_THERE["es"])
unplugged = partial(Known, en=UNPLUGGED["en"], es=UNPLUGGED["es"])
silent = partial(
    Known,
    en="The board does not answer: it has no power, or is not ready to be programmed.",
    es="La placa no responde: no tiene alimentación o no está lista para programarse.",
)
wrong_chip = partial(
    Known,
    en="The chip on the board is not the one that this lab expects.",
    es="El chip de la placa no es el que este laboratorio espera.",
    final=True,
    despite=True,
)
not_verified = partial(
    Known,
    en="What was written into the chip does not read back as it should: the chip or its "
    "connection is faulty.",
    es="Lo que se escribió en el chip no se lee como debería: el chip o su conexión falla.",
    despite=True,
)
interrupted = partial(
    Known,
    en="The board stopped answering while it was programmed.",
    es="La placa dejó de responder mientras se programaba.",
)
too_large = partial(
    Known,
    en="The file does not fit into the chip.",
    es="El fichero no cabe en el chip.",
    final=True,
)
not_for_it = partial(
    Known,
    en="The file is not for this chip.",
    es="El fichero no es para este chip.",
    final=True,
)
misconfigured = partial(
    Known,
    en="The lab has set up its programmer wrongly. Tell the lab's staff.",
    es="El laboratorio tiene mal configurado su programador. Avisa al personal del laboratorio.",
    final=True,
)

COMMON = (
    Known(
        r"permission denied|access denied|insufficient permissions|LIBUSB_ERROR_ACCESS",
        "The lab's computer may not use the programmer. Tell the lab's staff.",
        "El ordenador del laboratorio no tiene permiso para usar el programador. Avisa al "
        "personal del laboratorio.",
        final=True,
    ),
    Known(
        r"device or resource busy|resource busy|LIBUSB_ERROR_BUSY|port is busy",
        "Another program is using the programmer. Try again in a moment.",
        "Otro programa está usando el programador. Inténtalo de nuevo en un momento.",
    ),
    Known(
        r"no space left on device",
        "The lab's computer has no room for the file. Tell the lab's staff.",
        "El ordenador del laboratorio no tiene espacio para el fichero. Avisa al personal del "
        "laboratorio.",
        final=True,
    ),
)


def hopeless(lines: Iterable[str], known: Sequence[Known]) -> ToolFailed | None:
    """The failure that the first hopeless message in `lines` means."""
    endings = [message for message in known if message.hopeless]
    found = (message.find(line) for line in lines for message in endings)
    return next((error for error in found if error is not None), None)


def judged(program: str, ended: Ended, timeout: float, known: Sequence[Known]) -> ToolFailed | None:
    """Why a program failed, None when it did not."""
    if ended.cause is Cause.TIMEOUT:
        return ToolFailed(
            {
                "en": f"The board could not be programmed within {timeout:g} s.",
                "es": f"La placa no se pudo programar en {timeout:g} s.",
            }
        )
    if ended.cause is Cause.FLOOD:
        return _failed(program, "said far too much", "dijo demasiado")
    messages = [m for m in (*known, *COMMON) if m.despite or not ended.well]
    for message in messages:  # the most telling ones come first in their list
        for line in ended.output:
            if (error := message.find(line)) is not None:
                return error
    if ended.well:
        return None
    if ended.code < 0:
        name = _signal(-ended.code)
        return _failed(program, f"was ended by {name}", f"terminó por {name}")
    last = ended.output[-1].rstrip(". ") if ended.output else ""
    code = f"(exit code {ended.code})" + (f": {last}" if last else "")
    codigo = f"(código {ended.code})" + (f": {last}" if last else "")
    return _failed(program, f"failed {code}", f"falló {codigo}")


def missing(program: str, package: str | None) -> dict[str, str]:
    en = f"The program '{program}' is not installed on the lab's computer"
    es = f"El programa '{program}' no está instalado en el ordenador del laboratorio"
    how = f" (sudo apt-get install {package})." if package else "."
    return {"en": en + how, "es": es + how}


def _failed(program: str, en: str, es: str) -> ToolFailed:
    return ToolFailed({"en": f"{program} {en}.", "es": f"{program} {es}."})


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
