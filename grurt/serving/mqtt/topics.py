"""Topics: which of them are sessions, and where the replies to these go."""

from __future__ import annotations

import re
from dataclasses import dataclass

from grurt.errors import GrurtError
from grurt.escaping import described

ERRORS = "error"
"""The level behind an answer's topic where errors go."""
_PLACE = re.compile(r"\{(\d+)\}")
_MAX_BYTES = 65_535


@dataclass(frozen=True)
class Route:
    """The topics that one subscription brings, as sessions of a model.

    Parameters
    ----------
    model
        Its name; None for the only one.
    subscribed
        A topic filter, whose wildcards tell sessions apart.
    published
        Where answers go; ``{1}`` stands for what the first wildcard has matched.
    """

    model: str | None
    subscribed: str
    published: str

    def matched(self, topic: str) -> list[str] | None:
        """Return what each wildcard has matched; None if the topic is another one.

        Examples
        --------
        >>> Route(None, "sensors/+/imu", "activity/{1}").matched("sensors/ann/imu")
        ['ann']
        """
        levels = topic.split("/")
        found: list[str] = []
        wanted = self.subscribed.split("/")
        for i, level in enumerate(wanted):
            if level == "#":
                return [*found, "/".join(levels[i:])] if levels[i:] else None
            if i == len(levels) or level not in ("+", levels[i]):
                return None
            if level == "+":
                found.append(levels[i])
        return found if len(wanted) == len(levels) else None

    def answers_to(self, matched: list[str]) -> str:
        """Return the topic of the answers to a topic whose wildcards have matched this."""
        return _PLACE.sub(lambda place: matched[int(place[1]) - 1], self.published)

    def errors_to(self, matched: list[str]) -> str:
        """Return the topic of the errors."""
        return f"{self.answers_to(matched)}/{ERRORS}"


def session_of(matched: list[str]) -> str:
    """Return the name of the session whose topic's wildcards have matched this: it may be no name."""
    return "/".join(matched)


def read_routes(subscribed: list[str], published: list[str], models: list[str]) -> list[Route]:
    """Return the routes of pairs of ``[MODEL=]FILTER`` and topics.

    Raises
    ------
    GrurtError
        If something is no filter or topic, or what the service publishes would come back to it as samples.
    """
    if not subscribed or len(subscribed) != len(published):
        raise GrurtError(
            f"--mqtt: expected --subscribe and --publish, as often as each other, "
            f"got {len(subscribed)} and {len(published)} of them"
        )
    routes = [_route(*pair, models) for pair in zip(subscribed, published, strict=True)]
    for route in routes:
        for other in routes:
            places = _PLACE.sub("+", other.published)
            if overlap(route.subscribed, places) or overlap(route.subscribed, f"{places}/{ERRORS}"):
                raise GrurtError(
                    f"--publish {other.published}: what is published there would come back by "
                    f"--subscribe {route.subscribed}: choose a topic that no subscription matches"
                )
    return routes


def _route(subscribed: str, published: str, models: list[str]) -> Route:
    model, separator, rest = subscribed.partition("=")
    if separator and model in models:
        subscribed = rest
    elif len(models) > 1:
        raise GrurtError(f"--subscribe {subscribed}: expected MODEL=FILTER, as there are several models")
    levels = subscribed.split("/")
    are_wildcards = all(level in ("+", "#") or not set("+#") & set(level) for level in levels)
    if not _is_sound(subscribed) or not are_wildcards or "#" in levels[:-1]:
        raise GrurtError(
            f"--subscribe: expected a topic filter, whose levels are names, + or, the last one, #, "
            f"got {described(subscribed)}"
        )
    n_wildcards = sum(level in ("+", "#") for level in levels)
    if not n_wildcards:
        raise GrurtError(f"--subscribe {subscribed}: expected a wildcard, + or #: what it matches names the session")
    places = [int(place) for place in _PLACE.findall(published)]
    if not _is_sound(published) or set("+#{}") & set(_PLACE.sub("", published)):
        raise GrurtError(
            f"--publish: expected a topic, in which {{1}} is the first wildcard, got {described(published)}"
        )
    if not all(0 < place <= n_wildcards for place in places):
        raise GrurtError(f"--publish {published}: expected places from {{1}} to {{{n_wildcards}}}, as {subscribed} has")
    return Route(model if separator and model in models else None, subscribed, published)


def _is_sound(topic: str) -> bool:
    return 0 < len(topic.encode()) <= _MAX_BYTES and topic.isprintable() and not topic.startswith("$")


def overlap(one: str, other: str) -> bool:
    """Say whether there are topics that two filters match; what matches several levels counts as any number of them.

    Examples
    --------
    >>> overlap("sensors/+/imu", "sensors/+/error"), overlap("#", "activity/+")
    (False, True)
    """
    ones, others = one.split("/"), other.split("/")
    for level, another in zip(ones, others, strict=False):
        if "#" in (level, another):
            return True
        if "+" not in (level, another) and level != another:
            return False
    longest = max(ones, others, key=len)
    return len(ones) == len(others) or longest[min(len(ones), len(others))] == "#"
