"""A Qdrant stand-in in one process: its REST over the embedded engine. See README.md beside this file.

    build/venv/bin/python docker/edge/serve.py --port 16333 --data DIR [--host 127.0.0.1] [--log FILE]

Prints one line when it is ready. SIGTERM and SIGINT close the shards and exit with 0.
"""
import argparse
import contextlib
import gc
import os
import signal
import sys

import uvicorn

from router import Router
from store import Store
from web import App


class Server(uvicorn.Server):
    """uvicorn, but it says when it listens and a signal that ended it is not raised again afterwards."""
    greeting = ""

    async def startup(self, sockets=None):
        await super().startup(sockets)
        if self.started:
            print(self.greeting, flush=True)

    @contextlib.contextmanager
    def capture_signals(self):
        before = {s: signal.signal(s, self.handle_exit) for s in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def arguments():
    parser = argparse.ArgumentParser(
        description="Qdrant's REST over the embedded engine; for tests and quickstart"
    )
    parser.add_argument("--port", type=int, default=16333)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--data", required=True, help="directory for collections, made if absent")
    parser.add_argument("--log", help="file for one line per request and for traces of faults")
    return parser.parse_args()


def main() -> int:
    args = arguments()
    os.makedirs(args.data, exist_ok=True)
    log = open(args.log, "a", buffering=1) if args.log else None
    try:
        store = Store(args.data)
    except BlockingIOError:
        print(f"edge: {args.data} is in use by another server, give each its own --data", file=sys.stderr)
        return 1
    # Bodies are trees of lists and floats without cycles: collecting seldom saves a tenth of the time.
    gc.freeze()
    gc.set_threshold(50_000, 50, 100)
    settings = uvicorn.Config(
        App(store, Router(), log),
        host=args.host,
        port=args.port,
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="on",
        log_level="error",
        access_log=False,
        server_header=False,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=3,
        backlog=2048,
    )
    server = Server(settings)
    server.greeting = f"edge ready on http://{args.host}:{args.port} data={args.data} pid={os.getpid()}"
    server.run()
    return 0 if server.started else 1


if __name__ == "__main__":
    sys.exit(main())
