"""API keys: what a key file may say, and who is known by it."""

from __future__ import annotations

from hashlib import sha256

import pytest

from txinfer.keys import SHORTEST, parse_keys

KEY = "0123456789abcdef"
OTHER = "fedcba9876543210"


def test_a_key_is_known_by_the_name_before_it() -> None:
    keys = parse_keys(f"alice:{KEY}\nbob:{OTHER}\n")
    assert keys.name(KEY.encode()) == "alice"
    assert keys.name(OTHER.encode()) == "bob"


def test_any_other_key_is_not_known() -> None:
    keys = parse_keys(f"alice:{KEY}")
    digest = sha256(KEY.encode())
    others = [KEY[:-1], KEY + "0", KEY.upper(), "alice", f"alice:{KEY}", ""]
    for other in (*others, digest.hexdigest(), f"sha256:{digest.hexdigest()}"):
        assert keys.name(other.encode()) is None, other
    assert keys.name(digest.digest()) is None
    assert keys.name(b"\xff\x00") is None


def test_a_key_without_a_name_is_called_by_its_digest() -> None:
    name = parse_keys(KEY).name(KEY.encode())
    assert name == "key-" + sha256(KEY.encode()).hexdigest()[:8]


def test_a_digest_stands_for_a_key_that_is_not_written_down() -> None:
    digest = sha256(KEY.encode()).hexdigest()
    keys = parse_keys(f"alice:sha256:{digest.upper()}")
    assert keys.name(KEY.encode()) == "alice"
    assert keys.name(digest.encode()) is None


def test_blank_lines_comments_and_spaces_around_say_nothing() -> None:
    keys = parse_keys(f"\n# alice:{OTHER}\n  \t\n  alice:{KEY} \r\n")
    assert keys.name(KEY.encode()) == "alice"
    assert keys.name(OTHER.encode()) is None


def test_a_key_of_every_admitted_character_is_known() -> None:
    key = "AZaz09._~+/=-" + "x" * SHORTEST
    assert parse_keys(f"a.b-c_1:{key}").name(key.encode()) == "a.b-c_1"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "it has no key"),
        ("# nothing\n", "it has no key"),
        (f"a:{KEY}\n" + "x" * (SHORTEST - 1), "line 2: a key has at least 16"),
        ("x" * SHORTEST + "\N{SNOWMAN}", "line 1: a key has at least 16"),
        ("two words of a key", "line 1: a key has at least 16"),
        (f":{KEY}", "line 1: a name has"),
        (f"a b:{KEY}", "line 1: a name has"),
        (f"a:b:{KEY}", "line 1: a name has"),
        ("a" * 65 + f":{KEY}", "line 1: a name has"),
        ("a:sha256:0123", "line 1: a SHA-256 digest"),
        (f":sha256:{'0' * 64}", "line 1: a name has"),
        (f"a:{KEY}\n\nb:{KEY}", "line 3: the key is there already"),
        (f"a:{KEY}\na:{OTHER}", "line 2: the name a is taken"),
    ],
)
def test_a_wrong_line_is_named_but_not_shown(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        parse_keys(text)
    assert KEY not in str(caught.value)
    assert "x" * 5 not in str(caught.value)


def test_keys_are_not_shown() -> None:
    keys = parse_keys(f"alice:{KEY}")
    assert KEY not in repr(keys)
    assert sha256(KEY.encode()).hexdigest() not in repr(keys)
