"""What scripts/bench compares with: a receiver of callbacks as one writes it with FastAPI and asyncpg.

One insert and so one commit for each request. Run by uvicorn with uvloop and httptools; the bench tries one and two
workers, and takes the better. BENCH_DATABASE_URL names the database.
"""

import contextlib
import hashlib
import os
import time
import uuid
from datetime import datetime, timezone

import asyncpg
import orjson
from fastapi import FastAPI, Request, Response

APP = "1400000001"
OK = b'{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0}'
INSERT = """
    insert into events (id, sdk_app_id, family, command, event_time, received_at,
        call_id, room_id, operator, client_ip, platform, payload)
    values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
    on conflict do nothing"""


@contextlib.asynccontextmanager
async def lifespan(app: FastAPI):
    async with asyncpg.create_pool(os.environ["BENCH_DATABASE_URL"], min_size=16, max_size=16) as pool:
        app.state.pool = pool
        print("ready", flush=True)
        yield


app = FastAPI(lifespan=lifespan, openapi_url=None)


def id_of(event_time: int, body: bytes) -> uuid.UUID:
    """The event's time in ms, then SHA-256 of the body."""
    content = bytearray(event_time.to_bytes(6, "big") + hashlib.sha256(body).digest()[:10])
    content[6] = (content[6] & 0x0F) | 0x80
    content[8] = (content[8] & 0x3F) | 0x80
    return uuid.UUID(bytes=bytes(content))


def moment(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, timezone.utc)


@app.post("/")
async def callback(request: Request) -> Response:
    query = request.query_params
    if query.get("SdkAppid") != APP:
        return Response(status_code=400)
    body = await request.body()
    event = orjson.loads(body)
    command = event.get("CallbackCommand", "unknown")
    received_at = time.time_ns() // 1_000_000
    event_time = event.get("EventTime")
    if not isinstance(event_time, int):
        event_time = received_at
    info = event.get("CallInfo") or {}
    record = event.get("CallRecord") or {}
    room = event.get("RoomInfo") or {}
    await request.app.state.pool.execute(
        INSERT,
        id_of(event_time, body),
        int(APP),
        command.split(".")[0].lower(),
        command,
        moment(event_time),
        moment(received_at),
        info.get("CallId") or record.get("CallId") or event.get("CallId"),
        event.get("RoomId") or info.get("RoomId") or record.get("RoomId") or room.get("RoomId") or event.get("GroupId"),
        event.get("Operator_Account") or record.get("Caller_Account") or event.get("From_Account"),
        query.get("ClientIP"),
        query.get("OptPlatform"),
        body.decode(),
    )
    return Response(OK, media_type="application/json")
