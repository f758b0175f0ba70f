"""Versions that come and go, with a source and threads that are stepped."""

from __future__ import annotations

from collections.abc import Collection, Coroutine, Hashable, Sequence
from typing import Any

import attrs
import numpy as np
import pytest
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.logger import LogEvent, capturedLogs, formatEvent
from zope.interface import implementer
from zope.interface.verify import verifyObject

from tests.deferreds import reason, result
from tests.memory import MemoryModel
from tests.pool import SteppedThreads
from txinfer.collector import Collector
from txinfer.errors import InvalidModel, Unavailable, UnknownVersion
from txinfer.interfaces import IModel
from txinfer.loader import Loader
from txinfer.observe import IObserver, Labels, NullObserver
from txinfer.policy import BatchPolicy
from txinfer.registry import Versions
from txinfer.sources import Found, ISource
from txinfer.specs import ALL, LATEST, Latest, Only, VersionPolicy
from txinfer.tensors import Tensors
from txinfer.transfer import Failed
from txinfer.watch import VersionWatcher

POLL = 2.0


@attrs.define
class Disk:
    """What a source finds of one version."""

    model: IModel | Exception
    mark: Hashable = 0
    unfinished: str | None = None


@implementer(ISource)
class MemorySource:
    """Versions in a dict; ``error`` is what a search fails with instead, and
    ``unreadable`` what a look at the highest does.
    """

    least_poll = 0.0

    def __init__(self) -> None:
        self.versions: dict[int, Disk] = {}
        self.error: Exception | None = None
        self.unreadable: Exception | None = None
        self.inspected: list[int] = []
        self.stopped = self.cleared = False
        self.refreshed = 0

    def numbers(self) -> Deferred[Collection[int]]:
        if self.error is not None:
            return fail(self.error)
        return succeed(self.versions.keys())

    def inspect(self, number: int) -> Deferred[Found]:
        self.inspected.append(number)
        if self.unreadable is not None and number == max(self.versions):
            return fail(self.unreadable)
        disk = self.versions[number]

        def load() -> IModel:
            if isinstance(disk.model, Exception):
                raise disk.model
            return disk.model

        return succeed(Found(f"m/{number}", disk.mark, load, disk.unfinished))

    def refresh(self) -> Deferred[None]:
        self.refreshed += 1
        return succeed(None)

    def stop(self) -> None:
        self.stopped = True

    def clear(self) -> Deferred[None]:
        self.cleared = True
        return succeed(None)


class Told(NullObserver):
    """Keeps what it is told of models."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def loaded(self, labels: Labels, seconds: float, failed: bool) -> None:
        what = "failed" if failed else "loaded"
        self.events.append(f"{labels.model} {labels.version} {what}")

    def became(self, labels: Labels, state: str) -> None:
        self.events.append(f"{labels.model} {labels.version} {state}")


def times(factor: float) -> MemoryModel:
    """A model that multiplies by the number of its version."""

    def multiply(tensors: Tensors) -> Tensors:
        return {"y": tensors["x"] * np.float32(factor)}

    return MemoryModel(functions={"serving_default": multiply})


class Bench:
    """A watcher with everything about it in a test's hands."""

    def __init__(
        self,
        *numbers: int,
        policy: VersionPolicy = LATEST,
        labels: dict[str, int] | None = None,
        poll: float = POLL,
    ) -> None:
        self.clock = Clock()
        self.source = MemorySource()
        self.models: dict[int, MemoryModel] = {}
        self.loaders = SteppedThreads(2)
        self.sessions = SteppedThreads()
        self.told = Told()
        self.collector = Collector(self.sessions, self.clock, BatchPolicy())
        self.versions = Versions("m", labels)
        loader = Loader(self.loaders, self.collector, self.clock, self.told)
        self.watcher = VersionWatcher(
            self.versions, self.source, policy, loader, self.clock, poll
        )
        for number in numbers:
            self.add(number)

    def add(self, number: int, error: Exception | None = None, **disk: Any) -> None:
        if error is None:
            self.models[number] = times(number)
        model: IModel | Exception = error or self.models[number]
        self.source.versions[number] = Disk(model, **disk)

    def start(self) -> Deferred[None]:
        started = Deferred.fromCoroutine(self.watcher.start())
        self.loaders.finish()
        return started

    def poll(self, looks: int = 1) -> None:
        """Let the time of so many looks pass, and what they begin be done."""
        for _ in range(looks):
            self.clock.advance(POLL)
            self.loaders.finish()

    def stop(self) -> Deferred[None]:
        stopped = Deferred.fromCoroutine(self.watcher.stop())
        self.loaders.finish()
        return stopped

    def call(self, number: float = 1) -> Deferred[float]:
        """Call the current version as a request does: with a lease."""

        async def call() -> float:
            with self.versions.lease("serving_default") as method:
                outputs = await method.predict({"x": np.array([number], np.float32)})
            return float(outputs["y"][0])

        return Deferred.fromCoroutine(call())

    def answer(self) -> float:
        """What the current version makes of 1: its own number."""
        call = self.call()
        self.sessions.finish()
        return result(call)

    @property
    def available(self) -> set[int]:
        return set(self.versions.available)


