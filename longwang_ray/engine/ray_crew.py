"""A crew of Ray actors: Ray starts processes and carries messages, and decides nothing.

Ray never restarts an actor nor retries a call (a lost node's items would wait for a restart while
others idle), and keeps no record of calls (its server would grow with them).
"""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import ray
from ray._private import state as private
from ray.exceptions import ActorUnavailableError, OutOfMemoryError, RayActorError, RayError

from longwang_ray.engine.connection import worker_environment
from longwang_ray.engine.crew import Answer, Answered, Event, Lost, Shift, Started
from longwang_ray.engine.executor import Factory, describe

#: Seconds for which what Ray says of its nodes is believed.
_NEWS = 1.0


class Host:
    """The actor: makes the worker where it will work, and hands it one call after the other."""

    def __init__(self, factory: Factory[Any, Any]) -> None:
        self._shift = Shift(factory())

    def where(self) -> str:
        """Return the id of the node it is on; answering means that the worker is ready."""
        return str(ray.get_runtime_context().get_node_id())

    def work(self, items: Sequence[Any]) -> Answer:
        """Work through a call."""
        return self._shift.work(items)


@dataclass(eq=False)
class Actor:
    """One actor: ``refs`` are the answers it owes, oldest first; the first is that it started."""

    handle: Any
    refs: deque[Any] = field(default_factory=deque)
    started: bool = False


class RayCrew:
    """Workers in processes of their own, wherever Ray puts them.

    Args:
        factory: Makes a worker.
        limit: Asked how many workers there may be now.
        gpus: GPUs of a worker.
        threads: CPU threads of a worker.
        environment: More environment variables for the workers.
    """

    def __init__(
        self,
        factory: Factory[Any, Any],
        limit: Callable[[], int],
        *,
        gpus: float,
        threads: int,
        environment: Mapping[str, str],
    ) -> None:
        self._limit, self._actors = _News(limit), dict[Actor, None]()
        self._leaving = _News(_draining)
        self._new = ray.remote(Host).options(
            num_cpus=threads,
            num_gpus=gpus,
            max_restarts=0,
            max_task_retries=0,
            enable_task_events=False,
            runtime_env={"env_vars": worker_environment(threads, gpus) | dict(environment)},
        )
        self._factory = factory

    now = staticmethod(time.monotonic)

    def limit(self) -> int:
        """Return how many workers there may be now."""
        return int(self._limit())

    def leaving(self) -> frozenset[str]:
        """Return the nodes that are about to be taken away."""
        return frozenset(self._leaving())

    def hire(self) -> Actor:
        """Begin to start an actor; pending ones are what makes an autoscaler add nodes."""
        actor = Actor(self._new.remote(self._factory))
        actor.refs.append(actor.handle.where.remote())
        self._actors[actor] = None
        return actor

    def give(self, hand: Actor, items: Sequence[Any]) -> None:
        """Send an actor a call."""
        hand.refs.append(hand.handle.work.remote(items))

    def dismiss(self, hand: Actor) -> None:
        """Kill an actor."""
        if self._actors.pop(hand, 0) is None:
            ray.kill(hand.handle)

    def listen(self, timeout: float) -> Iterable[Event]:
        """Wait until something is ready, then tell all that there is."""
        owners = {ref: actor for actor in self._actors for ref in actor.refs}
        if not owners:
            time.sleep(timeout)  # nobody is there, and nobody has been hired: a pause
            return []
        ready, _ = ray.wait(list(owners), num_returns=1, timeout=timeout)
        if ready:
            ready, _ = ray.wait(list(owners), num_returns=len(owners), timeout=0)
        spoken, known = set(ready), dict.fromkeys(owners[ref] for ref in ready)
        return [event for actor in known for event in self._told(actor, spoken)]

    def _told(self, actor: Actor, ready: set[Any]) -> list[Event]:
        """What an actor has said, in the order in which it worked."""
        events: list[Event] = []
        while actor.refs and actor.refs[0] in ready:
            event = _event(actor, actor.refs.popleft())
            events.append(event)
            if isinstance(event, Lost):
                actor.refs.clear()
        return events


def _event(actor: Actor, ref: Any) -> Event:  # noqa: ANN401 - Ray's references are not typed
    try:
        said = ray.get(ref)
    except RayError as error:
        return Lost(actor, _cause(error), _blameless(error))
    if actor.started:
        return Answered(actor, said)
    actor.started = True
    return Started(actor, said)


class _News:
    """What somebody says, asked again only after a while."""

    def __init__(self, ask: Callable[[], Any]) -> None:
        self._ask, self._said, self._when = ask, None, -_NEWS

    def __call__(self) -> Any:  # noqa: ANN401 - whatever was said
        now = time.monotonic()
        if now - self._when >= _NEWS:
            self._said, self._when = self._ask(), now
        return self._said


def _draining() -> Iterable[str]:
    """Nodes with a drain notice; Ray tells it privately."""
    ask = getattr(private.state, "get_draining_nodes", None)
    return ask() if ask is not None else ()


def _blameless(error: RayError) -> bool:
    """Whether an actor went because its node did, whatever it was doing."""
    gone = "node has died" in str(error) or "node was removed" in str(error)
    if isinstance(error, ActorUnavailableError):  # out of reach: it may have worked well
        return True
    return isinstance(error, RayActorError) and (error.preempted or gone)


def _cause(error: RayError) -> str:
    """Put the reason of a Ray error into one line, without Ray's pages around it.

    >>> _cause(RayError("Header\\n Worker exit detail: End of file. Some common causes are: x"))
    'End of file.'
    """
    cause = getattr(error, "cause", None)
    if isinstance(cause, BaseException):
        return describe(cause)
    if isinstance(error, OutOfMemoryError) or "running low on memory" in str(error):
        return "Ray stopped it because its machine ran out of memory"
    detail = re.search(r"Worker exit detail: (.*?)(?: Some common causes|\n|$)", str(error))
    if detail:
        return detail[1]
    lines = [text.strip() for text in str(error).splitlines() if text.strip()]
    told = [text for text in lines if "Error: " in text]
    return (told or lines or [type(error).__name__])[-1]
