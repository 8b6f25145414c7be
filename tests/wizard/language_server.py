"""A client of yaml-language-server, the program in VS Code's YAML extension and in Zed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any

PROGRAM = os.environ.get("LABNODE_TEST_YAML_SERVER") or shutil.which("yaml-language-server")
"""Where it is; install it with `npm install -g yaml-language-server`."""


class LanguageServer:
    """One server, with the settings that `labnode schema --install` gives an editor."""

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        assert PROGRAM is not None
        self._settings = settings
        self._next = 0
        self._diagnostics: dict[str, list[dict[str, Any]]] = {}
        self._process = subprocess.Popen(
            [PROGRAM, "--stdio"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        capabilities = {
            "workspace": {"configuration": True, "didChangeConfiguration": {}},
            "textDocument": {"completion": {}, "hover": {}, "publishDiagnostics": {}},
        }
        root = folder.as_uri()
        self._ask(
            "initialize",
            processId=None,
            rootUri=root,
            workspaceFolders=[{"uri": root, "name": "labs"}],
            capabilities=capabilities,
        )
        self._tell("initialized")
        self._tell("workspace/didChangeConfiguration", settings=settings)

    def __enter__(self) -> LanguageServer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ask("shutdown")
        self._tell("exit")
        self._process.communicate(timeout=10)

    def problems(self, path: Path, text: str) -> list[tuple[int, str]]:
        """The line (from 1) and the message of everything that it marks in a file."""
        uri = self._open(path, text)
        while uri not in self._diagnostics:
            self._take()
        return [(d["range"]["start"]["line"] + 1, d["message"]) for d in self._diagnostics[uri]]

    def completions(self, path: Path, text: str) -> set[str]:
        """What it proposes at the end of this text."""
        uri = self._open(path, text)
        lines = text.split("\n")
        answer = self._ask(
            "textDocument/completion",
            textDocument={"uri": uri},
            position={"line": len(lines) - 1, "character": len(lines[-1])},
        )
        return {item["label"] for item in (answer or {}).get("items", [])}

    def hover(self, path: Path, text: str, word: str) -> str:
        """What it explains of the first `word` in the text."""
        uri = self._open(path, text)
        before = text[: text.index(word)].split("\n")
        answer = self._ask(
            "textDocument/hover",
            textDocument={"uri": uri},
            position={"line": len(before) - 1, "character": len(before[-1]) + 1},
        )
        return str((answer or {}).get("contents", {}).get("value", ""))

    def _open(self, path: Path, text: str) -> str:
        self._next += 1
        uri = path.with_stem(f"{path.stem}-{self._next}").as_uri()
        document = {"uri": uri, "languageId": "yaml", "version": 1, "text": text}
        self._tell("textDocument/didOpen", textDocument=document)
        return uri

    # --- the protocol: JSON-RPC with a Content-Length before each message ---

    def _tell(self, method: str, **params: Any) -> None:
        self._send({"method": method, "params": params})

    def _ask(self, method: str, **params: Any) -> Any:
        self._next += 1
        number = self._next
        self._send({"id": number, "method": method, "params": params})
        while True:
            message = self._take()
            if message.get("id") == number and "method" not in message:
                return message.get("result")

    def _send(self, message: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        data = json.dumps({"jsonrpc": "2.0", **message}).encode()
        self._process.stdin.write(b"Content-Length: %d\r\n\r\n%s" % (len(data), data))
        self._process.stdin.flush()

    def _take(self) -> dict[str, Any]:
        """The next message; its questions are answered, and what it marks is noted."""
        assert self._process.stdout is not None
        length = 0
        while (line := self._process.stdout.readline()) not in (b"\r\n", b""):
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        if not length:
            raise EOFError("yaml-language-server has ended")
        message: dict[str, Any] = json.loads(self._process.stdout.read(length))
        if message.get("method") == "textDocument/publishDiagnostics":
            params = message["params"]
            self._diagnostics[params["uri"]] = params["diagnostics"]
        elif "id" in message and "method" in message:
            self._send({"id": message["id"], "result": self._answer(message)})
        return message

    def _answer(self, message: dict[str, Any]) -> Any:
        if message["method"] != "workspace/configuration":
            return None
        return [self._settings.get(item.get("section", "")) for item in message["params"]["items"]]