def started(*numbers: int, **options: Any) -> Bench:
    bench = Bench(*numbers, **options)
    assert result(bench.start()) is None
    return bench


def test_what_the_doubles_promise() -> None:
    verifyObject(ISource, MemorySource())
    verifyObject(IObserver, Told())


# At the start


@pytest.mark.parametrize(
    ("policy", "loaded"),
    [
        (LATEST, {7}),
        (Latest(2), {3, 7}),
        (ALL, {1, 3, 7}),
        (Only(frozenset({1, 3})), {1, 3}),
    ],
)
def test_the_policy_chooses_what_is_loaded(
    policy: VersionPolicy, loaded: set[int]
) -> None:
    bench = started(1, 3, 7, policy=policy)
    assert bench.available == loaded
    assert bench.answer() == max(loaded)


def test_labelled_versions_are_loaded_too() -> None:
    bench = started(1, 3, 7, labels={"stable": 1})
    assert bench.available == {1, 7}
    assert bench.versions.label("stable").number == 1


def test_versions_that_are_not_wanted_are_not_even_looked_at() -> None:
    assert started(1, 3, 7).source.inspected == [7]


def test_the_next_one_stands_in_for_one_that_does_not_load() -> None:
    bench = Bench(1, 3)
    bench.add(7, InvalidModel("m/7: broken"))
    with capturedLogs() as events:
        assert result(bench.start()) is None
    assert bench.available == {3}
    assert bench.versions.failures == {7: "it could not be loaded"}
    assert [event["why"] for event in events if "why" in event] == ["m/7: broken"]


def test_if_none_loads_the_highest_says_why() -> None:
    bench = Bench()
    bench.add(3, InvalidModel("m/3: broken"))
    bench.add(7, InvalidModel("m/7: broken"))
    assert str(reason(bench.start())) == "m/7: broken"
    with pytest.raises(Unavailable, match="the log says why"):
        bench.versions.current()


def test_a_search_that_fails_at_the_start_is_told() -> None:
    bench = Bench()
    bench.source.error = InvalidModel("m: there is no such folder")
    assert str(reason(bench.start())) == "m: there is no such folder"


def test_half_a_copy_at_the_start_is_told_if_there_is_nothing_else() -> None:
    bench = Bench()
    bench.add(3, unfinished="variables.index is missing")
    assert str(reason(bench.start())) == "m/3: variables.index is missing"


def test_listed_versions_that_are_not_there_are_told() -> None:
    bench = Bench(1, 3, policy=Only(frozenset({2})))
    assert str(reason(bench.start())) == "there is no version 2; there is: 1, 3"
    assert bench.versions.failures == {2: "it is not there"}


def test_what_was_missing_at_the_start_is_served_when_it_comes() -> None:
    bench = Bench()
    bench.source.error = InvalidModel("m: there is no such folder")
    assert isinstance(reason(bench.start()), InvalidModel)
    bench.source.error = None
    bench.add(3)
    bench.poll(2)
    assert bench.answer() == 3


