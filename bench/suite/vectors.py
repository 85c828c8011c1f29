"""Vectors such as models make: clusters in few of many dimensions, and noise; and which of them are truly nearest."""

import numpy as np

INNER = 32  # dimensions that tell the clusters apart
PER_CLUSTER = 100


def clustered(dim: int, n: int, seed: int, points: int) -> np.ndarray:
    """n vectors of length one out of a population of so many points; another seed, others of the same population."""
    basis = np.random.default_rng(dim).standard_normal((INNER, dim), dtype=np.float32) / np.float32(np.sqrt(dim))
    centres = np.random.default_rng([dim, 1]).standard_normal((max(points // PER_CLUSTER, 4), INNER), dtype=np.float32)
    rng = np.random.default_rng([dim, 2, seed])
    inner = centres[rng.integers(len(centres), size=n)] + np.float32(0.5) * rng.standard_normal((n, INNER), dtype=np.float32)
    out = inner @ basis + np.float32(0.5 / np.sqrt(dim)) * rng.standard_normal((n, dim), dtype=np.float32)
    return out / np.linalg.norm(out, axis=1, keepdims=True)


def nearest(points: np.ndarray, queries: np.ndarray, k: int) -> np.ndarray:
    """Indices of the k points with the largest cosine, for each query; all of them compared."""
    scores = queries @ points.T
    found = np.argpartition(-scores, k, axis=1)[:, :k]
    order = np.argsort(-np.take_along_axis(scores, found, axis=1), axis=1)
    return np.take_along_axis(found, order, axis=1)


def recall(found: list[list[int]], true: np.ndarray) -> float:
    return float(np.mean([len(set(f) & set(t.tolist())) / len(t) for f, t in zip(found, true)]))
