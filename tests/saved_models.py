"""SavedModels of every kind, each written by TensorFlow itself.

``BUILDERS`` maps a name to a function that writes one into a folder that is
not there yet. Models are a few weights large; what differs is how they are made.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import tensorflow as tf

v1 = tf.compat.v1

Builder = Callable[[str], None]

#: The dtypes whose identity the model ``dtypes`` serves, by signature.
DTYPES = (
    *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float16", "float32", "float64", "bfloat16", "bool", "string"),
)

BUILDERS: dict[str, Builder] = {}


def builder(function: Builder) -> Builder:
    """Enter a builder under its name."""
    BUILDERS[function.__name__] = function
    return function


def save(path: str, functions: dict[str, Any], module: Any = None) -> None:
    """Save ``tf.function`` s with an input signature as those of one module."""
    module = module or tf.Module()
    for name, function in functions.items():
        setattr(module, f"keep_{name}", function)
    signatures = {name: it.get_concrete_function() for name, it in functions.items()}
    tf.saved_model.save(module, path, signatures=signatures)


def spec(shape: Any, dtype: Any = tf.float32, name: str = "x") -> tf.TensorSpec:
    """The spec of an argument ``x``."""
    return tf.TensorSpec(shape, dtype, name)


def one(path: str, function: Any, *specs: Any, module: Any = None) -> None:
    """Save one function of ``specs`` as ``serving_default``."""
    traced = tf.function(function, input_signature=specs)
    save(path, {"serving_default": traced}, module)


def traced(first: Any, second: Any, given: tf.TensorSpec) -> dict[str, Any]:
    """Two functions of one argument, as signatures by their names."""
    return {
        function.__name__: tf.function(function, input_signature=[given])
        for function in (first, second)
    }


# ---- TensorFlow 2


@builder
def affine(path: str) -> None:
    """y = 2x + 1 with weights in variables, [-1] float32."""
    module = tf.Module()
    module.scale = tf.Variable(2.0)
    module.bias = tf.Variable(1.0)
    one(
        path,
        lambda x: {"y": x * module.scale + module.bias},
        spec([None]),
        module=module,
    )


@builder
def dense(path: str) -> None:
    """[-1, 3] float32 -> [-1, 2]."""
    module = tf.Module()
    module.kernel = tf.Variable([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    one(
        path,
        lambda x: {"y": x @ module.kernel + 0.5},
        spec([None, 3]),
        module=module,
    )


@builder
def several(path: str) -> None:
    """Three signatures: double, triple and negate."""
    specs = [spec([None])]
    save(
        path,
        {
            "double": tf.function(lambda x: {"y": x * 2}, input_signature=specs),
            "triple": tf.function(lambda x: {"y": x * 3}, input_signature=specs),
            "negate": tf.function(lambda x: {"y": -x}, input_signature=specs),
        },
    )


@builder
def multi(path: str) -> None:
    """Inputs of other dtypes and ranks; two outputs alike and an input passed on."""

    def run(a: Any, b: Any, c: Any) -> dict[str, Any]:
        total = a + tf.cast(tf.reduce_sum(b, 1), tf.float32)
        text = tf.strings.join([c, tf.strings.as_string(b[:, 0])], "-")
        return {"total": total, "again": total, "text": text, "same": a}

    one(
        path,
        run,
        spec([None], tf.float32, "a"),
        spec([None, 2], tf.int64, "b"),
        spec([None], tf.string, "c"),
    )


@builder
def scalars(path: str) -> None:
    """Rank 0 in and out: a number, a string, a truth."""
    one(
        path,
        lambda x, s: {"y": x + 1, "t": s + b"!", "b": x > 0},
        spec([], tf.float32, "x"),
        spec([], tf.string, "s"),
    )


@builder
def no_inputs(path: str) -> None:
    """Gives the same vector always."""
    one(path, lambda: {"y": tf.constant([1.0, 2.0])})


@builder
def unknown_rank(path: str) -> None:
    """Takes any shape."""
    one(path, lambda x: {"y": x + 1}, spec(None))


@builder
def strings(path: str) -> None:
    """Strings to strings that are no UTF-8."""
    one(
        path, lambda x: {"y": tf.strings.join([b"\xff\x00", x])}, spec([None], "string")
    )


@builder
def dtypes(path: str) -> None:
    """A signature for each dtype, which gives what it takes."""

    def identity(dtype: str) -> Any:
        specs = [spec([None], dtype)]
        return tf.function(lambda x: {"y": tf.identity(x)}, input_signature=specs)

    save(path, {dtype: identity(dtype) for dtype in DTYPES})


@builder
def counter(path: str) -> None:
    """``count`` adds the rows to a variable, deep in a loop; ``peek`` reads it."""
    module = tf.Module()
    module.total = tf.Variable(0.0)

    def count(x: Any) -> dict[str, Any]:
        for _ in tf.range(2):
            if tf.size(x) > 0:
                module.total.assign_add(tf.reduce_sum(x) / 2)
        return {"y": x + module.total}

    def peek(x: Any) -> dict[str, Any]:
        return {"y": x + module.total}

    save(path, traced(count, peek, spec([None])), module)


@builder
def python(path: str) -> None:
    """``calls`` calls Python, deep in a function; ``plain`` does not."""

    def inner(x: Any) -> Any:
        return tf.numpy_function(lambda y: y * 2, [x], tf.float32)

    def calls(x: Any) -> dict[str, Any]:
        y = tf.cond(tf.size(x) > 0, lambda: inner(x), lambda: x)
        return {"y": tf.ensure_shape(y, [None])}

    def plain(x: Any) -> dict[str, Any]:
        return {"y": x * 2}

    save(path, traced(calls, plain, spec([None])))


@builder
def ragged(path: str) -> None:
    """The sums of the rows of a ragged tensor, whose signature has it in parts."""
    module = tf.Module()
    rows = tf.RaggedTensorSpec([None, None], tf.float32, ragged_rank=1)
    module.sums = tf.function(
        lambda x: {"y": tf.reduce_sum(x, 1)}, input_signature=[rows]
    )
    tf.saved_model.save(module, path, signatures={"serving_default": module.sums})


@builder
def batch_dependent(path: str) -> None:
    """Each row less the mean of the batch."""
    one(path, lambda x: {"y": x - tf.reduce_mean(x, 0)}, spec([None, 2]))


@builder
def words(path: str) -> None:
    """Strings to their words: one after the other, and padded to the longest."""

    def flat(x: Any) -> dict[str, Any]:
        return {"y": tf.strings.split(x).values}

    def padded(x: Any) -> dict[str, Any]:
        return {"y": tf.strings.split(x).to_tensor("")}

    save(path, traced(flat, padded, spec([None], tf.string)))


@builder
def random(path: str) -> None:
    """Noise is added to each row."""
    one(path, lambda x: {"y": x + tf.random.normal(tf.shape(x))}, spec([None]))


@builder
def images(path: str) -> None:
    """JPEG and PNG files to pixels; one bad file fails the batch."""

    def decode(data: Any) -> Any:
        image = tf.io.decode_image(data, channels=3, expand_animations=False)
        return tf.cast(tf.image.resize(image, [4, 4]), tf.uint8)

    one(
        path,
        lambda x: {"y": tf.map_fn(decode, x, fn_output_signature=tf.uint8)},
        spec([None], tf.string),
    )


@builder
def numbers(path: str) -> None:
    """Strings to numbers; the error's text quotes a bad one."""
    one(path, lambda x: {"y": tf.strings.to_number(x)}, spec([None], tf.string))


