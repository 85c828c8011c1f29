"""Request bodies: decompress, parse, and refuse duplicate keys as serde does (orjson keeps the last one).

Looking for duplicates costs almost nothing: a parsed document accounts for a number of quotes (two for each
key and string); if the body holds more, a key was dropped or a string holds an escape, and only then the
slow parser looks properly. Long arrays of numbers are never walked.
"""
import json
import re
import zlib

import orjson

from errors import ApiError, FormatError

MAX_BODY = 32 * 1024 * 1024
# Below these keys Qdrant takes any JSON, and the last of two equal keys wins.
FREE_FORM = ("payload", "payloads", "metadata", "defaults")
WINDOW = {"gzip": 31, "deflate": 15}


class Pairs(dict):
    """An object that remembers which key came twice (None if none did)."""
    twice = None


def decompress(body: bytes, coding: str) -> bytes:
    """Returns the decoded body; 400 for a coding this server has not or for bytes that are not in it."""
    coding = coding.strip().lower()
    if coding in ("", "identity"):
        return body
    if coding not in WINDOW:
        raise ApiError(400, f"Format error in JSON body: content encoding {coding} is not supported, "
                            f"gzip and deflate are", instant=True)
    try:
        unpacker = zlib.decompressobj(WINDOW[coding])
        out = unpacker.decompress(body, MAX_BODY + 1)
    except zlib.error as exc:
        raise ApiError(400, f"Payload error: {exc}", instant=True) from None
    if len(out) > MAX_BODY:
        raise too_long_stream()
    if not unpacker.eof:
        raise ApiError(400, "Payload error: unexpected end of compressed body", instant=True)
    return out


def too_long(size: int) -> ApiError:
    text = f"JSON payload ({size} bytes) is larger than allowed (limit: {MAX_BODY} bytes)."
    return ApiError(400, text, instant=True)


def too_long_stream() -> ApiError:
    return ApiError(400, f"JSON payload has exceeded limit ({MAX_BODY} bytes).", instant=True)


def parse(body: bytes) -> dict:
    """Returns the document, always an object."""
    try:
        doc = orjson.loads(body)
    except orjson.JSONDecodeError as exc:
        raise FormatError(reason(body, exc)) from None
    if type(doc) is not dict:
        raise FormatError(f"invalid type: {type(doc).__name__}, expected struct")
    if body.count(b'"') != count_quotes(doc):
        refuse_twice(body)
    return doc


def reason(body: bytes, exc: orjson.JSONDecodeError) -> str:
    if exc.pos >= len(body.rstrip()):
        return "EOF while parsing a value"
    return re.sub(r":? line \d+ column \d+.*", "", str(exc)) or "expected value"


def count_quotes(value) -> int:
    """The quotes a document without escapes and duplicates has in its text."""
    kind = type(value)
    if kind is str:
        return 2
    if kind is dict:
        return 2 * len(value) + sum(count_quotes(v) for v in value.values() if type(v) in (str, dict, list))
    if kind is list:
        if not value or type(value[0]) in (float, int):
            return 0
        return sum(count_quotes(v) for v in value if type(v) in (str, dict, list))
    return 0


def remember(pairs: list) -> Pairs:
    out = Pairs()
    for key, value in pairs:
        if key in out and out.twice is None:
            out.twice = key
        out[key] = value
    return out


def refuse_twice(body: bytes) -> None:
    stack = [json.loads(body, object_pairs_hook=remember)]
    while stack:
        node = stack.pop()
        if isinstance(node, Pairs):
            if node.twice is not None and node.twice not in FREE_FORM:
                raise FormatError(f"duplicate field `{node.twice}`")
            stack.extend(v for k, v in node.items() if k not in FREE_FORM)
        elif isinstance(node, list):
            stack.extend(v for v in node if isinstance(v, (Pairs, list)))