def test_without_polling_there_is_one_look() -> None:
    bench = started(3, poll=0.0)
    assert not bench.clock.getDelayedCalls()


# A new version


def test_a_new_version_replaces_the_old_one() -> None:
    bench = started(3)
    bench.add(4)
    bench.poll()
    assert bench.answer() == 3
    bench.poll()
    assert bench.answer() == 4
    assert bench.available == {4}
    assert [bench.models[n].closed for n in (3, 4)] == [1, 0]


def test_while_it_is_loaded_the_old_one_answers() -> None:
    bench = started(3)
    bench.add(4)
    bench.poll()
    bench.clock.advance(POLL)
    assert bench.available == {3}
    while bench.available == {3}:
        assert bench.answer() == 3
        bench.loaders.step()
    assert bench.answer() == 4


def test_calls_under_way_are_answered_by_the_version_that_took_them() -> None:
    bench = started(3)
    calls = [bench.call() for _ in range(2)]
    bench.add(4)
    bench.poll(2)
    assert bench.available == {4}
    calls.append(bench.call())
    assert bench.models[3].closed == 0
    bench.sessions.step()
    assert [call.called for call in calls] == [True, False, False]
    bench.loaders.finish()
    assert bench.models[3].closed == 0
    bench.sessions.finish()
    bench.loaders.finish()
    assert [result(call) for call in calls] == [3, 3, 4]
    assert bench.models[3].closed == 1


def test_a_version_is_not_closed_while_it_runs_for_somebody_who_has_gone() -> None:
    bench = started(3)
    call = bench.call()
    call.cancel()
    assert reason(call)
    bench.add(4)
    bench.poll(2)
    assert bench.models[3].closed == 0
    bench.sessions.finish()
    bench.loaders.finish()
    assert bench.models[3].closed == 1


def test_a_method_kept_beyond_its_version_refuses() -> None:
    bench = started(3)
    method = bench.versions.method("serving_default")
    bench.add(4)
    bench.poll(2)
    call = method.predict({"x": np.ones(1, np.float32)})
    assert isinstance(reason(call), Unavailable)


def test_the_latest_two_move_on_together() -> None:
    bench = started(1, 2, 3, policy=Latest(2))
    bench.add(4)
    bench.poll(2)
    assert bench.available == {3, 4}
    assert bench.models[2].closed == 1


def test_a_labelled_version_stays() -> None:
    bench = started(3, labels={"stable": 3})
    bench.add(4)
    bench.poll(2)
    assert bench.available == {3, 4}
    assert bench.versions.label("stable").number == 3
    assert bench.answer() == 4


def test_observers_are_told_of_every_step() -> None:
    bench = started(3)
    bench.add(4)
    bench.poll(2)
    assert bench.told.events == [
        "m 3 START",
        "m 3 LOADING",
        "m 3 AVAILABLE",
        "m 3 loaded",
        "m 4 START",
        "m 4 LOADING",
        "m 4 AVAILABLE",
        "m 4 loaded",
        "m 3 UNLOADING",
        "m 3 END",
    ]


# A version that is no good


def broken() -> InvalidModel:
    return InvalidModel("m/4: broken")


@pytest.mark.parametrize("error", [broken(), ZeroDivisionError("a bug")])
def test_a_version_that_does_not_load_replaces_nothing(error: Exception) -> None:
    bench = started(3)
    bench.add(4, error)
    with capturedLogs() as events:
        bench.poll(5)
    assert bench.answer() == 3
    assert bench.models[3].closed == 0
    assert bench.versions.failures == {4: "it could not be loaded"}
    assert bench.told.events.count("m 4 failed") == 1
    assert len([e for e in events if e["log_level"].name in ("error", "critical")]) == 1
    row = bench.versions.listing()["versions"][0]
    assert row == {"version": 4, "state": "END", "error": "it could not be loaded"}


def unreachable() -> InvalidModel:
    error = InvalidModel("m/4: the store is not there")
    error.__cause__ = Failed("the store is not there")
    return error


def retries(events: Sequence[LogEvent]) -> list[str]:
    """What the log says of further tries."""
    told = [formatEvent(event) for event in events]
    return [text for text in told if "again" in text]


