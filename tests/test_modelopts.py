"""Models and files of options on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.test_layout import SERVE, write
from tests.test_tap import parsed, refusal
from txinfer.specs import ALL, LATEST, Latest, ModelSpec, Only


@pytest.fixture(autouse=True)
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folders ``a`` and ``b``, of a SavedModel and of the versions 3 and 4."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "a", SERVE)
    write(tmp_path / "b" / "3", SERVE)
    write(tmp_path / "b" / "4", SERVE)
    return tmp_path


def named(*arguments: str) -> dict[str, str]:
    """The name and the path, as a relative one, of each model."""
    specs = parsed(*arguments)["models"].items()
    return {name: str(Path(spec.path).relative_to(Path.cwd())) for name, spec in specs}


class TestModels:
    def test_models_have_names_and_an_order(self) -> None:
        assert list(named("--model", "b", "--model", "x=a", "-m", "y=b/3").items()) == [
            ("b", "b"),
            ("x", "a"),
            ("y", "b/3"),
        ]

    def test_a_path_with_an_equals_sign_is_told_by_its_slash(
        self, models: Path
    ) -> None:
        write(models / "x=y", SERVE)
        assert named("--model", "./x=y") == {"x-y": "x=y"}

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (
                ["--model", "a", "--model", "b/../a"],
                "--model b/../a: another model is called 'a' too; "
                "NAME=PATH names this one",
            ),
            (["--model", "x="], "--model x=: must be PATH or NAME=PATH"),
            (
                ["--model", "a", "--model", "b", "--versions", "all"],
                "--versions all: which model is meant; known: a, b",
            ),
            (
                ["--model", "a", "--versions", "c=all"],
                "--versions c=all: no such model; known: a",
            ),
            (
                ["--model", "a", "--versions", "newest"],
                "--versions newest: must be latest, latest:N, all, or version "
                "numbers: 3,4",
            ),
            (
                ["--model", "a", "--label", "stable"],
                "--label stable: must be letters, digits, '.', '_' and '-', "
                "at most 64, no sign first",
            ),
            (
                ["--model", "a", "--label", "stable=x"],
                "--label stable=x: must be the number of a version",
            ),
            (
                ["--model", "a", "--label", "b:stable=1"],
                "--label b:stable=1: no such model; known: a",
            ),
            *(
                (
                    ["--model", "a", "--poll_seconds", text],
                    f"--poll_seconds {text}: must be a number of at least 0",
                )
                for text in ("-1", "x", "nan", "inf")
            ),
        ],
    )
    def test_what_makes_no_sense_is_refused(
        self, arguments: list[str], said: str
    ) -> None:
        assert refusal(*arguments) == said

    def test_each_model_is_looked_for(self) -> None:
        said = refusal("--model", "a", "--model", "c")
        assert said == f"--model {Path.cwd()}/c: there is no such folder"

    def test_versions_and_labels_are_for_the_model_that_they_name(self) -> None:
        specs = parsed(
            *("--model", "a", "--model", "b", "--versions", "b=latest:2"),
            *("--label", "b:stable=3", "--label", "b:canary=4"),
        )["models"]
        assert specs["a"].versions == LATEST
        assert specs["b"].versions == Latest(2)
        assert specs["b"].labels == {"stable": 3, "canary": 4}

    def test_a_single_model_needs_no_name(self) -> None:
        arguments = ("--model", "b", "--versions", "3", "--label", "stable=4")
        (spec,) = parsed(*arguments)["models"].values()
        assert spec.versions == Only(frozenset({3}))
        assert spec.labels == {"stable": 4}


class TestFile:
    @pytest.fixture(autouse=True)
    def _folder(self, models: Path) -> None:
        self.path = models / "a.toml"

    def given(self, text: str) -> list[str]:
        """Arguments for a file of this text."""
        self.path.write_text(text)
        return ["--config", str(self.path)]

    def refused(self, text: str, *arguments: str) -> str:
        """What is wrong with a file, but for the name, which must be told."""
        said = refusal(*self.given(text), *arguments)
        start = f"--config {self.path}: "
        assert said.startswith(start)
        return said.removeprefix(start)

    def test_it_says_everything_that_the_command_line_says(self) -> None:
        text = """
            model = ["a", "x=b"]
            versions = "x=all"
            label = ["x:stable=3"]
            tags = ["serve"]
            poll_seconds = 0.5
            batch-size = 8
            port = [8081, "unix:/a b"]
            url_allow = ["a.example", "10.0.0.0/8"]
            no_cors = true
            batch_transpose = false
            idle_timeout = 9
        """
        options = parsed(*self.given(text))
        assert list(options["models"]) == ["a", "x"]
        assert options["models"]["x"] == ModelSpec(
            f"{Path.cwd()}/b", ("serve",), ALL, {"stable": 3}
        )
        assert options["poll_seconds"] == 0.5
        assert options["batch_size"] == 8
        assert options["port"] == ["tcp:8081:interface=127.0.0.1", "unix:/a b"]
        assert options["url_allow"] == ["a.example", "10.0.0.0/8"]
        assert options["no_cors"]
        assert not options["batch_transpose"]
        assert options["door"].idle_timeout == 9.0

    def test_models_have_tables(self) -> None:
        text = """
            [models.first]
            path = "a"

            [models.second]
            path = "b"
            tags = "serve"
            versions = [3, 4]
            labels = {stable = 3, canary = 4}
        """
        specs = parsed(*self.given(text))["models"]
        assert list(specs) == ["first", "second"]
        assert specs["second"] == ModelSpec(
            f"{Path.cwd()}/b",
            ("serve",),
            Only(frozenset({3, 4})),
            {"stable": 3, "canary": 4},
        )

    def test_the_command_line_wins(self) -> None:
        text = """
            model = "a"
            batch_size = 8
            port = [1, 2]
            models.b.path = "b"
        """
        options = parsed(*self.given(text), "-m", "z=a", "--port=3", "--batch-size=9")
        assert list(options["models"]) == ["z"]
        assert options["port"] == ["tcp:3:interface=127.0.0.1"]
        assert options["batch_size"] == 9

    def test_the_default_is_no_less_of_an_option_than_others(self) -> None:
        options = parsed(
            *self.given('model = "a"\nbatch_size = 8'), "--batch_size", "0"
        )
        assert options["batch_size"] == 0

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("batch_sise = 8", "batch_sise: there is no such option"),
            ("help = true", "help: there is no such option"),
            ('config = "b.toml"', "config: there is no such option"),
            ("m = 'a'", "m: there is no such option"),
            (
                "batch_size = 8\nbatch-size = 8",
                "batch-size: this option is there twice",
            ),
            ("no_cors = 1", "no_cors = 1: must be true or false"),
            (
                "port = true",
                "port = True: must be a string or a number, or a list of them",
            ),
            (
                "port = [{a = 1}]",
                "port = [{'a': 1}]: must be a string or a number, or a list of them",
            ),
            ("models = 3", "models = 3: must be a table"),
            ("models.a = 3", "models.a = 3: must be a table"),
            ("[models.a]", "models.a.path: is missing"),
            (
                "[models.a]\npth = 1",
                "models.a.pth: no such key; known: path, tags, versions, "
                "labels, sha256",
            ),
            ("models.a.path = 1", "models.a.path = 1: must be a string"),
            (
                "models.a.path = 'a'\nmodels.a.versions = 'x'",
                "models.a.versions = 'x': must be latest, latest:N, all, or version "
                "numbers: 3,4",
            ),
            (
                "models.a.path = 'a'\nmodels.a.labels.stable = 'x'",
                "models.a.labels.stable = 'x': must be the number of a version",
            ),
            (
                "models.a.path = 'a'\nmodels.a.tags = ','",
                "models.a.tags = ',': must be tags separated by commas",
            ),
            (
                "models.'a/b'.path = 'a'",
                "models.a/b = 'a/b': must be letters, digits, '.', '_' and '-', "
                "at most 64, no sign first",
            ),
            # What the options themselves find out.
            (
                "batch_size = -1",
                "batch_size -1: must be a whole number of at least 0",
            ),
            ("port = 65536", "port 65536: must be a port number from 0 to 65535"),
        ],
    )
    def test_a_wrong_key_or_value_is_named(self, text: str, said: str) -> None:
        assert self.refused(text, "--model", "a") == said

    def test_no_toml_is_refused_with_its_place(self) -> None:
        assert "line 2" in self.refused("a = 1\nb =\n")

    def test_a_file_that_is_not_there_is_refused(self) -> None:
        said = refusal("--config", "none.toml")
        assert said == "--config none.toml: cannot be read: No such file or directory"

    def test_bytes_that_are_no_text_are_refused(self) -> None:
        self.path.write_bytes(b"\xff")
        assert "utf-8" in refusal("--config", str(self.path))

    def test_a_path_that_is_wrong_in_it_is_told(self) -> None:
        said = self.refused("model = 'nothing'")
        assert said == f"model {Path.cwd()}/nothing: there is no such folder"

    def test_without_a_model_in_it_one_is_required(self) -> None:
        assert refusal(*self.given("batch_size = 1")) == "--model PATH: required"
