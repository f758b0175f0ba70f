"""The examples do what they say: run as commands, and served over HTTP."""

from __future__ import annotations

import base64
import io
import json
import re
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageDraw, ImageOps

from examples import digits
from tests.processes import PATIENCE, TWISTD, ServerProcess, call, eventually, serving

TREE = Path(__file__).parent.parent
AT_ONCE = 60  # images in a request

Labelled = list[tuple[bytes, int]]
Namer = Callable[[list[bytes]], list[str]]


def start(script: str, *arguments: str | Path) -> subprocess.Popen[str]:
    """Start an example as a person does, from the tree."""
    return subprocess.Popen(
        [sys.executable, TREE / "examples" / script, *arguments],
        cwd=TREE,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which both examples, at the same time, made their models."""
    folder = tmp_path_factory.mktemp("made")
    processes = [
        start("digits.py", folder / "digits", "--web", folder / "web"),
        start("inception.py", folder / "inception", "--weights", "none"),
    ]
    for process in processes:
        output, _ = process.communicate()
        assert process.returncode == 0, output
    return folder


def accuracy(name: Namer, images: Labelled) -> float:
    """The share of images whose first name is right."""
    best = name([file for file, _ in images])
    right = [digits.NAMES[label] for _, label in images]
    assert len(best) == len(right)
    return float(np.mean([a == b for a, b in zip(best, right, strict=True)]))


def redrawn(
    change: Callable[[Image.Image], Image.Image], kind: str = "PNG"
) -> Labelled:
    """The held-out images as someone else might have saved them."""
    images = []
    for drawn, label in digits.held_out():
        file = io.BytesIO()
        change(Image.open(io.BytesIO(drawn))).save(file, kind)
        images.append((file.getvalue(), label))
    return images


# The digits, run by TensorFlow itself


@pytest.fixture(scope="module")
def signatures(made: Path) -> Any:
    """The signatures of the demo model, as functions."""
    return tf.saved_model.load(str(made / "digits")).signatures


@pytest.fixture(scope="module")
def direct(signatures: Any) -> Namer:
    """The first name of each image, without a server."""

    def first_names(files: list[bytes]) -> list[str]:
        names = signatures["names"](image=tf.constant(files, tf.string))[
            "names"
        ].numpy()
        return [row[0].decode() for row in names]

    return first_names


def test_the_digits_have_three_methods_and_a_default(signatures: Any) -> None:
    assert set(signatures) == {"names", "features", "scores", "serving_default"}
    for name in ("names", "features", "serving_default"):
        image = signatures[name].structured_input_signature[1]["image"]
        assert (image.dtype, image.shape.as_list()) == (tf.string, [None])
    ink = signatures["scores"].structured_input_signature[1]["ink"]
    assert (ink.dtype, ink.shape.as_list()) == (tf.float32, [None, 8, 8])


def test_the_scores_of_each_drawing_are_shares(signatures: Any) -> None:
    ink = tf.random.stateless_uniform([3, 8, 8], [1, 2])
    scores = signatures["scores"](ink=ink)["scores"].numpy()
    assert (scores.shape, scores.dtype) == ((3, 10), np.float32)
    assert np.allclose(scores.sum(axis=1), 1)


def test_the_names_are_the_five_best_without_repetition(signatures: Any) -> None:
    file, label = digits.held_out()[0]
    (names,) = signatures["names"](image=tf.constant([file]))["names"].numpy()
    assert names[0].decode() == digits.NAMES[label]
    assert len(set(names)) == len(names) == 5
    assert {name.decode() for name in names} <= set(digits.NAMES)


def test_the_features_are_a_vector_for_each_image(signatures: Any) -> None:
    files = [file for file, _ in digits.held_out()[:3]]
    features = signatures["features"](image=tf.constant(files))["features"].numpy()
    assert (features.shape, features.dtype) == ((3, digits.FEATURES), np.float32)
    assert not np.allclose(features[0], features[1])


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_unseen_digits_are_named_right(direct: Namer, kind: str) -> None:
    images = digits.held_out(kind)
    assert len(images) == 360
    assert accuracy(direct, images) > 0.95


def test_the_images_held_out_are_not_trained_on() -> None:
    trained_on = {file for file, _ in digits.split(held_out=False)}
    assert not trained_on & {file for file, _ in digits.held_out()}


def test_chalk_on_a_blackboard_does_as_well(direct: Namer) -> None:
    assert accuracy(direct, redrawn(ImageOps.invert)) > 0.95


def test_the_size_and_the_place_of_a_digit_do_not_matter(direct: Namer) -> None:
    def in_the_corner(drawn: Image.Image) -> Image.Image:
        sheet = Image.new("RGB", (400, 250), "white")
        sheet.paste(drawn.convert("RGB").resize((120, 120)), (250, 20))
        return sheet

    assert accuracy(direct, redrawn(in_the_corner, "JPEG")) > 0.95


def test_what_is_transparent_is_paper(direct: Namer) -> None:
    def on_glass(drawn: Image.Image) -> Image.Image:
        glass = Image.new("LA", drawn.size, 0)
        glass.putalpha(ImageOps.invert(drawn))
        return glass

    assert accuracy(direct, redrawn(on_glass)) > 0.95


# How people draw plain digits with a mouse, without lifting it: points of a line,
# x to the right and y down, in a square of 100.
STROKES = (
    "50,10 30,20 22,50 30,80 50,90 70,80 78,50 70,20 50,10",
    "38,25 52,10 52,90",
    "24,30 32,14 50,10 68,16 72,32 60,52 25,90 78,90",
    "26,20 40,10 60,10 72,22 68,40 48,48 70,56 76,72 64,88 42,90 24,80",
    "65,90 65,10 20,64 82,64",
    "74,10 32,10 29,45 48,40 68,48 74,66 66,84 46,90 26,82",
    "64,10 40,28 28,55 28,75 40,90 60,90 72,76 64,58 46,54 30,66",
    "22,14 78,14 42,90",
    "66,22 50,12 34,22 38,38 64,58 70,76 50,90 30,76 36,58 62,38 66,22",
    "70,30 58,14 38,14 26,30 34,50 54,52 70,34 70,60 66,90",
)


@pytest.mark.parametrize("size", [100, 180, 260])
def test_digits_drawn_on_the_page_are_named_right(direct: Namer, size: int) -> None:
    def drawn(strokes: str, lean: float) -> bytes:
        """What the page sends: a square of 280 pixels, a round pen 26 wide."""
        sheet = Image.new("RGBA", (280, 280), "white")
        pen = ImageDraw.Draw(sheet)
        points = [tuple(map(int, pair.split(","))) for pair in strokes.split()]
        line = [
            (140 + (x - 50 + lean * (50 - y)) * size / 100, 140 + (y - 50) * size / 100)
            for x, y in points
        ]
        pen.line(line, "black", 26)
        for point in line:
            pen.circle(point, 13, "black")
        file = io.BytesIO()
        sheet.save(file, "PNG")
        return file.getvalue()

    images = [
        (drawn(strokes, lean), digit)
        for digit, strokes in enumerate(STROKES)
        for lean in (-0.1, 0.0, 0.1, 0.2)
    ]
    assert accuracy(direct, images) > 0.85


@pytest.mark.parametrize("file", [b"", b"no image", digits.held_out()[0][0][:50]])
def test_a_file_that_is_not_an_image_fails(direct: Namer, file: bytes) -> None:
    good = digits.held_out()[0][0]
    with pytest.raises(tf.errors.InvalidArgumentError):
        direct([good, file])


def test_an_empty_sheet_is_no_failure(direct: Namer) -> None:
    sheet = io.BytesIO()
    Image.new("L", (20, 10), 255).save(sheet, "PNG")
    assert len(direct([sheet.getvalue()])) == 1


def test_the_samples_of_the_page_are_named_right(made: Path, direct: Namer) -> None:
    samples = sorted((made / "web" / "samples").iterdir())
    images = [(sample.read_bytes(), int(sample.stem)) for sample in samples]
    assert len(images) == 20
    assert accuracy(direct, images) == 1


# The digits, over HTTP


@pytest.fixture(scope="module")
def site(made: Path) -> Iterator[str]:
    """The URL of a server as ``make demo`` starts it, with all unseen images."""
    pictures = made / "web" / "unseen"
    pictures.mkdir()
    for index, (file, _) in enumerate(digits.held_out()):
        (pictures / f"{index}.png").write_bytes(file)
    with serving(
        *("--model", str(made / "digits")),
        *("--static_path", str(made / "web")),
        *("--url_allow", "127.0.0.1/32"),
    ) as url:
        yield url.rstrip("/")


def post_names(site: str, values: list[dict[str, str]]) -> list[str]:
    """Ask the server for the first name of each image."""
    first: list[str] = []
    for start in range(0, len(values), AT_ONCE):
        batch = values[start : start + AT_ONCE]
        request = urllib.request.Request(
            f"{site}/names",
            json.dumps({"image": batch}).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as response:
            first += [names[0] for names in json.load(response)["names"]]
    return first


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_digits_sent_as_base64_are_named_right(site: str, kind: str) -> None:
    def first_names(files: list[bytes]) -> list[str]:
        return post_names(
            site, [{"b64": base64.b64encode(file).decode()} for file in files]
        )

    assert accuracy(first_names, digits.held_out(kind)) > 0.95


def test_digits_sent_as_urls_are_named_right(site: str) -> None:
    def first_names(files: list[bytes]) -> list[str]:
        return post_names(
            site, [{"url": f"{site}/web/unseen/{i}.png"} for i in range(len(files))]
        )

    assert accuracy(first_names, digits.held_out()) > 0.95


def test_the_test_page_is_served(site: str) -> None:
    with urllib.request.urlopen(f"{site}/web/", timeout=60) as response:
        assert response.headers.get_content_type() == "text/html"
        assert response.read() == digits.PAGE.read_bytes()


# The README's walk through it, as printed

ADDRESS = "127.0.0.1:8080"

# A block of code, and what stands right after it as its output, if anything does.
BLOCK = re.compile(
    r"^```(sh|python)\n(.*?)^```\n(?:\n```(?:json|text)\n(.*?)^```\n)?", re.M | re.S
)


def walk() -> list[tuple[str, str, str]]:
    """The language, text and output of each block of the chapter on calling it."""
    chapter = (TREE / "README.md").read_text("utf-8").partition("\n## Call it\n")[2]
    return BLOCK.findall(chapter.partition("\n## ")[0])


@pytest.fixture(scope="module")
def home(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that looks like the tree after ``make demo``."""
    folder = tmp_path_factory.mktemp("home")
    (folder / ".demo").symlink_to(made)
    return folder


def values(text: str) -> list[Any]:
    """The JSON values in a text, one after the other."""
    found = []
    while text := text.strip():
        value, end = json.JSONDecoder().raw_decode(text)
        found.append(value)
        text = text[end:]
    return found


def alike(got: Any, printed: Any) -> bool:
    """Whether values are the same, but for all but the best of the names."""
    if isinstance(printed, dict):
        same = isinstance(got, dict) and got.keys() == printed.keys()
        return same and all(alike(got[key], printed[key]) for key in printed)
    if isinstance(printed, list):
        same = isinstance(got, list) and len(got) == len(printed)
        if same and printed[0] in digits.NAMES:
            return bool(got[0] == printed[0])
        return same and all(map(alike, got, printed))
    return bool(got == printed)


def test_the_walk_has_an_example_of_each_kind() -> None:
    text = "".join(block[1] for block in walk())
    for word in ("b64", "url", "--data-binary", "-F ", "gzip", "x-npy", "--compressed"):
        assert word in text
    assert len(walk()) >= 11


@pytest.mark.parametrize(
    ("language", "text", "printed"), walk(), ids=lambda text: text.partition("\n")[0]
)
def test_each_example_of_the_walk_does_what_is_printed(
    site: str, home: Path, language: str, text: str, printed: str
) -> None:
    shell = {"sh": ["sh", "-ec"], "python": [sys.executable, "-c"]}[language]
    command = text.replace(ADDRESS, site.removeprefix("http://"))
    done = subprocess.run(
        [*shell, command], cwd=home, text=True, capture_output=True, timeout=PATIENCE
    )
    assert done.returncode == 0, done.stderr
    if "print(" in text:
        assert done.stdout == printed
    elif "-o " in text:
        array = np.load(home / text.split("-o ")[1].strip())
        assert (array.shape, array.dtype) == ((digits.FEATURES,), np.float32)
    elif "…" in printed:
        # There is more of it than is printed.
        assert values(printed.replace(",\n …", ""))[0] == values(done.stdout)[0][:3]
    else:
        got = values(done.stdout)
        assert got
        assert "error" not in got[0] or "error" in printed
        assert not printed or alike(got, values(printed)), done.stdout


# The model inside an application


def test_the_embedding_application_serves_its_own_routes_and_the_model(
    made: Path,
) -> None:
    server = ServerProcess(
        "-ny",
        str(TREE / "examples" / "embedded.tac"),
        "--pidfile=",
        command=(
            "env",
            f"MODEL={made / 'digits'}",
            "PORT=tcp:0:interface=127.0.0.1",
            *TWISTD,
        ),
        listening=(),
    )
    image = next(file for file, label in digits.held_out() if label == 7)
    try:
        url = f"http://127.0.0.1:{server.wait_for(r'Site starting on ([0-9]+)')[1]}"
        with urllib.request.urlopen(f"{url}/shop/", timeout=60) as response:
            assert response.read().startswith(b"Send me a digit")
        eventually(lambda: call(f"{url}/api/")[0] == 200)
        with urllib.request.urlopen(f"{url}/shop/read", image, 60) as response:
            assert response.read() == b"That is a seven.\n"
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"{url}/shop/read", b"no image", 60)
        assert refused.value.code == 400
        assert refused.value.read().startswith(b"Sorry: the model refused this input")
        body = {"image": {"b64": base64.b64encode(image).decode()}}
        status, answer = call(f"{url}/api/names", body)
        assert (status, answer["names"][0]) == (200, "seven")
    finally:
        server.close()


# Inception


def test_inception_makes_features_and_names_of_jpeg_files(made: Path) -> None:
    signatures = tf.saved_model.load(str(made / "inception")).signatures
    file = io.BytesIO()
    Image.new("RGB", (120, 80), "orange").save(file, "JPEG")
    files = tf.constant([file.getvalue()] * 2)
    features = signatures["features"](image=files)["features"]
    names = signatures["names"](image=files)["names"]
    assert (features.dtype, features.shape.as_list()) == (tf.float32, [2, 2048])
    assert (names.dtype, names.shape.as_list()) == (tf.string, [2, 5])
    assert all(name.startswith(b"class ") for name in names.numpy().flat)
    assert set(signatures) == {"features", "names", "serving_default"}
