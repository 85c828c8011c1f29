"""Objects that black-box tests are written with: Quiver, FakeQdrant, Redis, Conn, wait_until."""

from .conn import (
    Conn,
    ConnClosed,
    ProtocolError,
    Response,
    a_search,
    head_of,
    request,
    unlike,
)
from .engine import Engine
from .fakeqdrant import Exchange, FakeQdrant, Request
from .ports import free_port
from .quiver import ROOT, Quiver, quiver_binary
from .redis import Redis
from .wait import wait_until

__all__ = [
    "a_search",
    "unlike",
    "Conn",
    "ConnClosed",
    "Engine",
    "Exchange",
    "FakeQdrant",
    "ProtocolError",
    "Quiver",
    "ROOT",
    "Redis",
    "Request",
    "Response",
    "free_port",
    "head_of",
    "quiver_binary",
    "request",
    "wait_until",
]
