"""Snapshots of a collection: flush, then GNU tar, which keeps the holes (a 4-point shard is 180 MB of them).

The archive holds the shard and meta.json; it is ours, not Qdrant's format, and recovering one is not offered.
tar runs in a child, the event loop goes on meanwhile; writes that arrive then may or may not be in it.
"""
import asyncio
import datetime
import hashlib
import os

from errors import ApiError, unsupported
from web import Reply

CHUNK = 1 << 20


def folder(request) -> str:
    collection = request.store.get(request.name)
    return os.path.join(request.store.snapshot_root, os.path.basename(collection.path))


def path_of(request) -> str:
    path = os.path.join(folder(request), os.path.basename(request.tail))
    if not request.tail.endswith(".snapshot") or not os.path.isfile(path):
        raise ApiError(404, f"Not found: Snapshot {request.tail} not found")
    return path


def describe(path: str) -> dict:
    try:
        with open(path + ".sha256") as file:
            checksum = file.read()
    except FileNotFoundError:
        checksum = None
    made = datetime.datetime.fromtimestamp(os.path.getmtime(path), datetime.timezone.utc)
    return {"name": os.path.basename(path), "creation_time": made.strftime("%Y-%m-%dT%H:%M:%S"),
            "size": os.path.getsize(path), "checksum": checksum}


def list_all(request):
    where = folder(request)
    names = sorted(os.listdir(where)) if os.path.isdir(where) else []
    return [describe(os.path.join(where, n)) for n in names if n.endswith(".snapshot")]


async def create(request):
    collection, where = request.store.get(request.name), folder(request)
    os.makedirs(where, exist_ok=True)
    collection.flush()
    collection.save()
    made = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d-%H-%M-%S")
    path = os.path.join(where, f"{collection.name}-{request.store.peer_id}-{made}.snapshot")
    tar = await asyncio.create_subprocess_exec(
        "tar", "--sparse", "-C", collection.path, "-cf", path + ".new", "shard", "meta.json",
        stderr=asyncio.subprocess.PIPE)
    _, said = await tar.communicate()
    if tar.returncode not in (0, 1):       # 1: a file changed while it was read
        raise ApiError(500, f"Service internal error: tar ended with {tar.returncode}: {said.decode()[:200]}")
    digest = hashlib.sha256()
    with open(path + ".new", "rb") as file:
        while block := file.read(CHUNK):
            digest.update(block)
            await asyncio.sleep(0)
    with open(path + ".sha256", "w") as file:
        file.write(digest.hexdigest())
    os.replace(path + ".new", path)
    return describe(path)


def delete(request):
    path = path_of(request)
    os.remove(path)
    if os.path.exists(path + ".sha256"):
        os.remove(path + ".sha256")
    return True


def download(request):
    """The file, or the one range asked for."""
    path = path_of(request)
    size, stat = os.path.getsize(path), os.stat(path)
    start, end, status = 0, size, 200
    wanted = request.headers.get("range", "")
    if wanted.startswith("bytes=") and "," not in wanted:
        start, end = byte_range(wanted[6:], size)
        status = 206
    headers = [(b"content-length", b"%d" % (end - start)), (b"accept-ranges", b"bytes"),
               (b"etag", b'"%x:%x:%x"' % (stat.st_ino, size, int(stat.st_mtime))),
               (b"content-disposition", b'attachment; filename="%s"' % os.path.basename(path).encode())]
    if status == 206:
        headers.append((b"content-range", b"bytes %d-%d/%d" % (start, end - 1, size)))
    return Reply(b"", b"application/octet-stream", status, tuple(headers), stream=blocks(path, start, end))


def byte_range(text: str, size: int) -> tuple[int, int]:
    first, _, last = text.partition("-")
    try:
        start = int(first) if first else max(0, size - int(last))
        end = min(size, int(last) + 1) if first and last else size
    except ValueError:
        start = end = size
    if start >= end:
        raise ApiError(416, "Range not satisfiable", headers=((b"content-range", b"bytes */%d" % size),))
    return start, end


def blocks(path: str, start: int, end: int):
    with open(path, "rb") as file:
        file.seek(start)
        while start < end:
            block = file.read(min(CHUNK, end - start))
            if not block:
                return
            start += len(block)
            yield block


def not_here(request):
    if request.name is not None:
        request.store.get(request.name)
    raise unsupported("this snapshot operation")


def list_none(request):
    return []
