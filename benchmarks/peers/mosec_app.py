"""mosec: a front in Rust that batches, the model in a worker process."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from mosec import Server, Worker
from mosec.mixin import MsgpackMixin

from .saved import Model

# As many as there are connections at most, and hardly any waiting for more.
MOST_ROWS = 64
LONGEST_WAIT = 1


class Infer(Worker):
    """``{"x": rows}`` to ``{"y": rows}``, in mosec's own JSON."""

    def __init__(self) -> None:
        self.model = Model()

    def forward(self, data: list[Any]) -> list[Any]:
        """Answer a batch of requests of one row each."""
        rows = self.model(self.model.array([item["x"][0] for item in data]))
        return [{"y": [row.tolist()]} for row in rows]


class Packed(MsgpackMixin, Infer):
    """``{"x": bytes}`` to ``{"y": bytes}``, in MessagePack."""

    def forward(self, data: list[Any]) -> list[Any]:
        """Answer a batch of pictures of one row each."""
        pictures = [np.frombuffer(item["x"], np.float32) for item in data]
        rows = self.model(np.stack(pictures).reshape(-1, 160, 160, 3))
        return [{"y": row.tobytes()} for row in rows]


if __name__ == "__main__":
    server = Server()
    worker = Packed if "msgpack" in os.environ["WIRE"] else Infer
    server.append_worker(
        worker, num=1, max_batch_size=MOST_ROWS, max_wait_time=LONGEST_WAIT
    )
    server.run()