def test_what_failed_for_a_passing_reason_is_tried_again() -> None:
    bench = started(3)
    bench.add(4, unreachable())
    with capturedLogs() as events:
        bench.poll(2)
    assert retries(events) == ["m: version 4 is tried again in 5 s"]
    assert bench.versions.failures == {4: "it could not be loaded"}
    bench.add(4)
    bench.poll(2)
    assert bench.available == {3}
    bench.poll()
    assert bench.answer() == 4
    assert bench.versions.failures == {}


def test_further_tries_become_rare_but_do_not_end() -> None:
    bench = started(3)
    bench.add(4, unreachable())
    with capturedLogs() as events:
        bench.poll(1500)
    pauses = [int(text.split()[-2]) for text in retries(events)]
    assert pauses == [5, 10, 20, 40, 80, 160, 320, 600, 600, 600, 600]
    assert bench.answer() == 3


def test_files_that_change_end_the_pause() -> None:
    bench = started(3)
    bench.add(4, unreachable())
    bench.poll(9)
    bench.add(4, unreachable(), mark=1)
    with capturedLogs() as events:
        bench.poll(2)
    assert retries(events) == ["m: version 4 is tried again in 5 s"]


def test_without_polling_no_further_try_is_promised() -> None:
    bench = Bench(3, poll=0.0)
    bench.add(4, unreachable())
    with capturedLogs() as events:
        assert result(bench.start()) is None
    assert retries(events) == []
    assert bench.answer() == 3


def test_a_version_that_cannot_be_looked_at_is_told() -> None:
    bench = started(3)
    bench.add(4)
    bench.source.unreadable = InvalidModel("m/4: it cannot be read")
    with capturedLogs() as events:
        bench.poll(3)
    assert [event["why"] for event in events] == ["m/4: it cannot be read"]
    assert bench.versions.failures == {4: "it cannot be read"}
    bench.source.unreadable = None
    bench.poll(2)
    assert bench.answer() == 4


def test_the_failure_of_one_costs_none_of_the_others() -> None:
    bench = started(2, 3, policy=Latest(2))
    bench.add(4, broken())
    bench.poll(3)
    assert bench.available == {2, 3}


def test_it_is_tried_again_when_its_files_have_changed() -> None:
    bench = started(3)
    bench.add(4, broken())
    bench.poll(2)
    bench.add(4, mark=1)
    bench.poll(2)
    assert bench.answer() == 4
    assert bench.versions.failures == {}


def test_the_failure_of_a_version_that_is_taken_away_is_forgotten() -> None:
    bench = started(3)
    bench.add(4, broken())
    bench.poll(2)
    del bench.source.versions[4]
    bench.poll()
    assert bench.versions.failures == {}


def test_it_is_loaded_only_when_it_has_stopped_to_change() -> None:
    bench = started(3)
    for mark in range(5):
        bench.add(4, mark=mark)
        bench.poll()
        assert bench.available == {3}
        assert bench.versions.pending == {4: "its files have just changed"}
    bench.poll()
    assert bench.available == {4}
    assert bench.versions.pending == {}


def test_it_is_loaded_only_when_it_is_whole() -> None:
    bench = started(3)
    bench.add(4, unfinished="variables.index is missing")
    bench.poll(9)
    assert bench.available == {3}
    assert bench.versions.pending == {4: "variables.index is missing"}
    bench.source.versions[4].unfinished = None
    bench.poll()
    assert bench.available == {4}


def test_a_version_changed_in_its_place_is_loaded_again() -> None:
    bench = started(3)
    old = bench.models[3]
    bench.add(3, mark=1)
    bench.models[3]._functions["serving_default"] = lambda t: {"y": -t["x"]}
    bench.poll()
    assert bench.answer() == 3
    bench.poll()
    assert bench.answer() == -1
    assert old.closed == 1


def test_a_version_changed_for_the_worse_stays_as_it_was() -> None:
    bench = started(3)
    bench.add(3, broken(), mark=1)
    bench.poll(5)
    assert bench.answer() == 3
    (row,) = bench.versions.listing()["versions"]
    assert row["state"] == "AVAILABLE"
    assert row["error"] == "it could not be loaded"