@builder
def parts(path: str) -> None:
    """A complex signature beside a good one."""
    save(
        path,
        {
            "good": tf.function(lambda x: {"y": x + 1}, input_signature=[spec([None])]),
            "wave": tf.function(
                lambda x: {"y": x * 2}, input_signature=[spec([None], tf.complex64)]
            ),
        },
    )


@builder
def complex_only(path: str) -> None:
    """Nothing that can be served."""
    one(path, lambda x: {"y": x * 2}, spec([None], tf.complex64))


@builder
def fewer_rows(path: str) -> None:
    """Declared [-1] -> [-1], but the negative rows are left out."""
    one(path, lambda x: {"y": tf.boolean_mask(x, x >= 0)}, spec([None]))


@builder
def lookup(path: str) -> None:
    """A table that is filled from an asset file."""
    vocabulary = vocabulary_file(path)
    module = tf.Module()
    module.asset = tf.saved_model.Asset(vocabulary)
    fill = tf.lookup.TextFileInitializer(
        module.asset,
        *(tf.string, tf.lookup.TextFileIndex.WHOLE_LINE),
        *(tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER),
    )
    module.table = tf.lookup.StaticHashTable(fill, -1)
    one(
        path,
        lambda x: {"y": module.table.lookup(x)},
        spec([None], tf.string),
        module=module,
    )
    os.remove(vocabulary)


@builder
def mutable_table(path: str) -> None:
    """A table that is filled from the checkpoint, one that a signature writes."""
    module = tf.Module()
    module.table = tf.lookup.experimental.MutableHashTable(tf.string, tf.int64, -1)
    module.table.insert(["a", "b"], [1, 2])

    def find(x: Any) -> dict[str, Any]:
        return {"y": module.table.lookup(x)}

    def insert(x: Any) -> dict[str, Any]:
        module.table.insert(x, tf.zeros_like(x, tf.int64))
        return {"y": module.table.size()}

    save(path, traced(find, insert, spec([None], tf.string)), module)


