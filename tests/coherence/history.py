"""The judge: what did the model have when, and could an answer have been given between its question and its end?

An answer names the states it saw. It is right if there is one moment, not before the question was sent and not after
the answer was read, at which the model had all of them. That is stricter than what clients can tell apart by
themselves: read your writes, never backwards for one reader or between readers, aliases as of then, and no earlier
incarnation all follow from it. Times are the machine's monotonic clock, the same for all processes.
"""

from bisect import bisect_right
from dataclasses import dataclass

FOREVER = 1 << 62


@dataclass
class Stale:
    seen: str  # what the answer said
    begun: int
    ended: int
    behind: int  # nanoseconds from the last moment it was right to the question
    why: str

    def __str__(self) -> str:
        return f"{self.behind / 1e6:.2f} ms too old: {self.seen}; {self.why}"


class History:
    def __init__(self) -> None:
        self.names: dict[str, tuple[list[int], list[int]]] = {}  # times, incarnations
        self.states: dict[int, list[int]] = {}  # incarnation -> when each state began
        self.tags: dict[int, list[str]] = {}  # incarnation -> the write that made each state
        self.writes: dict[str, tuple[int, int, int]] = {}  # tag -> received, applied, answered
        self.until = 0  # all is known up to here
        self._parsed: dict[bytes, list[tuple[str, int, int]]] = {}

    def learn(self, log: list[list], now: int) -> None:
        for kind, *row in log:
            if kind == "s":
                uid, state, at, tag = row
                times = self.states.setdefault(uid, [])
                assert len(times) == state, "states come in order"
                times.append(at)
                self.tags.setdefault(uid, []).append(tag)
            elif kind == "n":
                name, uid, at = row
                times, uids = self.names.setdefault(name, ([], []))
                if not uids or uids[-1] != uid:
                    times.append(at)
                    uids.append(uid)
            else:
                tag, received, applied, answered = row
                self.writes[tag] = (received, applied, answered)
        self.until = now

    def spans(self, name: str, uid: int, state: int, begun: int, ended: int) -> list[tuple[int, int]]:
        """When, between begun and ended, the name meant that state of that incarnation."""
        times = self.states.get(uid)
        if times is None or state >= len(times):
            return []
        first = max(times[state], begun)
        last = min(times[state + 1] if state + 1 < len(times) else FOREVER, ended)
        return [
            (max(a, first), min(b, last)) for a, b in self.meant(name, uid) if max(a, first) <= min(b, last)
        ]

    def meant(self, name: str, uid: int) -> list[tuple[int, int]]:
        times, uids = self.names.get(name, ([], []))
        ends = times[1:] + [FOREVER]
        return [(a, b) for a, b, u in zip(times, ends, uids) if u == uid]

    def parse(self, seen: bytes) -> list[tuple[str, int, int]]:
        """`name=uid.state name=uid.state`"""
        found = self._parsed.get(seen)
        if found is None:
            found = []
            for part in seen.decode().split(" "):
                name, _, rest = part.rpartition("=")
                uid, _, state = rest.partition(".")
                found.append((name, int(uid), int(state)))
            if len(self._parsed) > 100_000:
                self._parsed.clear()
            self._parsed[seen] = found
        return found

    def judge(self, seen: bytes, begun: int, ended: int) -> Stale | None:
        parts = self.parse(seen)
        if len(parts) == 1:
            name, uid, state = parts[0]
            times, (since, uids) = self.states.get(uid, []), self.names.get(name, ([], []))
            if (  # the usual case, at once: still that incarnation, and its state lasted until the question or longer
                uids and uids[-1] == uid and since[-1] <= begun
                and state < len(times) and times[state] <= ended
                and (state + 1 >= len(times) or times[state + 1] >= begun)
            ):  # fmt: skip
                return None
        spans = [(begun, ended)]
        for name, uid, state in parts:
            own = self.spans(name, uid, state, begun, ended)
            spans = [(max(a, c), min(b, d)) for a, b in spans for c, d in own if max(a, c) <= min(b, d)]
        return None if spans else self.explain(seen, parts, begun, ended)

    def judge_missing(self, names: tuple[str, ...], begun: int, ended: int) -> Stale | None:
        """A 404: one of the names meant nothing at some moment."""
        for name in names:
            times, uids = self.names.get(name, ([], []))
            if not times or times[0] > begun:
                return None
            at = max(bisect_right(times, begun) - 1, 0)
            while at < len(times) and times[at] <= ended:
                if uids[at] == 0:
                    return None
                at += 1
        return Stale(f"404 for {names}", begun, ended, 0, "all of them were there all the time")

    def explain(self, seen: bytes, parts: list[tuple[str, int, int]], begun: int, ended: int) -> Stale:
        behind, why = 0, "its states were never true together"
        for name, uid, state in parts:
            times = self.states.get(uid)
            if times is None or state >= len(times):
                return Stale(
                    seen.decode(), begun, ended, 0, f"{name} never had it: not an answer of the model"
                )
            if state + 1 < len(times) and times[state + 1] < begun and begun - times[state + 1] > behind:
                behind, tag = begun - times[state + 1], self.tags[uid][state + 1]
                why = f"{name} had {len(times) - state - 1} later states; the next was made by {tag}"
                received, applied, answered = self.writes.get(tag, (0, 0, 0))
                if answered and answered < begun:
                    why += f", answered {(begun - answered) / 1e6:.2f} ms before the question"
                elif received:
                    why += f", received {(begun - received) / 1e6:.2f} ms before the question and not answered by then"
            left = [b for _, b in self.meant(name, uid)]
            if not left:
                return Stale(seen.decode(), begun, ended, 0, f"{name} never meant incarnation {uid}")
            if left[-1] < begun and begun - left[-1] > behind:
                behind = begun - left[-1]
                at = bisect_right(self.names[name][0], begun) - 1
                now = self.names[name][1][at]
                why = f"{name} meant incarnation {now or 'nothing'} by then, no more {uid}"
        return Stale(seen.decode(), begun, ended, behind, why)
