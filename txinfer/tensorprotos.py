"""Tensors as TensorFlow writes them into messages; imports TensorFlow."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2

from .tensors import Array


def as_array(message: bytes) -> Array:
    """A serialised TensorProto as an array; strings as an object array of ``bytes``.

    Raises:
        ValueError: it is none.
    """
    try:
        array = tf.make_ndarray(tensor_pb2.TensorProto.FromString(message))
    except Exception as error:
        # protobuf's DecodeError has several homes; an unknown dtype is a TypeError.
        raise ValueError(f"a tensor cannot be read: {error}") from error
    return np.asarray(array)
