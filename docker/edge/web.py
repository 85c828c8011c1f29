"""The ASGI side: path, query string, body, dispatch, envelope, compression, CORS.

One event loop, one thread, the engine called inline: the binding holds the interpreter lock through every
call, so threads would add cost and no speed.
"""
import inspect
import sys
import time
import traceback
import zlib
from urllib.parse import unquote

import orjson

import errors
import jsonbody
import query_string
from errors import ApiError, FormatError

VARY = b"Origin, Access-Control-Request-Method, Access-Control-Request-Headers"
PREFLIGHT_METHODS = b"TRACE, PATCH, POST, OPTIONS, PUT, DELETE, HEAD, CONNECT, GET"
JSON = b"application/json"
TEXT = b"text/plain; charset=utf-8"
CODINGS = {"gzip": 31, "deflate": 15}


class Request:
    """What a handler sees. `tail` is the variable end of the path, as a point's id; `doc` the parsed body."""
    __slots__ = ("store", "method", "name", "tail", "doc", "query", "headers", "wait", "timeout")


class Reply:
    """An answer that is not an envelope: health texts, metrics, the root document, files."""
    __slots__ = ("status", "content_type", "body", "headers", "stream")

    def __init__(
        self, body: bytes, content_type: bytes = TEXT, status: int = 200, headers: tuple = (), stream=None
    ):
        self.body, self.content_type, self.status = body, content_type, status
        self.headers, self.stream = headers, stream


def encode(value) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS)


def seconds_since(start: float) -> bytes:
    return orjson.dumps(round(time.perf_counter() - start, 9))


def envelope(result, start: float) -> bytes:
    return b'{"result":%b,"status":"ok","time":%b}' % (encode(result), seconds_since(start))


def refusal(exc: ApiError, start: float) -> bytes:
    took = b"0.0" if exc.instant else seconds_since(start)
    return b'{"status":{"error":%b},"time":%b}' % (orjson.dumps(exc.text), took)


def normalise(raw: bytes) -> list:
    """Path segments as Qdrant routes them: repeated and trailing slashes merged, percent escapes decoded."""
    return [unquote(part) for part in raw.decode("latin-1").split("/") if part]


def pick_coding(accept: str):
    """Returns None for identity, a coding's name, or False if nothing acceptable is left."""
    weights = {}
    for part in accept.lower().split(","):
        name, _, rest = part.strip().partition(";")
        try:
            weights[name.strip()] = float(rest.split("=")[1]) if "=" in rest else 1.0
        except ValueError:
            continue
    best = max((c for c in CODINGS if weights.get(c, 0) > 0), key=lambda c: weights[c], default=None)
    if best and weights[best] >= weights.get("identity", 0):
        return best
    return False if weights.get("identity", 1) == 0 else None


class Gone(Exception):
    """The client left before its body was whole: nothing may be done with the part that came."""


