"""The bill of materials of a release, as CycloneDX 1.6 JSON (https://cyclonedx.org/docs/1.6/json/)."""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import Distribution
from typing import Any

from labnode.clock import utc
from labnode.install.lock import normalised

_REQUIREMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class Component:
    """One library: what it is called (`purl`, a package URL), and the file that it came in."""

    name: str
    version: str
    purl: str
    sha256: str = ""
    license: str = ""
    needs: Sequence[str] = ()  # normalised names

    @classmethod
    def of_wheel(cls, installed: Distribution, sha256: str) -> Component:
        """One that pip has installed, from a file with this SHA-256."""
        name, version = normalised(installed.name), installed.version
        needs = [
            normalised(match[0])
            for text in installed.requires or []
            if "extra ==" not in text and (match := _REQUIREMENT.match(text))
        ]
        purl = f"pkg:pypi/{name}@{version}"
        return cls(name, version, purl, sha256, _license(installed), needs)

    @classmethod
    def of_debian(cls, package: str, version: str) -> Component:
        return cls(package, version, f"pkg:deb/debian/{package}@{version}")

    def described(self) -> dict[str, Any]:
        found: dict[str, Any] = {"type": "library", "bom-ref": self.purl, "name": self.name}
        found |= {"version": self.version, "purl": self.purl}
        if self.sha256:
            found["hashes"] = [{"alg": "SHA-256", "content": self.sha256}]
        if self.license:
            found["licenses"] = [{"license": {"name": self.license}}]
        return found


def _license(installed: Distribution) -> str:
    """One line: some libraries have the whole text where its name belongs."""
    fields = installed.metadata
    said = fields.get_all("License-Expression") or fields.get_all("License") or [""]
    if said[0] and "\n" not in said[0]:
        return str(said[0])
    named = [text for text in fields.get_all("Classifier") or [] if text.startswith("License ::")]
    return ", ".join(text.rpartition(":: ")[2] for text in named)


def bill_of_materials(application: str, parts: Sequence[Component], wall: float) -> dict[str, Any]:
    """What a release is made of: `application` among `parts`; `wall` is the time of its making."""
    by_name = {part.name: part for part in parts}
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": uuid.uuid4().urn,
        "version": 1,
        "metadata": {
            "timestamp": utc(wall).isoformat(timespec="seconds"),
            "component": {**by_name[application].described(), "type": "application"},
        },
        "components": [part.described() for part in parts if part.name != application],
        "dependencies": [
            {
                "ref": part.purl,
                "dependsOn": sorted({by_name[n].purl for n in part.needs if n in by_name}),
            }
            for part in parts
        ],
    }
