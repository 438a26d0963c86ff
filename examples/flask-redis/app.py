"""A page that says how often it was seen. The count is in Redis, so that it outlives this process."""

from __future__ import annotations

import os

from flask import Flask
from redis import Redis

app = Flask(__name__)
redis = Redis(host=os.environ.get("REDIS_HOST", "redis"), socket_connect_timeout=2, socket_timeout=2)


@app.get("/")
def count() -> str:
    """Count this request in, and say how many there were."""
    return f"This page was seen {redis.incr('seen')} times.\n"
