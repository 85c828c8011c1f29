"""What quiver's rewrite must do to the bytes of a body, said a second time: a plain parser that keeps positions, and a list of edits.

apply(op_name, body, rules) gives the bytes that the upstream must get. rules: knob -> {"default" | "force" | "min" | "max": value}, as in
{"hnsw_ef": {"default": 64, "max": 512}, "quantization.rescore": {"force": True}}; a value is a bool, a number, or the text to write.
generate(rng) makes one (op_name, method, path, body). Written from the rules alone, not from the C code; slow on purpose.
"""

from __future__ import annotations

import json
import random
import re
from dataclasses import dataclass, field

DEPTH_MAX = 64
NODES_MAX = 65536
LOOKUPS_MAX = 64
LOOKUP_TEXT_MAX = 1530
NUMBER_TEXT_MAX = 63

# operation -> (path behind the collection's points, shape, batch)
OPS = {
    "search": ("search", "search", False),
    "search_batch": ("search/batch", "search", True),
    "search_groups": ("search/groups", "search", False),
    "recommend": ("recommend", "search", False),
    "recommend_batch": ("recommend/batch", "search", True),
    "recommend_groups": ("recommend/groups", "search", False),
    "discover": ("discover", "search", False),
    "discover_batch": ("discover/batch", "search", True),
    "query": ("query", "query", False),
    "query_batch": ("query/batch", "query", True),
    "query_groups": ("query/groups", "query", False),
}

KINDS = {
    "hnsw_ef": "uint",
    "exact": "bool",
    "quantization.ignore": "bool",
    "quantization.rescore": "bool",
    "quantization.oversampling": "real",
    "indexed_only": "bool",
}
NULLABLE = {"hnsw_ef", "quantization.rescore", "quantization.oversampling"}
PLAIN = [k for k in KINDS if "." not in k]
GROUPED = [k for k in KINDS if "." in k]

NODE_KEYS = {
    "search": {"params", "lookup_from", "with_lookup", "vector", "target", "positive", "negative", "context"},
    "query": {"params", "prefetch", "query", "lookup_from", "with_lookup"},
}
INPUT_KEYS = {"text", "image", "object", "model", "sample"}
EXAMPLES = {"positive", "negative"}


class Unknown(Exception):
    """The body is not understood with certainty: it passes as it is."""


# ---- JSON with positions ----


@dataclass
class Value:
    kind: str  # object array string number true false null
    start: int
    end: int = 0
    members: list["Member"] = field(default_factory=list)
    items: list["Value"] = field(default_factory=list)


@dataclass
class Member:
    key: str
    escaped: bool
    value: Value


