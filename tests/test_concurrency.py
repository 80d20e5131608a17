"""How many connections are found worth having, for exchangers of different kinds."""

from collections.abc import Callable

import pytest

from relay.delivery.concurrency import Concurrency


def run(pace: Callable[[int], float], seconds: float, most: int = 100, *, limit: int = 1000) -> list[int]:
    """Connections after each second, of an exchanger whose transactions take `pace(connections)` seconds; always behind.

    `limit`: what the throttle allows.
    """
    concurrency, now, seen = Concurrency(most), 0.0, list[int]()
    while now < seconds:
        connections = min(concurrency.wanted, limit)
        now += pace(connections)
        for _ in range(connections):  # their replies come in a cluster
            concurrency.completed(now, connections=connections, pace_s=pace(connections), is_behind=True)
        if int(now) > len(seen):
            seen.append(connections)
    return seen


def test_an_exchanger_that_takes_its_time_gets_all_the_connections_it_may_have_within_seconds() -> None:
    assert run(lambda connections: 0.5, 6)[-1] == 100


def test_where_we_are_at_our_limit_ourselves_more_are_not_opened() -> None:
    assert max(run(lambda connections: 0.001 * connections, 20)) <= 10


@pytest.mark.parametrize("serves", [20, 40])
def test_an_exchanger_that_serves_some_at_once_gets_about_so_many(serves: int) -> None:
    seen = run(lambda connections: 0.1 * max(1.0, connections / serves), 30)
    assert serves <= max(seen[5:]) <= 2 * serves


def test_what_the_throttle_does_not_allow_yet_is_not_held_against_a_doubling() -> None:
    concurrency = Concurrency(100)
    for connections, now in ((5, 0.5), (5, 1.0), (7, 1.5), (10, 2.0)):
        for _ in range(connections + 1):
            concurrency.completed(now, connections=connections, pace_s=0.5, is_behind=True)
    assert concurrency.wanted >= 20
