"""Every answer recorded from a real Qdrant goes through byte for byte, and no error is ever cached."""

import base64
import json
import re

import pytest
from lib import ROOT, FakeQdrant, head_of

FOLDER = ROOT.parent / "shared" / "golden"
NO_TOKEN = re.compile(r"[^\x21-\x7e]")


def records() -> list[dict]:
    out = []
    for path in sorted(FOLDER.glob("*.jsonl")):
        for line in path.read_text().splitlines():
            record = json.loads(line)
            if (
                "request" not in record and "info" in record
            ):  # memory.jsonl: two answers without their requests
                for target, key in (("", "info"), ("/memory", "memory")):
                    body = json.dumps({"result": record[key], "status": "ok", "time": 0.001})
                    out.append(
                        {
                            "file": path.stem,
                            "n": f"{record['collection']}{target}",
                            "request": {
                                "method": "GET",
                                "path": f"/collections/{record['collection']}{target}",
                                "headers": {},
                                "body": None,
                            },
                            "response": {
                                "status": 200,
                                "headers": [["content-type", "application/json"]],
                                "body": body,
                            },
                        }
                    )
            elif (
                isinstance(record.get("request"), dict)
                and isinstance(record.get("response"), dict)
                and "status" in record["response"]
            ):
                out.append({"file": path.stem, **record})
    return out


RECORDS = records() if FOLDER.is_dir() else []
pytestmark = pytest.mark.skipif(not RECORDS, reason="no recorded exchanges beside the project")


def body_of(part: dict) -> bytes | None:
    if part.get("body_base64"):
        return base64.b64decode(part["body_base64"])
    body = part.get("body")
    if body is None:
        return None
    return (body if isinstance(body, str) else json.dumps(body)).encode()


def raw_answer(record: dict) -> tuple[int, list[tuple[str, str]], bytes]:
    response = record["response"]
    headers = response["headers"].items() if isinstance(response["headers"], dict) else response["headers"]
    return (
        response["status"],
        [
            (n, v)
            for n, v in headers
            if n.lower() not in ("content-length", "transfer-encoding", "connection")
        ],
        body_of(response) or b"",
    )


def send(c, record: dict):
    request = record["request"]
    body = body_of(request)
    headers = [
        (n, v)
        for n, v in request["headers"].items()
        if n.lower() not in ("content-length", "host", "transfer-encoding")
    ]
    if body is not None:
        headers.append(("Content-Length", str(len(body))))
    c.send(head_of(request["method"], request["path"], headers) + (body or b""))
    return c.read(request["method"])


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
def test_recorded_answers_pass_byte_for_byte(fake: FakeQdrant, start, framing: str) -> None:
    q = start(fake.url, flags=["--cache", "off", "--rewrite", "off"])
    now: dict = {}

    def answer(x) -> None:
        status, headers, body = raw_answer(now)
        if x.request.method == "HEAD" or framing == "length":
            x.reply(status, body, headers, content_type="")
        elif framing == "chunked":
            x.chunked([body[:7], body[7:]] if len(body) > 7 else [body] if body else [], status, headers)
        else:
            x.send(
                f"HTTP/1.1 {status} X\r\n".encode()
                + b"".join(f"{n}: {v}\r\n".encode() for n, v in headers)
                + b"\r\n"
                + body
            )
            x.close()

    fake.handler = answer
    c = q.conn()
    for record in RECORDS:
        now = record
        r = send(c, record)
        status, headers, body = raw_answer(record)
        where = f"{record['file']} {record['n']}"
        assert r.status == status, where
        assert r.body == (b"" if record["request"]["method"] == "HEAD" else body), where
        left_out = ("content-length", "transfer-encoding", "connection", "date")
        assert [(n, v) for n, v in r.headers if n.lower() not in left_out] == [
            h for h in headers if h[0] != "date"
        ], where
        got = fake.last
        assert (got.method, got.target, got.body) == (
            record["request"]["method"],
            record["request"]["path"],
            body_of(record["request"]) or b"",
        ), where
        if (r.get("connection") or "").lower() == "close" or c.closed:
            c.close()
            c = q.conn()
    assert len(RECORDS) > 129
    c.close()


def test_no_recorded_error_is_ever_cached(fake: FakeQdrant, start) -> None:
    q = start(fake.url, flags=["--rewrite", "off"])
    now: dict = {}
    fake.handler = lambda x: x.reply(
        raw_answer(now)[0], raw_answer(now)[2], raw_answer(now)[1], content_type=""
    )
    checked = 0
    for record in RECORDS:
        if record["response"]["status"] == 200:
            continue
        now = record
        for _ in range(3):
            fake.forget()
            with q.conn() as c:
                r = send(c, record)
            assert r.status == record["response"]["status"] and not r.hit and len(fake.requests) == 1, record[
                "n"
            ]
        checked += 1
    assert checked > 30


def test_recorded_searches_are_cached_with_their_result_unchanged(fake: FakeQdrant, start) -> None:
    q = start(fake.url, flags=["--rewrite", "off"])
    now: dict = {}
    fake.handler = lambda x: x.reply(
        raw_answer(now)[0], raw_answer(now)[2], raw_answer(now)[1], content_type=""
    )
    hits = 0
    for record in RECORDS:
        request, response = record["request"], record["response"]
        if (
            response["status"] != 200
            or not re.search(r"/points/(search|query|scroll|count|recommend|discover)", request["path"])
            or "Origin" in request["headers"]
        ):
            continue
        now = record
        with q.conn() as c:
            first, second = send(c, record), send(c, record)
        if not second.hit:
            continue
        hits += 1
        assert second.status == 200
        before, after = first.json(), second.json()
        assert {k: v for k, v in before.items() if k not in ("time", "usage")} == {
            k: v for k, v in after.items() if k not in ("time", "usage")
        }, record["n"]
        if first.body.count(b'"time"') == 1:
            assert first.body.split(b'"time"')[0] == second.body.split(b'"time"')[0], record["n"]
    assert hits > 20