_BLANKS = re.compile(rb"[ \t\n\r]*")
_STRING = re.compile(rb'"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"')
_NUMBER = re.compile(rb"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_UUID = re.compile(rb'"(?:[0-9a-fA-F]{32}|[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})"')
_UINT = re.compile(rb"(?:0|[1-9][0-9]*)")


class Parser:
    def __init__(self, text: bytes):
        self.text = text
        self.at = 0

    def blanks(self) -> None:
        self.at = _BLANKS.match(self.text, self.at).end()

    def next_byte(self) -> bytes:
        self.blanks()
        return self.text[self.at:self.at + 1]

    def take(self, what: bytes) -> None:
        if self.next_byte() != what:
            raise Unknown(f"expected {what!r} at {self.at}")
        self.at += 1

    def pattern(self, regex: re.Pattern[bytes]) -> bytes:
        found = regex.match(self.text, self.at)
        if not found:
            raise Unknown(f"malformed at {self.at}")
        self.at = found.end()
        return found.group()

    def document(self) -> Value:
        value = self.value(0)
        self.blanks()
        if self.at != len(self.text):
            raise Unknown("text behind the value")
        return value

    def value(self, depth: int) -> Value:
        first = self.next_byte()
        out = Value("", self.at)
        if first in (b"{", b"["):
            if depth >= DEPTH_MAX:
                raise Unknown("too deep")
            out.kind = "object" if first == b"{" else "array"
            self.members(out, depth + 1)
        elif first == b'"':
            out.kind = "string"
            self.pattern(_STRING)
        elif first in (b"n", b"t", b"f"):
            out.kind = {b"n": "null", b"t": "true", b"f": "false"}[first]
            word = out.kind.encode()
            if self.text[self.at:self.at + len(word)] != word:
                raise Unknown("not a word of JSON")
            self.at += len(word)
        else:
            out.kind = "number"
            self.pattern(_NUMBER)
        out.end = self.at
        return out

    def members(self, out: Value, depth: int) -> None:
        close = b"}" if out.kind == "object" else b"]"
        self.at += 1
        if self.next_byte() == close:
            self.at += 1
            return
        while True:
            if out.kind == "object":
                self.blanks()
                raw = self.pattern(_STRING)
                self.take(b":")
                out.members.append(Member(json.loads(raw), b"\\" in raw, self.value(depth)))
            else:
                out.items.append(self.value(depth))
            if self.next_byte() == close:
                self.at += 1
                return
            self.take(b",")


def pick(obj: Value, names: set[str]) -> dict[str, Value]:
    """The members that matter, each at most once and written plainly."""
    found: dict[str, Value] = {}
    for member in obj.members:
        if member.key not in names:
            continue
        if member.escaped:
            raise Unknown(f"{member.key} with escapes")
        if member.key in found:
            raise Unknown(f"{member.key} twice")
        found[member.key] = member.value
    return found


# ---- the rules ----


def text_of(value: object) -> bytes:
    if isinstance(value, bool):
        return b"true" if value else b"false"
    return str(value).encode()


def bounded(rule: dict, kind: str, text: bytes) -> bytes:
    if kind == "bool":
        return text
    if "min" in rule and float(text) < float(text_of(rule["min"])):
        text = text_of(rule["min"])
    if "max" in rule and float(text) > float(text_of(rule["max"])):
        text = text_of(rule["max"])
    return text


class Reference:
    def __init__(self, body: bytes, rules: dict[str, dict]):
        self.body = body
        self.rules = rules
        self.edits: list[tuple[int, int, bytes]] = []
        self.lookups: list[str] = []
        self.uncacheable = False
        self.n_nodes = 0

    def wanted(self, knob: str) -> bytes | None:
        rule = self.rules.get(knob, {})
        for which in ("force", "default"):
            if which in rule:
                return bounded(rule, KINDS[knob], text_of(rule[which]))
        return None

    def written(self, knobs: list[str]) -> list[bytes]:
        """The members that set these knobs (full names), as far as anything is wanted of them."""
        out = []
        for knob in knobs:
            text = self.wanted(knob)
            if text is not None:
                out.append(b'"%s":%s' % (knob.split(".")[-1].encode(), text))
        return out

    def whole(self) -> list[bytes]:
        """The members of a `params` of which nothing is there, in the order of the knobs."""
        before, after = self.written(["hnsw_ef", "exact"]), self.written(["indexed_only"])
        group = self.written(GROUPED)
        return before + ([b'"quantization":{%s}' % b",".join(group)] if group else []) + after

    def insert(self, obj: Value, members: list[bytes]) -> None:
        if members:
            self.edits.append((obj.start + 1, obj.start + 1, b",".join(members) + (b"," if obj.members else b"")))

    def replace(self, value: Value, text: bytes) -> None:
        self.edits.append((value.start, value.end, text))

    # -- params --

    def knob(self, knob: str, value: Value) -> None:
        kind, text = KINDS[knob], self.body[value.start:value.end]
        if value.kind == "null" and knob in NULLABLE:
            if (wanted := self.wanted(knob)) is not None:
                self.replace(value, wanted)
            return
        if kind == "bool":
            right = value.kind in ("true", "false")
        elif kind == "uint":
            right = value.kind == "number" and bool(_UINT.fullmatch(text)) and int(text) < 2**64
        else:
            right = value.kind == "number" and len(text) <= NUMBER_TEXT_MAX and abs(float(text)) != float("inf")
        if not right:
            raise Unknown(f"{knob} has the wrong type")
        rule = self.rules.get(knob, {})
        new = self.wanted(knob) if "force" in rule else bounded(rule, kind, text)
        if (new != text) if kind == "bool" else (float(new) != float(text)):
            self.replace(value, new)

    def object_or_null(self, value: Value) -> bool:
        if value.kind not in ("object", "null"):
            raise Unknown("neither an object nor null")
        return value.kind == "object"

    def group(self, value: Value) -> None:
        if not self.object_or_null(value):
            if members := self.written(GROUPED):
                self.replace(value, b"{%s}" % b",".join(members))
            return
        found = pick(value, {k.split(".")[1] for k in GROUPED})
        self.insert(value, self.written([k for k in GROUPED if k.split(".")[1] not in found]))
        for name, knob_value in found.items():
            self.knob("quantization." + name, knob_value)

    def params(self, value: Value) -> None:
        if not self.object_or_null(value):
            if members := self.whole():
                self.replace(value, b"{%s}" % b",".join(members))
            return
        found = pick(value, set(PLAIN) | {"quantization"})
        missing = []
        for name in ("hnsw_ef", "exact", "quantization", "indexed_only"):
            if name in found:
                continue
            if name != "quantization":
                missing += self.written([name])
            elif group := self.written(GROUPED):
                missing.append(b'"quantization":{%s}' % b",".join(group))
        self.insert(value, missing)
        for name, member in found.items():
            if name == "quantization":
                self.group(member)
            else:
                self.knob(name, member)

    # -- nodes --

    def lookup(self, value: Value, name_alone: bool) -> None:
        if value.kind == "null":
            return
        if value.kind == "object":
            value = pick(value, {"collection"}).get("collection")
            if value is None:
                return
        elif not name_alone:
            raise Unknown("lookup of the wrong type")
        text = self.body[value.start:value.end]
        if value.kind != "string" or len(text) > LOOKUP_TEXT_MAX:
            raise Unknown("lookup's name of the wrong type")
        name = json.loads(text)
        if name not in self.lookups:
            self.lookups.append(name)
        if len(self.lookups) > LOOKUPS_MAX:
            raise Unknown("too many lookups")

    def inputs(self, value: Value, where: str) -> None:
        """where: "query" itself, an "input" below it, "ids" (a list of examples), or in a "formula", whose strings stand for themselves."""
        keys = set()
        for member in value.members:
            if member.key in INPUT_KEYS:
                if member.escaped:
                    raise Unknown(f"{member.key} with escapes")
                keys.add(member.key)
            below = "input"
            if where == "formula" or (where == "query" and member.key in ("formula", "defaults") and not member.escaped):
                below = "formula"
            elif member.key in EXAMPLES and not member.escaped:
                below = "ids"
            self.inputs(member.value, below)
        for item in value.items:
            is_id = where == "ids" and _UUID.fullmatch(self.body[item.start:item.end])
            if item.kind == "string" and where != "formula" and not is_id:
                self.uncacheable = True  # a text or a model's name: fields in order
            self.inputs(item, "formula" if where == "formula" else "input")
        if ("model" in keys and keys & {"text", "image", "object"}) or (where == "query" and "sample" in keys):
            self.uncacheable = True

    def node(self, value: Value, shape: str) -> None:
        if value.kind != "object":
            raise Unknown("not an object where a search belongs")
        self.n_nodes += 1
        if self.n_nodes > NODES_MAX:
            raise Unknown("too many searches")
        found = pick(value, NODE_KEYS[shape])
        if "params" in found:
            self.params(found["params"])
        elif members := self.whole():
            self.insert(value, [b'"params":{%s}' % b",".join(members)])
        for name, member in found.items():
            if name == "prefetch":
                if member.kind not in ("object", "array", "null"):
                    raise Unknown("prefetch of the wrong type")
                for each in member.items if member.kind == "array" else [member] if member.kind == "object" else []:
                    self.node(each, shape)
            elif name in ("lookup_from", "with_lookup"):
                self.lookup(member, name == "with_lookup")
            elif name != "params":
                self.inputs(member, "query" if name == "query" else "ids" if name in EXAMPLES else "input")

    def run(self, shape: str, batch: bool) -> None:
        top = Parser(self.body).document()
        if top.kind != "object":
            raise Unknown("not an object")
        if not batch:
            self.node(top, shape)
            return
        searches = pick(top, {"searches"}).get("searches")
        if searches is None:
            return
        if searches.kind != "array":
            raise Unknown("searches of the wrong type")
        for item in searches.items:
            self.node(item, shape)

    def result(self) -> bytes:
        out, at = [], 0
        for start, end, text in sorted(self.edits):
            out += [self.body[at:start], text]
            at = end
        return b"".join(out) + self.body[at:]


@dataclass
class Facts:
    known: bool
    body: bytes
    uncacheable: bool = True
    lookups: list[str] = field(default_factory=list)
    n_nodes: int = 0
    n_edits: int = 0


def scan(op_name: str, body: bytes, rules: dict[str, dict]) -> Facts:
    _, shape, batch = OPS[op_name]
    reference = Reference(body, rules)
    try:
        reference.run(shape, batch)
    except Unknown:
        return Facts(False, body)
    return Facts(True, reference.result(), reference.uncacheable, reference.lookups, reference.n_nodes, len(reference.edits))


def apply(op_name: str, body: bytes, rules: dict[str, dict]) -> bytes:
    return scan(op_name, body, rules).body


# ---- bodies ----

SPELLINGS = ("absent", "null", "present", "escaped", "duplicate")


class Raw(bytes):
    """Text of a JSON value as it stands."""


class Obj(list):
    """Members in order; keys may come twice and may be Raw, quotes included."""


def write(rng: random.Random, value: object) -> bytes:
    """Text of value with blanks strewn in where JSON allows them."""
    gap = lambda: rng.choice((b"", b"", b"", b"", b" ", b"\n  ", b"\t", b"\r\n"))  # noqa: E731
    if isinstance(value, Raw):
        return bytes(value)
    if isinstance(value, Obj):
        members = [gap() + write(rng, k) + gap() + b":" + gap() + write(rng, v) + gap() for k, v in value]
        return b"{" + (b",".join(members) or gap()) + b"}"
    if isinstance(value, list):
        return b"[" + (b",".join(gap() + write(rng, v) + gap() for v in value) or gap()) + b"]"
    return json.dumps(value, ensure_ascii=rng.random() < 0.5).encode()


def escape_key(rng: random.Random, key: str) -> Raw:
    at = rng.randrange(len(key))
    spelled = rng.choice(("\\u%04x", "\\u%04X")) % ord(key[at])
    return Raw(('"' + key[:at] + spelled + key[at + 1:] + '"').encode())


def number(rng: random.Random) -> Raw:
    x = rng.uniform(-1, 1)
    return Raw(rng.choice((f"{x:.6f}", f"{x:.3e}", f"{x:.1E}", "0", "-0.0", "1", "1.0", "-3")).encode())


def vector(rng: random.Random) -> list:
    return [number(rng) for _ in range(rng.choice((0, 1, 4, 17, 64, 300)))]


STRINGS = ("plain", 'with "quotes"', "back\\slash", '{"params":{"hnsw_ef":1}}', "],[{}", "\u00fcml\u00e4ut \U0001f680", "\n\t\u0001", "")


def filter_of(rng: random.Random) -> Obj:
    decoy = Obj([("params", Obj([("hnsw_ef", 7)])), ("prefetch", [1, Obj([])]), ("text", rng.choice(STRINGS)), ("model", "m")])
    return Obj([("must", [Obj([("key", rng.choice(STRINGS)), ("match", Obj([("value", rng.choice(STRINGS))]))]), decoy])])


def knob_value(rng: random.Random, knob: str) -> object:
    if rng.random() < 0.08:
        return None
    if rng.random() < 0.04:
        return rng.choice(("64", Raw(b"64.0"), Raw(b"-1"), Raw(b"1e400"), [], Obj([]), Raw(b"18446744073709551616"), Raw(b"0.5")))
    if KINDS[knob] == "bool":
        return rng.random() < 0.5
    if KINDS[knob] == "uint":
        return Raw(str(rng.choice((0, 1, 16, 64, 128, 129, 500, 4096, 2**63))).encode())
    return Raw(rng.choice((b"1", b"1.0", b"1.5", b"2.50", b"3", b"1e1", b"10.0", b"0.1E+2")))


def knob_members(rng: random.Random, knobs: list[str]) -> list:
    chosen = [k for k in knobs if rng.random() < 0.45]
    rng.shuffle(chosen)
    out = [(k.split(".")[-1], knob_value(rng, k)) for k in chosen]
    if out and rng.random() < 0.04:
        out.append(out[0])
    if out and rng.random() < 0.04:
        out[0] = (escape_key(rng, out[0][0]), out[0][1])
    return out


def params_of(rng: random.Random) -> Obj:
    members = knob_members(rng, PLAIN)
    if rng.random() < 0.5:
        group = rng.choice((None, Obj([]), Obj(knob_members(rng, GROUPED)), Obj(knob_members(rng, GROUPED)), Obj([("new", [1, "]"])])))
        members.insert(rng.randrange(len(members) + 1), ("quantization", group))
    if rng.random() < 0.3:
        members.insert(rng.randrange(len(members) + 1), ("acorn", Obj([("enable", True), ("hnsw_ef", 3)])))
    return Obj(members)


def spell_params(rng: random.Random, spelling: str) -> list:
    if spelling == "absent":
        return []
    if spelling == "null":
        return [("params", None)]
    if spelling == "escaped":
        return [(escape_key(rng, "params"), params_of(rng))]
    if spelling == "duplicate":
        return [("params", rng.choice((None, params_of(rng)))), ("params", params_of(rng))]
    wrong = rng.choice(([], "x", 3, True)) if rng.random() < 0.02 else None
    return [("params", params_of(rng) if wrong is None else wrong)]


UUIDS = ("550e8400-e29b-41d4-a716-446655440000", "550E8400e29b41d4a716446655440000")


def examples(rng: random.Random) -> list:
    odd = rng.choice((["a text", "a model"], "id", list(UUIDS), UUIDS[0][:-1], Obj([("text", "a"), ("model", "m")])))
    return [1, vector(rng), rng.choice(UUIDS)] + ([odd] if rng.random() < 0.2 else [])


def examples_key(rng: random.Random) -> object:
    return escape_key(rng, "positive") if rng.random() < 0.1 else "positive"


def query_of(rng: random.Random) -> object:
    forms = [lambda: vector(rng), lambda: 17, lambda: UUIDS[0], lambda: [vector(rng), vector(rng)], lambda: list(UUIDS),
             lambda: Obj([("fusion", "rrf")]), lambda: Obj([("recommend", Obj([(examples_key(rng), examples(rng)), ("negative", [])]))]),
             lambda: Obj([("nearest", rng.choice((["a text", "a model"], [Obj([("url", "x")]), "m"], UUIDS[1])))]),
             lambda: Obj([("formula", Obj([("sum", [Obj([("match", Obj([("any", ["b"])]))]), "x"])])), ("defaults", Obj([("x", ["y"])]))]),
             lambda: Obj([("nearest", vector(rng)), ("defaults", ["a", Obj([("positive", ["b"])])])]),
             lambda: Obj([("context", [Obj([("positive", ["a text", "a model"]), ("formula", ["a"])])])]),
             lambda: Obj([("nearest", Obj([("indices", [1, 2]), ("values", [number(rng), number(rng)])]))]),
             lambda: Obj([("sample", "random")]), lambda: Obj([("nearest", Obj([("text", rng.choice(STRINGS)), ("model", "m")]))]),
             lambda: Obj([("formula", Obj([("sum", ["$score", 1])]))]), lambda: ["a text", "a model"], lambda: Obj([])]
    return rng.choice(forms)()


def lookup_members(rng: random.Random) -> list:
    out = []
    if rng.random() < 0.15:
        out.append(("lookup_from", rng.choice((None, Obj([("collection", rng.choice(STRINGS)), ("vector", "v")])))))
    if rng.random() < 0.1:
        out.append(("with_lookup", rng.choice((None, "other", Obj([("collection", "c\u00fc"), ("with_payload", True)]), 5))))
    return out


def example_members(rng: random.Random, op_name: str) -> list:
    if op_name.startswith("recommend"):
        return [(examples_key(rng), examples(rng)), ("negative", []), ("strategy", "best_score")]
    if op_name.startswith("discover"):
        return [("target", vector(rng)), ("context", [Obj([("positive", 1), ("negative", 2)])])]
    return [("vector", rng.choice((vector(rng), Obj([("name", "v"), ("vector", vector(rng))]))))]


def prefetch_of(rng: random.Random, op_name: str, spelling: str, depth: int) -> object:
    """A prefetch in which a node `depth` levels down has `params` spelled that way."""
    node = node_of(rng, op_name, spelling, depth - 1)
    if rng.random() < 0.5:
        return node
    others = [node_of(rng, op_name, rng.choice(SPELLINGS[:3]), 0) for _ in range(rng.randrange(3))]
    others.insert(rng.randrange(len(others) + 1), node)
    return others


def node_of(rng: random.Random, op_name: str, spelling: str, depth: int) -> Obj:
    query = OPS[op_name][1] == "query"
    own = spelling if depth == 0 or not query else rng.choice(SPELLINGS[:3])
    if own == "absent" and rng.random() < 0.1 and depth == 0:
        return Obj([])
    members = spell_params(rng, own) + lookup_members(rng)
    members += [("query", query_of(rng))] if query and rng.random() < 0.8 else [] if query else example_members(rng, op_name)
    if rng.random() < 0.5:
        members.append(("filter", filter_of(rng)))
    if rng.random() < 0.5:
        members.append(("limit", 10))
    if rng.random() < 0.2:
        members.append((escape_key(rng, "unheard_of"), Obj([("params", 1)])))
    if query and depth > 0:
        members.append(("prefetch", prefetch_of(rng, op_name, spelling, depth)))
    elif query and rng.random() < 0.1:
        members.append(("prefetch", rng.choice((None, [], 5))))
    elif not query and rng.random() < 0.1:
        members.append(("prefetch", Obj([("params", None)])))
    rng.shuffle(members)
    return Obj(members)


def damage(rng: random.Random, body: bytes) -> bytes:
    deep = DEPTH_MAX + rng.choice((-3, 0, 5))
    return rng.choice((body + b" x", body[:rng.randrange(len(body))], b"\xef\xbb\xbf" + body, body + b"}", b"", b"null", b"[" + body + b"]",
                       b'{"deep":' + b"[" * deep + b"]" * deep + b"," + body.lstrip()[1:]))


def generate(rng: random.Random, op_name: str | None = None, spelling: str | None = None, depth: int | None = None,
             collection: str = "c1", damaged: float = 0.03) -> tuple[str, str, str, bytes]:
    """One request of an operation that takes `params`. What is not given is drawn; depth counts prefetches around the spelled node."""
    op_name = op_name or rng.choice(list(OPS))
    spelling = spelling or rng.choice(SPELLINGS)
    depth = rng.randrange(4) if depth is None else depth
    path, _, batch = OPS[op_name]
    top = node_of(rng, op_name, spelling, depth)
    if batch:
        others = [node_of(rng, op_name, rng.choice(SPELLINGS[:3]), rng.randrange(2)) for _ in range(rng.randrange(3))]
        others.insert(rng.randrange(len(others) + 1), top)
        top = Obj([("searches", others)])
    body = rng.choice((b"", b"", b" ", b"\n")) + write(rng, top) + rng.choice((b"", b"", b"\n"))
    if rng.random() < damaged:
        body = damage(rng, body)
    return op_name, "POST", f"/collections/{collection}/points/{path}", body


def generate_rules(rng: random.Random) -> dict[str, dict]:
    """Rules as a configuration could hold them; may be empty."""
    rules: dict[str, dict] = {}
    for knob, kind in KINDS.items():
        rule: dict = {}
        draw = {"bool": lambda: rng.random() < 0.5, "uint": lambda: rng.choice((8, 64, 128, 600)),
                "real": lambda: rng.choice((1.0, 1.5, 2.5, "3"))}[kind]
        if rng.random() < 0.4:
            rule["default"] = draw()
        if rng.random() < 0.2:
            rule["force"] = draw()
        if kind != "bool" and rng.random() < 0.3:
            rule["min"] = {"uint": 32, "real": 1.25}[kind]
        if kind != "bool" and rng.random() < 0.3:
            rule["max"] = {"uint": 256, "real": 2.0}[kind]
        if rule:
            rules[knob] = rule
    return rules
