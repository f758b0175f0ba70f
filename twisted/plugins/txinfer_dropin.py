"""Tells twistd of its ``tfinfer`` subcommand; imports nothing of txinfer."""

from __future__ import annotations

from twisted.application.service import ServiceMaker

tfinfer = ServiceMaker(
    "txinfer", "txinfer.tap", "Serve a TensorFlow SavedModel over HTTP", "tfinfer"
)
