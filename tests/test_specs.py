"""Which models and versions are meant by what is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.test_layout import SERVE, graph, write
from txinfer.errors import InvalidModel
from txinfer.specs import (
    ALL,
    LATEST,
    Latest,
    ModelSpec,
    Only,
    VersionPolicy,
    as_specs,
    check_spec,
    name_of,
    parse_name,
    parse_versions,
)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/srv/digits", "digits"),
        ("/srv/digits/", "digits"),
        ("/srv/digits/7", "digits"),
        ("/srv/digits/7/8", "digits"),
        ("/7", "7"),
        ("/srv/my model!", "my-model"),
        ("/srv/.hidden", "hidden"),
        ("/", "default"),
        ("/srv/数字", "default"),
        ("/" + "x" * 99, "x" * 64),
        ("https://a.example/models/digits.tar.gz?key=1#sha256=0", "digits"),
        ("s3://bucket/digits/3", "digits"),
    ],
)
def test_a_model_is_called_by_its_folder(path: str, name: str) -> None:
    assert name_of(path) == name
    assert parse_name(name) == name


@pytest.mark.parametrize("text", ["", ".", "-a", "a/b", "a b", "ä", "x" * 65])
def test_what_a_url_cannot_hold_is_no_name(text: str) -> None:
    with pytest.raises(ValueError, match="must be letters, digits"):
        parse_name(text)


@pytest.mark.parametrize(
    ("text", "policy", "chosen"),
    [
        ("latest", LATEST, {5}),
        ("latest:1", LATEST, {5}),
        ("latest:2", Latest(2), {3, 5}),
        ("latest:9", Latest(9), {1, 3, 5}),
        ("all", ALL, {1, 3, 5}),
        ("3", Only(frozenset({3})), {3}),
        ("3, 1,7", Only(frozenset({1, 3, 7})), {1, 3}),
    ],
)
def test_a_policy_chooses_among_what_is_there(
    text: str, policy: VersionPolicy, chosen: set[int]
) -> None:
    assert parse_versions(text) == policy
    assert policy.choose([1, 5, 3]) == chosen


@pytest.mark.parametrize(
    "text", ["", "latest:", "latest:0", "latest:x", "newest", "3,", "-1", "٣", "9" * 20]
)
def test_what_is_no_policy_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be latest, latest:N, all, or"):
        parse_versions(text)


def test_only_listed_versions_can_be_missing() -> None:
    assert Only(frozenset({3, 7})).missing([1, 3]) == {7}
    assert LATEST.missing([]) == set()


def test_a_path_alone_is_the_first_of_the_models() -> None:
    specs = as_specs("/srv/digits", {"b": "/srv/b"}, ("serve",), None)
    assert list(specs) == ["digits", "b"]
    assert specs["b"] == ModelSpec("/srv/b", ("serve",))


def test_a_model_s_own_tags_win() -> None:
    specs = as_specs(None, {"a": ModelSpec("/a", ("gpu",))}, ("serve",), None)
    assert specs["a"].tags == ("gpu",)


def test_a_service_needs_a_model_and_names_that_can_be_called() -> None:
    with pytest.raises(ValueError, match="at least one model is needed"):
        as_specs(None, {}, ("serve",), None)
    with pytest.raises(ValueError, match="must be letters"):
        as_specs(None, {"a/b": "/a"}, ("serve",), None)


class TestCheck:
    """What is found out of a model before anything is loaded."""

    def check(self, folder: Path, versions: VersionPolicy = LATEST) -> None:
        check_spec(ModelSpec(str(folder), ("serve",), versions))

    def test_a_broken_version_is_no_reason_if_another_can_stand_in(
        self, tmp_path: Path
    ) -> None:
        write(tmp_path / "1", SERVE)
        write(tmp_path / "2")
        self.check(tmp_path)
        with pytest.raises(InvalidModel, match=r"2: saved_model.pb is not"):
            self.check(tmp_path, Only(frozenset({2})))

    def test_it_is_the_highest_that_is_told_of(self, tmp_path: Path) -> None:
        write(tmp_path / "1", graph(["train"], ["f"]))
        write(tmp_path / "2")
        with pytest.raises(InvalidModel, match=r"2: saved_model.pb is not"):
            self.check(tmp_path)

    def test_listed_versions_have_to_be_there(self, tmp_path: Path) -> None:
        write(tmp_path / "1", SERVE)
        write(tmp_path / "3", SERVE)
        with pytest.raises(InvalidModel, match=r"none of the wanted .* there is: 1, 3"):
            self.check(tmp_path, Only(frozenset({2})))

    def test_a_labelled_version_will_do(self, tmp_path: Path) -> None:
        write(tmp_path / "1", SERVE)
        labels = {"stable": 1}
        wanted = Only(frozenset({9}))
        check_spec(ModelSpec(str(tmp_path), ("serve",), wanted, labels))
