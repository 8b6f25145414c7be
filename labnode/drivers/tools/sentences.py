"""Sentences that several programmers have in common, for the messages of their programs."""

from __future__ import annotations

from labnode.drivers.tools.known import Known


def not_there(pattern: str) -> Known:
    return Known(
        pattern,
        "The board cannot be found: it is unplugged, or has no power.",
        "No se encuentra la placa: está desconectada o no tiene alimentación.",
    )


def silent(pattern: str, *, despite: bool = False) -> Known:
    return Known(
        pattern,
        "The board does not answer: it has no power, or is not ready to be programmed.",
        "La placa no responde: no tiene alimentación o no está lista para programarse.",
        despite=despite,
    )


def wrong_chip(pattern: str) -> Known:
    return Known(
        pattern,
        "The chip on the board is not the one that this lab expects.",
        "El chip de la placa no es el que este laboratorio espera.",
        final=True,
        despite=True,
    )


def not_verified(pattern: str) -> Known:
    return Known(
        pattern,
        "What was written into the chip does not read back as it should: the chip or its "
        "connection is faulty.",
        "Lo que se escribió en el chip no se lee como debería: el chip o su conexión falla.",
        despite=True,
    )


def interrupted(pattern: str) -> Known:
    return Known(
        pattern,
        "The board stopped answering while it was programmed.",
        "La placa dejó de responder mientras se programaba.",
    )


def too_large(pattern: str) -> Known:
    return Known(
        pattern,
        "The file does not fit into the chip.",
        "El fichero no cabe en el chip.",
        final=True,
    )


def not_for_it(pattern: str) -> Known:
    return Known(
        pattern,
        "The file is not for this chip.",
        "El fichero no es para este chip.",
        final=True,
    )


def misconfigured(pattern: str) -> Known:
    return Known(
        pattern,
        "The lab has set up its programmer wrongly. Tell the lab's staff.",
        "El laboratorio tiene mal configurado su programador. Avisa al personal del laboratorio.",
        final=True,
    )