# A version that is taken away


def test_taking_away_the_newest_brings_back_the_one_before() -> None:
    bench = started(3, 4)
    del bench.source.versions[4]
    bench.poll(2)
    assert bench.answer() == 3
    assert bench.available == {3}
    assert bench.models[4].closed == 1


def test_the_last_version_is_never_taken_away() -> None:
    bench = started(3)
    bench.source.versions.clear()
    bench.poll(3)
    assert bench.answer() == 3


def test_a_search_that_fails_changes_nothing_and_is_told_once() -> None:
    bench = started(3)
    bench.source.error = OSError("the disk is gone")
    with capturedLogs() as events:
        bench.poll(5)
    assert bench.answer() == 3
    assert len(events) == 1
    bench.source.error = None
    bench.add(4)
    bench.poll(2)
    assert bench.answer() == 4


# By hand


def by_hand(bench: Bench, doing: Coroutine[Any, Any, None]) -> Deferred[None]:
    """Let something be done; what begins in the loaders' threads is done too."""
    done = Deferred.fromCoroutine(doing)
    bench.loaders.finish()
    return done


def test_a_version_can_be_loaded_whatever_the_policy_says() -> None:
    bench = started(1, 3)
    assert by_hand(bench, bench.watcher.load(1)).called
    assert bench.available == {1, 3}
    bench.poll(3)
    assert bench.available == {1, 3}
    bench.add(4)
    bench.poll(2)
    assert bench.available == {1, 4}


def test_a_version_is_loaded_by_hand_without_waiting_for_its_files() -> None:
    bench = started(3)
    bench.add(4)
    assert by_hand(bench, bench.watcher.load(4)).called
    assert bench.answer() == 4


@pytest.mark.parametrize(
    ("disk", "why"),
    [
        ({"error": InvalidModel("m/4: broken")}, "m/4: broken"),
        ({"unfinished": "variables.index is missing"}, "variables.index is missing"),
        (None, "there is no version 4"),
    ],
)
def test_a_version_that_cannot_be_loaded_by_hand_says_why(
    disk: dict[str, Any] | None, why: str
) -> None:
    bench = started(3)
    if disk is not None:
        bench.add(4, **disk)
    assert str(reason(by_hand(bench, bench.watcher.load(4)))) == why
    assert bench.available == {3}
    bench.poll(2)
    assert bench.available == {3}


def test_what_was_refused_is_tried_again_by_hand() -> None:
    bench = started(3)
    bench.add(4, broken())
    bench.poll(2)
    bench.add(4)
    assert by_hand(bench, bench.watcher.load(4)).called
    assert bench.available == {4}
    assert bench.versions.failures == {}


def test_unloading_the_newest_brings_back_the_one_before() -> None:
    bench = started(3, 4)
    call = bench.call()
    unloaded = by_hand(bench, bench.watcher.unload(4))
    assert bench.available == {3}
    assert not unloaded.called
    bench.sessions.finish()
    bench.loaders.finish()
    assert result(call) == 4
    assert unloaded.called
    bench.poll(3)
    assert bench.available == {3}
    assert by_hand(bench, bench.watcher.load(4)).called
    assert bench.available == {4}


def test_the_last_version_can_be_unloaded_by_hand() -> None:
    bench = started(3)
    assert by_hand(bench, bench.watcher.unload(3)).called
    assert bench.available == set()
    with pytest.raises(Unavailable):
        bench.versions.lease("serving_default")
    bench.poll(2)
    assert bench.available == set()
    bench.add(4)
    bench.poll(2)
    assert bench.answer() == 4


def test_reloading_replaces_what_is_loaded() -> None:
    bench = started(3, 4, policy=ALL)
    old = dict(bench.models)
    bench.add(3)
    bench.add(4)
    assert by_hand(bench, bench.watcher.reload()).called
    assert bench.source.refreshed == 1
    assert [old[n].closed for n in (3, 4)] == [1, 1]
    assert [bench.models[n].closed for n in (3, 4)] == [0, 0]
    assert bench.available == {3, 4}


