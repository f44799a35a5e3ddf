"""Workers in Core AI's stead that misbehave the way a runtime can."""

from __future__ import annotations

import os
import time
from multiprocessing.connection import Connection
from typing import Any


def main(handle: int) -> None:
    """Opens anything; crashes, hangs or refuses, as the input named ``do`` says."""
    connection = Connection(handle)
    connection.send(("ok", "hello"))
    while True:
        try:
            verb, *arguments = connection.recv()
        except EOFError:
            return
        connection.send(_answer(verb, *arguments))


def _answer(verb: str, *arguments: Any) -> tuple[str, Any]:
    if verb == "open":
        return "ok", {"inputs": ["do"], "outputs": ["pid"]}
    if verb == "answer":
        wishes = [request.operation for request in arguments[0]]
        for wish in wishes:
            _act(wish)
        if "refuse" in wishes:
            return "error", "RuntimeError: no"
        return "ok", [request.x for request in arguments[0]]
    wish = str(arguments[0]["do"])
    _act(wish)
    return ("error", "RuntimeError: no") if wish == "refuse" else ("ok", {"pid": os.getpid()})


def _act(wish: str) -> None:
    if wish == "crash":
        print("the runtime says farewell", flush=True)
        os.abort()
    if wish == "hang":
        time.sleep(60)