@builder
def no_signatures(path: str) -> None:
    """A module saved without any signature."""
    tf.saved_model.save(tf.Module(), path)


# ---- Keras 3


def keras_model() -> Any:
    """Two layers with a normalization between, [-1, 3] -> [-1, 2]."""
    import keras

    keras.utils.set_random_seed(1)
    return keras.Sequential(
        [
            keras.layers.Input((3,), name="x"),
            keras.layers.Dense(4, activation="relu"),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.5),
            keras.layers.Dense(2),
        ]
    )


@builder
def keras_export(path: str) -> None:
    """By ``model.export``."""
    keras_model().export(path, verbose=False)


@builder
def keras_in_module(path: str) -> None:
    """By ``tf.saved_model.save`` of a module around it; ``nothing`` has no outputs."""
    module = tf.Module()
    module.model = keras_model()

    def serving_default(x: Any) -> dict[str, Any]:
        return {"y": module.model(x)}

    def nothing(x: Any) -> dict[str, Any]:
        return {}

    save(path, traced(nothing, serving_default, spec([None, 3])), module)


@builder
def keras_lookup_in_module(path: str) -> None:
    """A vocabulary layer and an embedding in a module."""
    import keras

    module = tf.Module()
    module.index = keras.layers.StringLookup(vocabulary=["a", "b"])
    module.embed = keras.layers.Embedding(4, 2)
    one(
        path,
        lambda x: {"y": module.embed(module.index(x))},
        spec([None], tf.string),
        module=module,
    )


# ---- TensorFlow 1


def build(path: str, tags: list[str], signature: Any, **options: Any) -> None:
    """Save the default graph with a session in which all is initialized."""
    writer = v1.saved_model.builder.SavedModelBuilder(path)
    with v1.Session() as session:
        session.run([v1.global_variables_initializer(), v1.tables_initializer()])
        writer.add_meta_graph_and_variables(
            session, tags, {"serving_default": signature}, **options
        )
    writer.save()


def predict(inputs: dict[str, Any], outputs: dict[str, Any]) -> Any:
    """The signature of these tensors."""
    return v1.saved_model.signature_def_utils.predict_signature_def(inputs, outputs)


def linear(path: str, use_resource: bool, give_weights: bool = False) -> None:
    """y = x * [2, 3, 4]."""
    with tf.Graph().as_default():
        x = v1.placeholder(tf.float32, [None, 3])
        weights = v1.get_variable(
            "w", initializer=[2.0, 3.0, 4.0], use_resource=use_resource
        )
        outputs = {"y": x * weights}
        if give_weights:
            outputs["weights"] = weights.op.outputs[0]
        build(path, ["serve"], predict({"x": x}, outputs))


@builder
def v1_reference(path: str) -> None:
    """Variables as references."""
    linear(path, use_resource=False)


@builder
def v1_reference_output(path: str) -> None:
    """An output is a reference: its signature says ``float32_ref``."""
    linear(path, use_resource=False, give_weights=True)


@builder
def v1_resource(path: str) -> None:
    """Variables as resources."""
    linear(path, use_resource=True)


@builder
def v1_lookup(path: str) -> None:
    """A table filled from an asset by a ``main_op``."""
    _v1_lookup(path, "main_op")


@builder
def v1_legacy_lookup(path: str) -> None:
    """A table filled from an asset by a ``legacy_init_op``."""
    _v1_lookup(path, "legacy_init_op")


def _v1_lookup(path: str, option: str) -> None:
    vocabulary = vocabulary_file(path)
    with tf.Graph().as_default():
        asset = tf.constant(vocabulary)
        v1.add_to_collection(v1.GraphKeys.ASSET_FILEPATHS, asset)
        table = v1.lookup.StaticHashTable(
            tf.lookup.TextFileInitializer(
                asset,
                *(tf.string, tf.lookup.TextFileIndex.WHOLE_LINE),
                *(tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER),
            ),
            -1,
        )
        x = v1.placeholder(tf.string, [None])
        signature = predict({"x": x}, {"y": table.lookup(x)})
        options = {option: v1.tables_initializer()}
        build(path, ["serve"], signature, assets_collection=[asset], **options)
    os.remove(vocabulary)


@builder
def v1_wrong_dtype(path: str) -> None:
    """The signature says float32 where the graph has strings."""
    with tf.Graph().as_default():
        x = v1.placeholder(tf.string, [None])
        signature = predict({"x": x}, {"y": tf.strings.length(x)})
        signature.inputs["x"].dtype = tf.float32.as_datatype_enum
        build(path, ["serve"], signature)


