"""The searches of a run, as clients send them, and what they must have become where quiver has rewritten them."""

import json
import math
import random
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / "build" / "bench"
sys.path.insert(0, str(ROOT / "tests" / "reference"))
import rewrite  # the rewrite said a second time

MODELS = {
    "mixtral": 4096, "hermes": 4096, "openchat": 4096, "yi34b": 4096, "deepseek": 4096,
    "phi3": 2048, "imp": 2048, "deepcoder": 1024, "general": 384,
}  # fmt: skip
SIZES = {384: "general", 1024: "deepcoder", 2048: "phi3", 4096: "mixtral"}  # dimensions: the collection that is searched
BODIES = 128  # different ones of each size
# Given to quiver by its environment, so that the bench does not depend on what conf/ says today.
RULES = {"hnsw_ef": 32, "quantization.rescore": True, "quantization.oversampling": 1.5}


def environment() -> dict[str, str]:
    """The rules as quiver reads them."""
    return {
        f"MODEL_SEARCH_DEFAULT_{knob.upper().replace('.', '_')}_{model.upper()}": json.dumps(value)
        for knob, value in RULES.items()
        for model in MODELS
    }


def path_of(model: str) -> str:
    return f"/collections/{model}/points/search"


def file_of(dim: int) -> Path:
    return OUT / f"search-{dim}.jsonl"


def unit_vector(rng: random.Random, dim: int) -> list[float]:
    """As embeddings are: of length one, doubles with all their digits."""
    numbers = [rng.gauss(0, 1) for _ in range(dim)]
    length = math.hypot(*numbers)
    return [n / length for n in numbers]


def search(vector: list[float]) -> bytes:
    return json.dumps({"vector": vector, "limit": 10, "with_payload": False}).encode()


def make() -> tuple[Path, Path]:
    """Writes a file for each size, and two with all of them: as sent, and as rewritten. Names those two."""
    OUT.mkdir(parents=True, exist_ok=True)
    sent, rewritten = [], []
    rules = {knob: {"default": value} for knob, value in RULES.items()}
    for dim in SIZES:
        rng = random.Random(dim)
        lines = [search(unit_vector(rng, dim)) for _ in range(BODIES)]
        file_of(dim).write_bytes(b"\n".join(lines) + b"\n")
        sent += lines
        rewritten += [rewrite.apply("search", line, rules) for line in lines]
    files = OUT / "sent.jsonl", OUT / "rewritten.jsonl"
    for file, lines in zip(files, (sent, rewritten)):
        file.write_bytes(b"\n".join(lines) + b"\n")
    return files
