"""Errors in Qdrant's shape: {"status":{"error":TEXT},"time":T}.

Handlers raise, web.py catches and renders. FormatError is for bodies that do not deserialise: its place in
the text ("at line 1 column N") is known only where the body is, so web.py adds it.
"""


class ApiError(Exception):
    """An answer other than 200. `instant` errors come from extractors and report time 0.0, as Qdrant's do."""

    def __init__(self, status: int, text: str, instant: bool = False, headers: tuple = ()):
        super().__init__(text)
        self.status, self.text, self.instant, self.headers = status, text, instant, headers


class FormatError(Exception):
    """The body is JSON but not what the route expects; becomes 400."""


def no_collection(name: str) -> ApiError:
    return ApiError(404, f"Not found: Collection `{name}` doesn't exist!")


def no_lookup(name: str) -> ApiError:
    return ApiError(404, f"Not found: Collection {name} not found")


def no_point(point_id) -> ApiError:
    return ApiError(404, f"Not found: No point with id {point_id} found")


def wrong_input(text: str) -> ApiError:
    return ApiError(400, f"Wrong input: {text}")


def bad_request(text: str) -> ApiError:
    return ApiError(400, f"Bad request: {text}")


def invalid(field: str, value, must: str) -> ApiError:
    """A validator refused a value: 422."""
    text = f"Validation error in JSON body: [{field}: value {show(value)} invalid, must be {must}]"
    return ApiError(422, text, instant=True)


def bad_query(text: str) -> ApiError:
    return ApiError(400, f"Deserialize error in query parameters: {text}", instant=True)


def unsupported(what: str) -> ApiError:
    return ApiError(
        501, f"Not implemented: {what} is not available in the embedded engine, use a Qdrant server"
    )


def no_inference() -> ApiError:
    return ApiError(
        500,
        "Service internal error: InferenceService is not initialized. Please check if it was "
        "properly configured and initialized during startup.",
    )


def show(value) -> str:
    """A JSON value as serde names it in messages."""
    if value is True or value is False:
        return str(value).lower()
    return str(value)


def describe(value) -> str:
    """`invalid type: <this>, expected ...`"""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return f"boolean `{show(value)}`"
    if isinstance(value, int):
        return f"integer `{value}`"
    if isinstance(value, float):
        return f"floating point `{value}`"
    if isinstance(value, str):
        return f'string "{value}"'
    return "sequence" if isinstance(value, list) else "map"


def wrong_type(value, expected: str) -> FormatError:
    return FormatError(f"invalid type: {describe(value)}, expected {expected}")


def missing(field: str) -> FormatError:
    return FormatError(f"missing field `{field}`")


def need_map(value, what: str) -> dict:
    """The value if it is an object; 400 otherwise."""
    if type(value) is not dict:
        raise wrong_type(value, what)
    return value


def need_list(value, what: str) -> list:
    if type(value) is not list:
        raise wrong_type(value, what)
    return value


def field(doc, key: str):
    """doc[key], or 400 if doc is no object or has no such key."""
    if key not in need_map(doc, f"an object with `{key}`"):
        raise missing(key)
    return doc[key]


def from_engine(exc: BaseException) -> ApiError:
    """The binding raises bare exceptions with text only; the text decides the status."""
    text = str(exc)
    if text.startswith("No point with id"):
        return ApiError(404, f"Not found: {text} found")
    if text.startswith("Service runtime error") or not isinstance(exc, Exception):
        return ApiError(500, f"Service internal error: {text}")
    if isinstance(exc, (TypeError, ValueError, OverflowError)):
        return ApiError(
            400, f"Format error in JSON body: {text.splitlines()[0] if text else 'invalid value'}"
        )
    return wrong_input(text)
