"""SavedModels that use their variables in every way that TensorFlow knows.

``BUILDERS`` maps a name to a function that writes one; ``CASES`` to what its
``serving_default`` is given.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from tests.saved_models import Builder, build, one, predict, save, spec

v1 = tf.compat.v1

BUILDERS: dict[str, Builder] = {}
CASES: dict[str, Any] = {}

NUMBERS = np.array([1, -2, 3.5], np.float32)
INDICES = np.array([0, 2, 1, 2], np.int64)


def builder(x: Any) -> Callable[[Builder], Builder]:
    """Enter a builder under its name, with an input for the model."""

    def enter(function: Builder) -> Builder:
        BUILDERS[function.__name__] = function
        CASES[function.__name__] = x
        return function

    return enter


def variables(*values: Any) -> Any:
    """A module that has these variables as ``a``, ``b`` and so on."""
    module = tf.Module()
    for name, value in zip("abcdef", values, strict=False):
        setattr(module, name, tf.Variable(value, name=name))
    return module


def of_numbers(path: str, function: Any, module: Any) -> None:
    """Save ``[-1]`` float32 to ``y``."""
    one(path, lambda x: {"y": function(x)}, spec([None]), module=module)


@builder(INDICES)
def gathered(path: str) -> None:
    """Rows of an embedding, which is read by ``ResourceGather``."""
    module = variables(np.arange(12, dtype="float32").reshape(4, 3))
    one(
        path,
        lambda x: {"y": tf.gather(module.a, x), "again": module.a.sparse_read(x)},
        spec([None], tf.int64),
        module=module,
    )


@builder(np.array([[0, 1], [2, 2]], np.int32))
def gathered_nd(path: str) -> None:
    """Single numbers of it, by ``ResourceGatherNd``."""
    module = variables(np.arange(12, dtype="float32").reshape(4, 3))
    one(
        path,
        lambda x: {"y": module.a.gather_nd(x)},
        spec([None, 2], tf.int32),
        module=module,
    )


@builder(INDICES)
def gathered_in_batches(path: str) -> None:
    """``ResourceGather`` with ``batch_dims``, the same indices for each row."""
    module = variables(np.arange(12, dtype="float32").reshape(4, 3))

    def run(x: Any) -> Any:
        picked = tf.raw_ops.ResourceGather(
            resource=module.a.handle,
            indices=tf.reshape(x, [4, 1]),
            dtype=tf.float32,
            batch_dims=1,
        )
        return {"y": picked}

    one(path, run, spec([4], tf.int64), module=module)


@builder(NUMBERS)
def shaped(path: str) -> None:
    """The shape of a variable."""
    module = variables(np.zeros((2, 5), "float32"))

    def run(x: Any) -> Any:
        shape = tf.raw_ops.VariableShape(input=module.a.handle)
        return x * tf.cast(shape[1], tf.float32)

    of_numbers(path, run, module)


@builder(NUMBERS)
def branches(path: str) -> None:
    """Different variables in the branches of ``tf.cond`` and ``tf.switch_case``."""
    module = variables(2.0, 3.0, 5.0)

    def run(x: Any) -> Any:
        doubled = tf.cond(tf.size(x) > 2, lambda: x * module.a, lambda: x + module.b)
        return tf.switch_case(
            tf.size(x) % 3,
            [lambda: doubled * module.c, lambda: doubled - module.a, lambda: x],
        )

    of_numbers(path, run, module)


@builder(NUMBERS)
def looped(path: str) -> None:
    """Variables in a loop, one in its condition."""
    module = variables(1.5, 20.0)

    def run(x: Any) -> Any:
        while tf.reduce_sum(x) < module.b:
            x = x * module.a + 1.0
        return x

    of_numbers(path, run, module)


@builder(NUMBERS)
def nested(path: str) -> None:
    """A function called with one variable and then with another."""
    module = variables(2.0, 3.0)
    module.inner = tf.function(lambda x, handle: x * handle + handle)

    def run(x: Any) -> Any:
        scaled = tf.function(lambda y: module.inner(y, module.a) + module.b)
        return scaled(x) + module.inner(x, module.b)

    of_numbers(path, run, module)


@builder(NUMBERS)
def compiled(path: str) -> None:
    """A function for XLA."""
    module = variables(2.0)
    module.inner = tf.function(lambda x: x * module.a, jit_compile=True)
    of_numbers(path, lambda x: module.inner(x) + 1.0, module)


@builder(NUMBERS)
def own_gradient(path: str) -> None:
    """A function with a gradient of its own."""
    module = variables(2.0)

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def scaled(x: Any) -> Any:
        return x * module.a, lambda grad, variables=None: (grad, [grad])

    of_numbers(path, scaled, module)


@builder(NUMBERS)
def kinds(path: str) -> None:
    """Variables of many dtypes."""
    module = variables(
        *(np.array(2, kind) for kind in ("float64", "int32", "uint8", "float16"))
    )
    module.text = tf.Variable([b"p\xff", b""])
    module.flag = tf.Variable(True)
    module.half = tf.Variable(tf.constant(3, tf.bfloat16))

    def run(x: Any) -> Any:
        numbers = (module.a, module.b, module.c, module.d, module.flag, module.half)
        total = tf.add_n([tf.cast(number, tf.float32) for number in numbers])
        text = tf.repeat(tf.strings.reduce_join(module.text), tf.size(x))
        return {"y": x + total, "text": text}

    one(path, run, spec([None]), module=module)


@builder(NUMBERS)
def fixed(path: str) -> None:
    """A variable that is given back as it is, and one of no elements."""
    module = variables([1.0, 2.0], np.zeros((0, 3), "float32"))

    def run(x: Any) -> Any:
        return {"y": x, "a": module.a.read_value(), "b": module.b.read_value()}

    one(path, run, spec([None]), module=module)


@builder(NUMBERS)
def partly_written(path: str) -> None:
    """One signature writes a variable; another is only read."""
    module = variables(0.0, 3.0)

    def count(x: Any) -> Any:
        return {"y": module.a.assign_add(tf.reduce_sum(x)) * module.b}

    def serving_default(x: Any) -> Any:
        return {"y": x * module.b + module.a}

    signatures = {
        function.__name__: tf.function(function, input_signature=[spec([None])])
        for function in (count, serving_default)
    }
    save(path, signatures, module)


@builder(NUMBERS)
def generator(path: str) -> None:
    """A generator of random numbers, whose state a run writes."""
    module = variables(2.0)
    module.generator = tf.random.Generator.from_seed(1)

    def run(x: Any) -> Any:
        noise = module.generator.uniform(tf.shape(x), maxval=0.5)
        return tf.floor(noise) + x * module.a

    of_numbers(path, run, module)


def v1_session(path: str, function: Any, **options: Any) -> None:
    """Save ``[-1]`` float32 to ``y`` by TensorFlow 1."""
    with tf.Graph().as_default():
        x = v1.placeholder(tf.float32, [None])
        build(path, ["serve"], predict({"x": x}, {"y": function(x)}), **options)


def v1_variable(name: str, value: float, use_resource: bool) -> Any:
    """A variable of TensorFlow 1."""
    return v1.get_variable(name, initializer=value, use_resource=use_resource)


def v1_control_flow(path: str, use_resource: bool) -> None:
    """Variables in loops and branches of TensorFlow 1: Enter, Switch, Merge."""

    def run(x: Any) -> Any:
        a = v1_variable("a", 2.0, use_resource)
        b = v1_variable("b", 3.0, use_resource)
        v1.disable_control_flow_v2()
        try:
            looped = v1.while_loop(
                lambda i, _: i < 3, lambda i, y: (i + 1, y * a), [tf.constant(0), x]
            )[1]
            return v1.cond(tf.size(x) > 2, lambda: looped + b, lambda: looped * b)
        finally:
            v1.enable_control_flow_v2()

    v1_session(path, run)


@builder(NUMBERS)
def v1_control_flow_resource(path: str) -> None:
    """With resources."""
    v1_control_flow(path, use_resource=True)


@builder(NUMBERS)
def v1_control_flow_reference(path: str) -> None:
    """With references."""
    v1_control_flow(path, use_resource=False)


@builder(INDICES.astype("float32"))
def v1_partitioned(path: str) -> None:
    """A variable in parts, looked up."""

    def run(x: Any) -> Any:
        parts = v1.get_variable(
            "parts",
            [4, 3],
            initializer=v1.random_uniform_initializer(seed=1),
            partitioner=v1.fixed_size_partitioner(2),
            use_resource=True,
        )
        return v1.nn.embedding_lookup(list(parts), tf.cast(x, tf.int64), "div")

    with tf.Graph().as_default():
        x = v1.placeholder(tf.float32, [None])
        build(path, ["serve"], predict({"x": x}, {"y": run(x)}))


@builder(NUMBERS)
def v1_local(path: str) -> None:
    """A variable that is not saved, but set by the main op."""
    with tf.Graph().as_default():
        x = v1.placeholder(tf.float32, [None])
        saved = v1_variable("saved", 2.0, True)
        local = v1.get_variable(
            "local",
            initializer=5.0,
            collections=[v1.GraphKeys.LOCAL_VARIABLES],
            use_resource=True,
        )
        build(
            path,
            ["serve"],
            predict({"x": x}, {"y": x * saved + local}),
            main_op=v1.local_variables_initializer(),
        )


@builder(np.ones((2, 256), np.float32))
def large(path: str) -> None:
    """A variable of 256 KiB."""
    module = variables(np.arange(256 * 256, dtype="float32").reshape(256, 256))
    one(path, lambda x: {"y": x @ module.a}, spec([None, 256]), module=module)


def convolved(path: str) -> None:
    """A convolution with a normalization, which TensorFlow folds into one."""
    random = np.random.default_rng(0)
    kernel = random.normal(size=(3, 3, 3, 8)).astype("float32")
    module = variables(kernel, *random.uniform(0.5, 2, (4, 8)).astype("float32"))

    def run(x: Any) -> Any:
        y = tf.nn.conv2d(x, module.a, 1, "SAME")
        y, *_ = tf.compat.v1.nn.fused_batch_norm(
            y, module.b, module.c, module.d, module.e, is_training=False
        )
        return {"y": tf.nn.relu6(y)}

    one(path, run, spec([None, 8, 8, 3]), module=module)