class App:
    def __init__(self, store, router, log=None):
        self.store, self.router, self.log = store, router, log

    async def __call__(self, scope, receive, send):
        if scope["type"] == "lifespan":
            return await self.lifespan(receive, send)
        start = time.perf_counter()
        headers = {k.decode("latin-1"): v.decode("latin-1") for k, v in scope["headers"]}
        try:
            reply = await self.answer(scope, headers, receive, start)
        except Gone:
            return
        except Exception as exc:      # a fault of ours: answer, keep the trace, go on serving
            self.trace(exc)
            reply = Reply(refusal(ApiError(500, f"Service internal error: {exc}"), start), JSON, 500)
        await self.write(reply, scope["method"], headers, send)
        if self.log:
            took = int((time.perf_counter() - start) * 1e6)
            path = scope["raw_path"].decode("latin-1")
            self.log.write(f"{time.time():.6f} {scope['method']} {path} {reply.status} {took}\n")

    async def lifespan(self, receive, send):
        while True:
            kind = (await receive())["type"]
            if kind == "lifespan.startup":
                self.store.start()
                await send({"type": "lifespan.startup.complete"})
            elif kind == "lifespan.shutdown":
                self.store.close()
                await send({"type": "lifespan.shutdown.complete"})
                return

    def trace(self, exc: BaseException) -> None:
        out = self.log or sys.stderr
        traceback.print_exception(exc, file=out)
        out.flush()

    async def answer(self, scope, headers: dict, receive, start: float) -> Reply:
        method = scope["method"]
        if method == "OPTIONS" and "access-control-request-method" in headers:
            return Reply(b"", b"", headers=((b"access-control-allow-methods", PREFLIGHT_METHODS),))
        size = 0
        try:
            route, name, tail = self.router.find(method, normalise(scope["raw_path"]))
            if route is None:
                return Reply(b"", b"", 404)
            body = b""
            if route.body is not None:
                body = await read_body(headers, receive)
                size = len(body)
            request = Request()
            request.store, request.method, request.name, request.tail = self.store, method, name, tail
            request.headers = headers
            query_string.parse(request, scope["query_string"], route.kind)
            request.doc = jsonbody.parse(body) if route.body == "json" else {}
            result = self.call(route, request)
            if inspect.iscoroutine(result):
                result = await result
            if isinstance(result, Reply):
                return result
            return Reply(envelope(result, start), JSON)
        except FormatError as exc:
            text = f"Format error in JSON body: {exc} at line 1 column {size}"
            return Reply(refusal(ApiError(400, text, instant=True), start), JSON, 400)
        except ApiError as exc:
            return Reply(refusal(exc, start), JSON, exc.status, exc.headers)

    def call(self, route, request):
        try:
            return route.handler(request)
        except (ApiError, FormatError, AttributeError, NameError, KeyError, IndexError, AssertionError):
            raise
        except (KeyboardInterrupt, SystemExit):
            raise
        except (
            BaseException
        ) as exc:  # the binding raises bare Exception, and panics derive from BaseException
            if isinstance(exc, OSError) or not isinstance(exc, Exception):
                self.trace(exc)
            raise errors.from_engine(exc) from exc

    async def write(self, reply: Reply, method: str, headers: dict, send) -> None:
        vary, coding = VARY, None
        accept = headers.get("accept-encoding")
        body = reply.body
        if accept and body and reply.stream is None:
            coding = pick_coding(accept)
            if coding is False:
                reply = Reply(b"br, gzip, deflate, zstd", b"", 406)
                body, vary, coding = reply.body, b"Accept-Encoding, " + VARY, None
        out = [(b"vary", b"accept-encoding, " + VARY if coding else vary)]
        if reply.content_type:
            out.append((b"content-type", reply.content_type))
        if coding:
            packer = zlib.compressobj(1, zlib.DEFLATED, CODINGS[coding])
            body = packer.compress(body) + packer.flush()
            out += [(b"content-encoding", coding.encode()), (b"transfer-encoding", b"chunked")]
        elif reply.stream is None:
            out.append((b"content-length", b"%d" % len(body)))
        if "origin" in headers:
            out.append((b"access-control-allow-origin", headers["origin"].encode("latin-1")))
        out.extend(reply.headers)
        await send({"type": "http.response.start", "status": reply.status, "headers": out})
        if reply.stream is not None:
            for chunk in reply.stream:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            body = b""
        await send({"type": "http.response.body", "body": body})


async def part(receive) -> dict:
    message = await receive()
    if message["type"] == "http.disconnect":
        raise Gone
    return message


async def read_body(headers: dict, receive) -> bytes:
    """The whole body, decoded; 400 past the limit, as Qdrant does (not 413)."""
    length = headers.get("content-length", "0")
    if length.isdigit() and int(length) > jsonbody.MAX_BODY:
        raise jsonbody.too_long(int(length))
    message = await part(receive)
    body = message.get("body", b"")
    if message.get("more_body"):
        parts, size = [body], len(body)
        while message.get("more_body"):
            message = await part(receive)
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > jsonbody.MAX_BODY:
                raise jsonbody.too_long_stream()
        body = b"".join(parts)
    coding = headers.get("content-encoding")
    return jsonbody.decompress(body, coding) if coding else body
