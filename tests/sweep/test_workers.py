"""The queue of workers, on a cluster that only looks like Ray: deaths are lost work and no more."""

from __future__ import annotations

from collections import deque
from types import SimpleNamespace

import pytest

from lucent.cluster import Workers, places
from lucent.errors import InputError, LucentError, LucentWarning


class RayError(Exception):
    pass


class RayTaskError(RayError):
    def __init__(self, cause):
        super().__init__(str(cause))
        self.cause = cause


class FakeRay:
    """Ray, where what was asked for first happens first."""

    exceptions = SimpleNamespace(RayError=RayError, RayTaskError=RayTaskError)

    def __init__(self, behaviour, conditions=None):
        self.behaviour, self.conditions = behaviour, conditions or (lambda actor: "same")
        self.actors, self.asked, self.log, self.killed = [], [], [], []

    def actor(self):
        number = len(self.actors)

        def ask(*what):
            self.asked.append(what)
            return what

        ready = SimpleNamespace(remote=lambda: ask("ready", number))
        work = SimpleNamespace(remote=lambda task: ask("work", number, task))
        self.actors.append(SimpleNamespace(number=number, ready=ready, work=work))
        return self.actors[-1]

    def wait(self, refs, timeout):
        return [min(refs, key=self.asked.index)], None

    def get(self, ref):
        if ref[0] == "ready":
            return self.conditions(ref[1])
        self.log.append(ref[1:])
        outcome = self.behaviour(*ref[1:])
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def kill(self, actor):
        self.killed.append(actor.number)


def run(behaviour, tasks, count=2, **options):
    ray = FakeRay(behaviour, **options)
    workers = Workers(ray, ray.actor, count)
    return ray, workers, dict(workers.done(tasks))


def test_every_task_is_done_once():
    ray, workers, results = run(lambda actor, task: task**2, range(7))
    assert results == {task: task**2 for task in range(7)}
    assert sorted(task for _, task in ray.log) == [*range(7)]
    assert {actor for actor, _ in ray.log} == {0, 1}
    workers.close()
    assert ray.killed == [0, 1]


def test_no_worker_gets_more_than_two_ahead():
    ray = FakeRay(lambda actor, task: task)
    workers = Workers(ray, ray.actor, 1)
    waiting = deque(range(5))
    assert workers.conditions() == "same"
    workers._hand_out(waiting)
    assert [*waiting] == [2, 3, 4]


def test_what_a_dead_worker_had_goes_to_others():
    dead = set()

    def die_once(actor, task):
        if task == 3 and not dead:
            dead.add(actor)
            return RayError("killed\nmore")
        return task

    ray, _, results = run(die_once, range(6))
    assert sorted(results) == [*range(6)]
    assert len(ray.actors) == 3  # one in the place of the dead one
    assert ray.killed == [*dead]


def test_a_task_that_kills_its_workers_is_reported():
    with pytest.raises(LucentError, match="5 workers died at 3; of the last one Ray says: out of"):
        run(lambda actor, task: RayError("out of memory") if task == 3 else task, range(6))


def test_workers_that_never_start_are_reported():
    def gone(actor):
        raise RayError("error in creation\n  traceback\nno such package")

    reason = "5 workers died before .* error in creation ... no such package$"
    with pytest.raises(LucentError, match=reason):
        run(lambda actor, task: task, [1], conditions=gone)


@pytest.mark.parametrize(
    ("cause", "kind", "message"),
    [
        (InputError("wrong size"), InputError, "^wrong size"),
        (ValueError("x"), LucentError, "2 fail"),
    ],
)
def test_errors_of_a_task_are_those_of_the_caller(cause, kind, message):
    with pytest.raises(kind, match=message):
        run(lambda actor, task: RayTaskError(cause) if task == 2 else task, range(4))


def test_workers_that_differ_are_a_warning():
    with pytest.warns(LucentWarning, match="The workers differ"):
        run(lambda actor, task: task, range(4), conditions=lambda actor: {"torch": actor})


def cluster(*nodes):
    return SimpleNamespace(nodes=lambda: [{"Alive": True, "Resources": node} for node in nodes])


def test_workers_are_on_gpus_if_there_are_any(monkeypatch):
    monkeypatch.setattr("torch.get_num_threads", lambda: 4)
    found = places(cluster({"CPU": 8.0}, {"CPU": 9.0, "GPU": 2.0}, {"GPU": 1.0}))
    assert (found.count, found.options) == (3, {"num_gpus": 1, "num_cpus": 1})
    found = places(cluster({"CPU": 9.0}, {"CPU": 3.0}, {"CPU": 4.0}))
    assert (found.count, found.options) == (3, {"num_cpus": 4})
    with pytest.raises(InputError, match="computes with 4 threads"):
        places(cluster({"CPU": 3.0}))
