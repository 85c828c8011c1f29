"""The parameters after `?`: strict where Qdrant is (booleans, numbers, duplicates), unknown ones ignored."""
from urllib.parse import parse_qsl

from errors import bad_query

BOOL = {"true": True, "false": False}
CONSISTENCY = ("majority", "quorum", "all", "")
ORDERING = ("weak", "medium", "strong")
KNOWN = ("wait", "timeout", "ordering", "consistency")


def parse(request, raw: bytes, kind: str) -> None:
    """Fills request.query, .wait and .timeout (seconds or None). kind: "read", "write", "config" or ""."""
    request.query, request.wait, request.timeout = {}, False, None
    if not raw:
        return
    for key, value in parse_qsl(raw.decode("latin-1"), keep_blank_values=True):
        if key in request.query and key in KNOWN:
            raise bad_query(f"duplicate field `{key}`")
        request.query[key] = value
    if kind not in ("read", "write", "config"):
        return
    query = request.query
    if "timeout" in query:
        request.timeout = number(query["timeout"], may_be_zero=kind == "write")
    if kind == "write" and "wait" in query:
        if query["wait"] not in BOOL:
            raise bad_query("provided string was not `true` or `false`")
        request.wait = BOOL[query["wait"]]
    if kind == "write" and query.get("ordering", "weak") not in ORDERING:
        raise bad_query(f"unknown variant `{query['ordering']}`, expected one of `weak`, `medium`, `strong`")
    if kind == "read" and query.get("consistency", "") not in CONSISTENCY:
        if not query["consistency"].isdigit() or int(query["consistency"]) < 1:
            raise bad_query(f"failed to parse read consistency: {query['consistency']}, expected a number "
                            f"from 1 up, majority, quorum or all")


def number(text: str, may_be_zero: bool) -> int:
    if not text.isdigit():
        raise bad_query("invalid digit found in string")
    if int(text) == 0 and not may_be_zero:
        raise bad_query("invalid value: integer `0`, expected a nonzero u64")
    return int(text)