@builder
def v1_sparse(path: str) -> None:
    """A good signature beside one with a sparse input."""
    with tf.Graph().as_default():
        x = v1.placeholder(tf.float32, [None])
        sparse = v1.sparse_placeholder(tf.float32, [None, 3])
        info = v1.saved_model.utils.build_tensor_info
        total = info(v1.sparse_reduce_sum(sparse, 1))
        signature = v1.saved_model.signature_def_utils.build_signature_def
        writer = v1.saved_model.builder.SavedModelBuilder(path)
        signatures = {
            "good": signature({"x": info(x)}, {"y": info(x + 1)}),
            "sparse": signature({"s": info(sparse)}, {"y": total}),
        }
        with v1.Session() as session:
            writer.add_meta_graph_and_variables(session, ["serve"], signatures)
        writer.save()


@builder
def v1_gradient(path: str) -> None:
    """The gradient of a loop, whose graph pushes on stacks."""
    with tf.Graph().as_default():
        x = v1.placeholder(tf.float32, [None])
        v1.disable_control_flow_v2()
        try:
            power = v1.while_loop(
                lambda i, _: i < 3, lambda i, y: (i + 1, y * y), [tf.constant(0), x]
            )[1]
        finally:
            v1.enable_control_flow_v2()
        (slope,) = tf.gradients(power, x)
        build(path, ["serve"], predict({"x": x}, {"y": slope}))


@builder
def v1_counter(path: str) -> None:
    """Counts its runs in a variable, by a control input."""
    with tf.Graph().as_default():
        x = v1.placeholder(tf.float32, [None])
        runs = v1.get_variable("runs", initializer=0.0, use_resource=False)
        with tf.control_dependencies([v1.assign_add(runs, 1.0)]):
            y = tf.identity(x)
        build(path, ["serve"], predict({"x": x}, {"y": y}))


@builder
def multi_tags(path: str) -> None:
    """Two graphs: ``serve`` doubles, ``serve,gpu`` triples."""
    writer = v1.saved_model.builder.SavedModelBuilder(path)
    for factor, tags in ((2.0, ["serve"]), (3.0, ["serve", "gpu"])):
        with tf.Graph().as_default(), v1.Session() as session:
            x = v1.placeholder(tf.float32, [None])
            weight = v1.get_variable("w", initializer=2.0)
            session.run(v1.global_variables_initializer())
            signatures = {
                "serving_default": predict({"x": x}, {"y": x * weight * (factor / 2)})
            }
            if factor == 2.0:
                writer.add_meta_graph_and_variables(session, tags, signatures)
            else:
                writer.add_meta_graph(tags, signatures)
    writer.save()


@builder
def v1_text(path: str) -> None:
    """As ``saved_model.pbtxt``."""
    with tf.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.float32, [None])
        writer = v1.saved_model.builder.SavedModelBuilder(path)
        signatures = {"serving_default": predict({"x": x}, {"y": x + 1})}
        writer.add_meta_graph_and_variables(session, ["serve"], signatures)
    writer.save(as_text=True)


@builder
def v1_unset(path: str) -> None:
    """A good signature beside one whose variable was never saved."""
    with tf.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.float32, [None])
        saved = v1.get_variable("saved", initializer=2.0)
        local = v1.get_variable(
            "local", initializer=2.0, collections=[v1.GraphKeys.LOCAL_VARIABLES]
        )
        session.run(
            [v1.global_variables_initializer(), v1.local_variables_initializer()]
        )
        writer = v1.saved_model.builder.SavedModelBuilder(path)
        signatures = {
            "good": predict({"x": x}, {"y": x * saved}),
            "unset": predict({"x": x}, {"y": x * local}),
        }
        writer.add_meta_graph_and_variables(session, ["serve"], signatures)
    writer.save()


def vocabulary_file(path: str) -> str:
    """A file of three words, beside the folder; to be removed once it is saved."""
    name = f"{path}.vocabulary.txt"
    with open(name, "w") as file:
        file.write("a\nb\nc\n")
    return name


@builder
def hanging(path: str) -> None:
    """``wait`` takes from a queue that stays empty, for ever; ``double`` doubles."""
    with tf.Graph().as_default():
        x = v1.placeholder(tf.float32, [None])
        empty = v1.FIFOQueue(1, tf.float32, shapes=[[]])
        signatures = {
            "double": predict({"x": x}, {"y": x * 2}),
            "wait": predict({"x": x}, {"y": x + empty.dequeue()}),
        }
        writer = v1.saved_model.Builder(path)
        with v1.Session() as session:
            writer.add_meta_graph_and_variables(session, ["serve"], signatures)
        writer.save()