def test_reloading_one_leaves_the_others_alone() -> None:
    bench = started(3, 4, policy=ALL)
    old = dict(bench.models)
    bench.add(4)
    assert by_hand(bench, bench.watcher.reload(4)).called
    assert [old[n].closed for n in (3, 4)] == [0, 1]


def test_what_cannot_be_reloaded_stays_as_it_was() -> None:
    bench = started(3)
    bench.add(3, InvalidModel("m/3: broken"))
    assert str(reason(by_hand(bench, bench.watcher.reload()))) == "m/3: broken"
    assert bench.answer() == 3
    assert bench.models[3].closed == 0
    # It is tried once more by whoever asks.
    bench.add(3)
    assert by_hand(bench, bench.watcher.reload()).called
    assert bench.versions.failures == {}


def test_a_label_keeps_its_version_until_it_is_moved() -> None:
    bench = started(3)
    assert by_hand(bench, bench.watcher.label("stable", 3)).called
    bench.add(4)
    bench.poll(2)
    assert bench.available == {3, 4}
    assert by_hand(bench, bench.watcher.label("stable", 4)).called
    assert bench.available == {4}
    assert bench.versions.label("stable").number == 4
    assert by_hand(bench, bench.watcher.label("stable", None)).called
    assert bench.versions.labels == {}


def test_a_label_is_only_for_what_is_served() -> None:
    bench = started(3)
    error = reason(by_hand(bench, bench.watcher.label("stable", 9)))
    assert isinstance(error, UnknownVersion)
    assert bench.versions.labels == {}


# The end


def test_stopping_ends_every_version_when_its_calls_are_answered() -> None:
    bench = started(3, 4, policy=ALL)
    call = bench.call()
    stopped = bench.stop()
    with pytest.raises(Unavailable, match="shutting down"):
        bench.versions.lease("serving_default")
    assert not stopped.called
    bench.sessions.finish()
    bench.loaders.finish()
    assert result(call) == 4
    assert result(stopped) is None
    assert [bench.models[n].closed for n in (3, 4)] == [1, 1]
    assert bench.source.stopped
    assert bench.source.cleared
    assert bench.collector.close().called
    assert not bench.clock.getDelayedCalls()


def test_stopping_waits_for_what_is_being_loaded() -> None:
    bench = Bench(3, 4, policy=ALL)
    started = Deferred.fromCoroutine(bench.watcher.start())
    stopped = Deferred.fromCoroutine(bench.watcher.stop())
    assert not stopped.called
    bench.loaders.finish()
    assert result(started) is None
    assert result(stopped) is None
    assert [bench.models[n].closed for n in (3, 4)] == [0, 1]
    assert not bench.versions.available
    assert not bench.clock.getDelayedCalls()


def test_stopping_waits_for_versions_that_end_already() -> None:
    bench = started(3)
    call = bench.call()
    bench.add(4)
    bench.poll(2)
    stopped = bench.stop()
    assert not stopped.called
    bench.sessions.finish()
    bench.loaders.finish()
    assert result(call) == 3
    assert stopped.called


def test_two_models_are_loaded_one_after_the_other() -> None:
    bench, other = Bench(3), Versions("n")
    source = MemorySource()
    source.versions[1] = Disk(times(1))
    second = VersionWatcher(
        other, source, LATEST, bench.watcher._loader, bench.clock, POLL
    )
    starts = [
        Deferred.fromCoroutine(watcher.start()) for watcher in (bench.watcher, second)
    ]
    assert len(bench.loaders.started) == 1
    bench.loaders.finish()
    assert all(start.called for start in starts)
    assert other.current().number == 1


@pytest.mark.parametrize("wait", [0, 1])
def test_progress_is_told_while_it_takes_long(wait: int) -> None:
    bench = Bench(3)
    with capturedLogs() as events:
        Deferred.fromCoroutine(bench.watcher.start())
        bench.clock.advance(12 * wait)
    told = [event["seconds"] for event in events if "seconds" in event]
    assert told == ([0, 12] if wait else [0])
    bench.loaders.finish()
