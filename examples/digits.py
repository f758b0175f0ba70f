"""Train the demo model: handwritten digits, from image files to names.

    python examples/digits.py .demo/digits --web .demo/web

trains a small network on the digits that scikit-learn bundles (8 x 8 pixels,
written by 43 people) and on some printed ones, in seconds and the same way each
time, and saves it as a SavedModel with three signatures, two of JPEG or PNG files
of any size and one of what the network itself sees, 0 for paper and 1 for ink:

``names``     ``image`` string [-1] -> ``names`` string [-1, 5], best first;
``features``  ``image`` string [-1] -> ``features`` float32 [-1, 64];
``scores``    ``ink`` float32 [-1, 8, 8] -> ``scores`` float32 [-1, 10], from 0 to 1.

``serving_default`` is the same as ``names``. All of the image work is inside
the graph, so the server is told nothing about images. ``--web`` adds a test
page with images that the network was not trained on.
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf
from PIL import Image, ImageDraw, ImageFont
from sklearn.datasets import load_digits

NAMES = (
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
)
BEST = 5
SIDE = 8  # pixels; the size of the data set's images
FEATURES = 64
SEED = 7
HELD_OUT = 5  # every fifth image is kept from the training
PRINTED = 20  # printed images of each digit, about a seventh of the written ones
PAGE = Path(__file__).with_name("web") / "index.html"


# The data


def drawing(image: np.ndarray, kind: str = "PNG") -> bytes:
    """One image of the data set as a picture file, dark ink on white paper.

    Args:
        image: float [8, 8], from 0 for paper to 16 for ink.
        kind: ``"PNG"`` or ``"JPEG"``.

    Returns:
        The bytes of a grey picture of 64 x 64 pixels.
    """
    paper = Image.fromarray(255 - np.uint8(image / 16 * 255))
    file = io.BytesIO()
    paper.resize((64, 64), Image.Resampling.BICUBIC).save(file, kind)
    return file.getvalue()


def split(held_out: bool, kind: str = "PNG") -> list[tuple[bytes, int]]:
    """One part of the data set: picture files with the digit each shows."""
    digits = load_digits()
    return [
        (drawing(image, kind), int(label))
        for index, (image, label) in enumerate(
            zip(digits.images, digits.target, strict=True)
        )
        if (index % HELD_OUT == 0) == held_out
    ]


def held_out(kind: str = "PNG") -> list[tuple[bytes, int]]:
    """The 360 images that the network is not trained on.

    Args:
        kind: ``"PNG"`` or ``"JPEG"``.

    Returns:
        For each, the bytes of a picture file and the digit that it shows.
    """
    return split(True, kind)


def printed() -> list[tuple[bytes, int]]:
    """Digits in Pillow's own font, lighter and bolder, leaning and turned.

    The people of the data set cross each seven and give each one a foot or a
    flag. Without these the network would not know the plain ones.
    """
    random = np.random.default_rng(SEED)
    return [
        (print_digit(digit % 10, random), digit % 10) for digit in range(10 * PRINTED)
    ]


def print_digit(digit: int, random: np.random.Generator) -> bytes:
    """A PNG file of a printed digit, drawn as the generator has it."""
    sheet = Image.new("L", (200, 200), 255)
    ImageDraw.Draw(sheet).text(
        (100, 100),
        str(digit),
        font=ImageFont.load_default(115),
        anchor="mm",
        fill=0,
        stroke_width=int(random.integers(6)),
    )
    lean, width = random.normal(0, 0.15), random.uniform(0.75, 1.25)
    middle = 100 - 100 * (width + lean)
    sheet = sheet.transform(
        sheet.size,
        Image.Transform.AFFINE,
        (width, lean, middle, 0, 1, 0),
        Image.Resampling.BICUBIC,
        fillcolor=255,
    ).rotate(random.normal(0, 8), Image.Resampling.BICUBIC, fillcolor=255)
    file = io.BytesIO()
    sheet.save(file, "PNG")
    return file.getvalue()


# From a file to what the network sees; this runs inside the saved graph


def grey(file: tf.Tensor) -> tf.Tensor:
    """Decode a JPEG or PNG file to brightness, float32 [height, width].

    What is transparent is seen as white. A file that is not an image makes the
    run fail.
    """
    pixels = tf.cond(
        tf.io.is_jpeg(file),
        lambda: tf.pad(
            tf.io.decode_jpeg(file, channels=3),
            [[0, 0], [0, 0], [0, 1]],
            constant_values=255,
        ),
        lambda: tf.io.decode_png(file, channels=4),
    )
    colour, opacity = tf.split(tf.cast(pixels, tf.float32) / 255, [3, 1], axis=2)
    on_white = colour * opacity + 1 - opacity
    return tf.image.rgb_to_grayscale(on_white)[:, :, 0]


def ink(brightness: tf.Tensor) -> tf.Tensor:
    """Tell ink from paper: 0 for paper, 1 for ink, of the same shape.

    The paper is what is at the margin, so that white chalk does as well as
    black ink; faint writing is made strong.
    """
    low, high = tf.reduce_min(brightness), tf.reduce_max(brightness)
    level = tf.math.divide_no_nan(brightness - low, high - low)
    margin = tf.concat([level[0], level[-1], level[:, 0], level[:, -1]], axis=0)
    return tf.where(tf.reduce_mean(margin) > 0.5, 1 - level, level)


def span(marked: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Where the first and behind the last true element of a vector are."""
    where = tf.where(marked)[:, 0]
    whole = tf.range(tf.size(marked, tf.int64))
    where = tf.cond(tf.size(where) > 0, lambda: where, lambda: whole)
    return where[0], where[-1] + 1


