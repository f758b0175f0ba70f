"""The plain way: FastAPI, and a call of the model in a thread for each request."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool

from .saved import Model

app = FastAPI()
model = Model()


def predict(values: Any) -> Any:
    """JSON rows in and out."""
    return model(model.array(values)).tolist()


@app.post("/")
async def call(request: Request) -> Any:
    """``{"x": rows}`` to ``{"y": rows}``."""
    body = await request.json()
    return {"y": await run_in_threadpool(predict, body["x"])}
