"""Records every request that the emulator receives, and the modules that each step loads, from outside their packages.

Python imports this module at start-up when its folder is on PYTHONPATH. In the emulator's process it wraps the
application that uvicorn serves; each request is appended to the file that GEMTUNE_REQUEST_LOG names, as a line of JSON.
GEMTUNE_ANSWER_LOG gets a line when a response has ended: status (0: cut off), time, digest of the request.
A step's process appends its component and what it imports to the file that GEMTUNE_MODULE_LOG names when it ends.
"""

import atexit
import builtins
import hashlib
import json
import os
import sys
import time
from contextlib import suppress
from itertools import accumulate
from urllib.parse import unquote

LOG = os.environ.get("GEMTUNE_REQUEST_LOG", "")
ANSWER_LOG = os.environ.get("GEMTUNE_ANSWER_LOG", "")
MODULE_LOG = os.environ.get("GEMTUNE_MODULE_LOG", "")
COMPONENT = "--function_to_execute"


def recording(app):
    """The ASGI application, with its requests written to LOG before they are answered."""

    async def recorded(scope, receive, send):
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        pending = [{"type": "http.request", "body": body, "more_body": False}]

        async def replay():
            return pending.pop() if pending else await receive()

        request = {
            "method": scope["method"],
            "path": unquote(scope["path"]),
            "query": unquote(scope["query_string"].decode()),
            "type": dict(scope["headers"]).get(b"content-type", b"").decode(),
            "body": body.decode("utf-8", "replace"),
        }
        with open(LOG, "a", encoding="utf-8") as out:
            out.write(json.dumps(request, ensure_ascii=False) + "\n")
        await app(scope, replay, send)

    return recorded


def answering(app):
    """The ASGI application, with the status of each response written to ANSWER_LOG after its last byte."""

    async def answered(scope, receive, send):
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        digest, state = hashlib.sha256(), {"status": 0, "complete": False}

        async def received():
            message = await receive()
            digest.update(message.get("body", b""))
            return message

        async def sent(message):
            await send(message)
            state["status"] = message.get("status", state["status"])
            state["complete"] = not message.get("more_body", message["type"] != "http.response.body")

        await app(scope, received, sent)
        answer = {
            "method": scope["method"],
            "path": unquote(scope["path"]),
            "status": state["status"] if state["complete"] else 0,
            "time": time.time(),
            "body": digest.hexdigest(),
        }
        with open(ANSWER_LOG, "a", encoding="utf-8") as out:
            out.write(json.dumps(answer) + "\n")

    return answered


WRAPPERS = [wrap for log, wrap in ((LOG, recording), (ANSWER_LOG, answering)) if log]

if WRAPPERS and any(part.partition(".")[0] == "emulator" for part in sys.orig_argv):
    with suppress(ImportError):
        import uvicorn

        configure = uvicorn.Config.__init__

        def wrapped(self, app, *rest, **options):
            for wrap in WRAPPERS:
                app = wrap(app)
            configure(self, app, *rest, **options)

        uvicorn.Config.__init__ = wrapped


def record(component, modules):
    with open(MODULE_LOG, "a", encoding="utf-8") as out:
        out.write(json.dumps({"component": component, "modules": sorted(modules)}) + "\n")


def record_imports():
    """In a fork that executes a step: what its own code imports, as many modules are loaded before it."""
    names, real = set(), builtins.__import__

    def recorded(name, globals=None, locals=None, fromlist=(), level=0):
        if level == 0:
            for whole in (name, *(f"{name}.{part}" for part in fromlist or ())):
                names.update(accumulate(whole.split("."), lambda package, part: f"{package}.{part}"))
        return real(name, globals, locals, fromlist, level)

    builtins.__import__ = recorded
    atexit.register(lambda: record(sys.argv[sys.argv.index(COMPONENT) + 1], names))


if MODULE_LOG and any("pipelines.step_server" in part for part in sys.orig_argv):
    os.register_at_fork(after_in_child=record_imports)