def framed(strokes: tf.Tensor) -> tf.Tensor:
    """Cut out the digit and centre it in the network's square, [8, 8, 1].

    The data set's digits fill their squares; so does then a small one in the
    corner of a large picture.
    """
    dark = strokes > 0.25
    top, bottom = span(tf.reduce_any(dark, axis=1))
    left, right = span(tf.reduce_any(dark, axis=0))
    digit = strokes[top:bottom, left:right]
    height, width = bottom - top, right - left
    side = tf.maximum(height, width)
    above, before = (side - height) // 2, (side - width) // 2
    square = tf.pad(
        digit,
        [[above, side - height - above], [before, side - width - before]],
    )
    return tf.image.resize(square[:, :, tf.newaxis], [SIDE, SIDE], "area")


def seen(files: tf.Tensor) -> tf.Tensor:
    """What the network sees of a batch of files.

    Args:
        files: string [-1].

    Returns:
        float32 [-1, 8, 8, 1].
    """
    return tf.map_fn(
        lambda file: framed(ink(grey(file))),
        files,
        fn_output_signature=tf.TensorSpec([SIDE, SIDE, 1], tf.float32),
    )


# The network


def network() -> keras.Model:
    """The untrained network: [-1, 8, 8, 1] -> features and class scores."""
    layers = keras.layers
    image = keras.Input((SIDE, SIDE, 1))
    x = layers.Conv2D(32, 3, padding="same", activation="relu")(image)
    x = layers.Conv2D(64, 3, padding="same", activation="relu")(x)
    x = layers.MaxPooling2D()(x)
    x = layers.Dropout(0.3)(layers.Flatten()(x))
    features = layers.Dense(FEATURES, activation="relu", name="features")(x)
    scores = layers.Dense(len(NAMES), name="scores")(features)
    return keras.Model(image, {"features": features, "scores": scores})


def train() -> keras.Model:
    """The network, trained on all that is not held out; takes seconds."""
    keras.utils.set_random_seed(SEED)
    tf.config.experimental.enable_op_determinism()
    files, labels = zip(*split(False), *printed(), strict=True)
    model = network()
    model.compile(
        optimizer=keras.optimizers.Adam(2e-3),
        loss={"scores": keras.losses.SparseCategoricalCrossentropy(from_logits=True)},
    )
    model.fit(
        tf.function(seen)(tf.constant(files)),
        {"scores": np.array(labels)},
        batch_size=64,
        epochs=15,
        verbose=0,
    )
    return model


def save(model: keras.Model, path: Path) -> None:
    """Export the trained network with its signatures to a new directory."""

    def names(image: tf.Tensor) -> dict[str, tf.Tensor]:
        best = tf.math.top_k(model(seen(image), training=False)["scores"], BEST)
        return {"names": tf.gather(tf.constant(NAMES), best.indices)}

    def features(image: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"features": model(seen(image), training=False)["features"]}

    def scores(ink: tf.Tensor) -> dict[str, tf.Tensor]:
        logits = model(ink[..., tf.newaxis], training=False)["scores"]
        return {"scores": tf.nn.softmax(logits)}

    archive: Any = keras.export.ExportArchive()
    archive.track(model)
    image = tf.TensorSpec([None], tf.string, name="image")
    ink = tf.TensorSpec([None, SIDE, SIDE], tf.float32, name="ink")
    for name, function, spec in (
        ("names", names, image),
        ("features", features, image),
        ("scores", scores, ink),
        ("serving_default", names, image),
    ):
        archive.add_endpoint(name, function, [spec])
    archive.write_out(str(path), verbose=False)


# The command


def write_page(folder: Path) -> None:
    """Write the test page with an unseen PNG and JPEG image of each digit.

    They are of different people.
    """
    samples = folder / "samples"
    samples.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(PAGE, folder / "index.html")
    for kind, suffix in {"PNG": "png", "JPEG": "jpg"}.items():
        images = held_out(kind)
        # The last image of a digit is the one that stays.
        of_each = {label: file for file, label in (images, images[::-1])[kind == "PNG"]}
        for label, file in of_each.items():
            (samples / f"{label}.{suffix}").write_bytes(file)


def main() -> None:
    """Train, save, and write the test page where that is asked for."""
    parser = argparse.ArgumentParser(
        description="Train and save the demo model: handwritten digits."
    )
    parser.add_argument("path", type=Path, help="directory for the SavedModel")
    parser.add_argument("--web", type=Path, help="directory for the test page")
    args = parser.parse_args()
    save(train(), args.path)
    print(f"saved the model in {args.path}")
    if args.web:
        write_page(args.web)
        print(f"wrote the test page in {args.web}")


if __name__ == "__main__":
    main()
