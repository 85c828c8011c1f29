"""The rows of proxy/qdrant/ops.def, and which of them a request is."""

import re
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

TABLE = Path(__file__).resolve().parents[2] / "proxy" / "qdrant" / "ops.def"
ROW = re.compile(r'\bOP\((\w+),\s*"(\w+)",\s*"(\w+)",\s*"([^"]+)",\s*(CLASS_\w+),\s*(BODY_\w+),\s*([^)]*)\)')


class Op(NamedTuple):
    name: str
    method: str
    pattern: str
    kind: str  # CLASS_...
    takes_params: bool
    has_wait: bool

    def matches(self, method: str, path: str) -> bool:
        want = [s for s in self.pattern.split("/") if s]
        have = [s for s in path.split("?")[0].split("/") if s]
        if want and want[-1] == "**":
            want.pop()
            have = have[: len(want)] if len(have) >= len(want) else have
        same = len(want) == len(have) and all(w in ("{}", "{c}", unquote(h)) for w, h in zip(want, have))
        return same and method == self.method


def read_ops() -> list[Op]:
    text = re.sub(r"/\*.*?\*/", "", TABLE.read_text(), flags=re.S)
    return [Op(m[2], m[3], m[4], m[5], "OP_PARAMS" in m[7], "OP_HAS_WAIT" in m[7]) for m in ROW.finditer(text)]


OPS = read_ops()


def op_of(method: str, path: str) -> Op | None:
    """The first row that matches, as the proxy takes it."""
    return next((op for op in OPS if op.matches(method, path)), None)
