"""Export Keras' InceptionV3 as an image service: JPEG bytes in, names out.

    python examples/inception.py inception

saves a SavedModel with two signatures, both of JPEG (or PNG) files:

``features``  ``image`` string [-1] -> ``features`` float32 [-1, 2048];
``names``     ``image`` string [-1] -> ``names`` string [-1, 5], best first.

``serving_default`` is the same as ``names``. The ImageNet weights (95 MB) are
downloaded by Keras and kept in ``~/.keras``; ``--weights none`` takes random
ones, which name nothing right but are served the same way.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import tensorflow as tf
from keras.applications import imagenet_utils

SIDE = 299  # pixels; the size that InceptionV3 was trained on
BEST = 5
CLASSES = 1000  # of ImageNet


def network(weights: str | None) -> keras.Model:
    """InceptionV3, [-1, 299, 299, 3] -> features and class scores.

    Args:
        weights: ``"imagenet"``, or None for random ones.

    Raises:
        SystemExit: the weights cannot be had.
    """
    try:
        whole = keras.applications.InceptionV3(weights=weights)
    except Exception as error:  # Keras raises no narrower one for a download
        if weights is None:
            raise
        sys.exit(
            "cannot download the ImageNet weights: try again with a network, "
            f"or take random ones with --weights none ({error})"
        )
    features = whole.get_layer("avg_pool").output
    return keras.Model(whole.input, {"features": features, "scores": whole.output})


def class_names(weights: str | None) -> list[str]:
    """What the network's classes are called.

    Returns:
        The words of Keras' ImageNet class index, or ``class 0``, ``class 1`` …
        for random weights and where the index cannot be downloaded.
    """
    if weights is not None:
        try:
            index = json.loads(
                Path(
                    keras.utils.get_file(
                        "imagenet_class_index.json",
                        imagenet_utils.CLASS_INDEX_PATH,
                        cache_subdir="models",
                    )
                ).read_text()
            )
            return [index[str(number)][1] for number in range(CLASSES)]
        except Exception as error:  # as above
            print(f"no names for the classes, only numbers: {error}", file=sys.stderr)
    return [f"class {number}" for number in range(CLASSES)]


def pixels(file: tf.Tensor) -> tf.Tensor:
    """Decode an image file to what the network takes, [299, 299, 3] in -1..1."""
    image = tf.io.decode_image(file, channels=3, expand_animations=False)
    image = tf.image.resize(image, [SIDE, SIDE])
    return tf.ensure_shape(image / 127.5 - 1, [SIDE, SIDE, 3])


def save(model: keras.Model, classes: list[str], path: Path) -> None:
    """Export the network with both signatures to a new directory."""
    files = [tf.TensorSpec([None], tf.string, name="image")]

    def outputs(image: tf.Tensor) -> Any:
        images = tf.map_fn(pixels, image, fn_output_signature=tf.float32)
        return model(images, training=False)

    scored = tf.function(outputs, input_signature=files)  # traced once for all

    def features(image: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"features": scored(image)["features"]}

    def names(image: tf.Tensor) -> dict[str, tf.Tensor]:
        best = tf.math.top_k(scored(image)["scores"], BEST).indices
        return {"names": tf.gather(tf.constant(classes), best)}

    archive: Any = keras.export.ExportArchive()
    archive.track(model)
    for name, function in {
        "features": features,
        "names": names,
        "serving_default": names,
    }.items():
        archive.add_endpoint(name, function, files)
    archive.write_out(str(path), verbose=False)


def main() -> None:
    """Load or download InceptionV3 and save it."""
    parser = argparse.ArgumentParser(
        description="Export Keras' InceptionV3 as a SavedModel."
    )
    parser.add_argument("path", type=Path, help="directory for the SavedModel")
    parser.add_argument(
        "--weights",
        choices=("imagenet", "none"),
        default="imagenet",
        help="imagenet (the default; downloaded) or none, for random ones",
    )
    args = parser.parse_args()
    weights = None if args.weights == "none" else args.weights
    save(network(weights), class_names(weights), args.path)
    print(f"saved the model in {args.path}")


if __name__ == "__main__":
    main()
