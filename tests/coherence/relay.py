"""A TCP relay between a quiver and its Redis, in the loop of the test: can be cut, frozen, slowed down, reset, pointed
elsewhere, and made to talk nonsense."""

import asyncio
import re
import socket
import struct
from collections import deque
from typing import Any, Callable

COMMAND = re.compile(rb"(?:^|\r\n)\*\d+\r\n")  # where one begins


class Half(asyncio.Protocol):
    """One side of a relayed connection; what comes in goes to `other`."""

    def __init__(self, relay: "Relay", upward: bool):
        self.relay, self.upward = relay, upward
        self.transport: Any = None
        self.other: Half | None = None
        self.kept: list[bytes] = []
        self.late: deque[bytes] = deque()  # what Redis has said and the quiver hears after the delay
        self.closed = False

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.relay.halves.add(self)
        if self.upward:
            self.relay.accepted += 1
            asyncio.ensure_future(self.connect())
        elif self.other:
            self.other.flush()

    async def connect(self) -> None:
        other = Half(self.relay, False)
        other.other, self.other = self, other
        try:
            await asyncio.get_running_loop().create_connection(lambda: other, *self.relay.target)
        except OSError:
            self.transport.abort()

    def data_received(self, data: bytes) -> None:
        if self.upward:
            self.relay.sent(data)
        elif self.relay.delay or self.late:
            self.late.append(data)
            asyncio.get_running_loop().call_later(self.relay.delay, self.arrive)
            return
        self.kept.append(data)
        self.flush()

    def arrive(self) -> None:
        self.kept.append(self.late.popleft())
        self.flush()

    def flush(self) -> None:
        frozen = self.relay.frozen_up if self.upward else self.relay.frozen_down
        if frozen or not self.kept or self.other is None or self.other.transport is None:
            return
        data = b"".join(self.kept)
        self.kept.clear()
        if self.upward and self.relay.answers_itself and b"INFO" not in data:
            self.transport.write(self.relay.answers_itself * len(COMMAND.findall(data)))
        elif not self.other.transport.is_closing():
            self.other.transport.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        self.relay.halves.discard(self)
        if self.other is not None and self.other.transport is not None and not self.other.closed:
            self.other.transport.abort()

    def reset(self) -> None:
        if self.transport is None or self.closed:
            return
        sock = self.transport.get_extra_info("socket")
        if sock is not None:
            try:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            except OSError:
                pass
        self.transport.abort()


class Relay:
    def __init__(self, port: int, target: int):
        self.port, self.target = port, ("127.0.0.1", target)
        self.halves: set[Half] = set()
        self.frozen_up = self.frozen_down = False
        self.delay = 0.0  # seconds that each answer of Redis takes on its way
        self.answers_itself = b""  # to each command but INFO, instead of what Redis would say
        self.accepted = 0
        self.server: asyncio.Server | None = None
        self.waiting: list[tuple[Callable[[bytes], bool], asyncio.Future]] = []

    async def start(self) -> "Relay":
        self.server = await asyncio.get_running_loop().create_server(
            lambda: Half(self, True), "127.0.0.1", self.port
        )
        return self

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def sent(self, data: bytes) -> None:
        for condition, future in self.waiting:
            if not future.done() and condition(data):
                future.set_result(None)

    async def until_sent(self, condition: Callable[[bytes], bool], timeout: float) -> bool:
        """Until a piece of what the quiver sends fulfils the condition; False if none does in time."""
        future = asyncio.get_running_loop().create_future()
        self.waiting.append((condition, future))
        try:
            await asyncio.wait_for(future, timeout)
            return True
        except TimeoutError:
            return False
        finally:
            self.waiting.remove((condition, future))

    def freeze(self, up: bool = True, down: bool = True) -> None:
        """Connections stay, nothing passes: as when packets are lost. Directions: to Redis, from Redis."""
        self.frozen_up, self.frozen_down = up, down

    def thaw(self) -> None:
        """What was on its way arrives, late."""
        self.frozen_up = self.frozen_down = False
        for half in list(self.halves):
            half.flush()

    def reset_all(self) -> None:
        for half in list(self.halves):
            half.reset()

    def say(self, text: bytes) -> None:
        """To every quiver, unasked."""
        for half in list(self.halves):
            if half.upward and half.transport is not None and not half.closed:
                half.transport.write(text)

    async def refuse(self) -> None:
        """As when no server is there: connections are reset, new ones refused."""
        if self.server:
            self.server.close()
            self.server = None
        self.reset_all()

    async def stop(self) -> None:
        await self.refuse()
