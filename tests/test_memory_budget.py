"""Large messages in memory: whose turn it is."""

import asyncio
from uuid import UUID

from relay.delivery.memory_budget import MemoryBudget

BIG, SMALL = UUID(int=1), UUID(int=2)


def test_an_organization_has_half_and_leaves_the_rest_to_others() -> None:
    async def main() -> list[str]:
        budget, got = MemoryBudget(100), list[str]()

        async def take(name: str, organization_id: UUID, octets: int) -> None:
            await budget.take(organization_id, octets)
            got.append(name)

        tasks = [asyncio.create_task(take(f"big {number}", BIG, 25)) for number in range(4)]
        tasks.append(asyncio.create_task(take("small", SMALL, 50)))
        await asyncio.sleep(0)
        assert got == ["big 0", "big 1", "small"]
        budget.give(BIG, 25)
        await asyncio.gather(tasks[2])
        tasks[3].cancel()
        await asyncio.sleep(0)
        budget.give(BIG, 25)
        budget.give(BIG, 25)
        budget.give(SMALL, 50)
        return got

    assert asyncio.run(main()) == ["big 0", "big 1", "small", "big 2"]


def test_what_is_larger_than_the_budget_goes_alone() -> None:
    async def main() -> None:
        budget = MemoryBudget(100)
        await budget.take(BIG, 300)
        other = asyncio.create_task(budget.take(SMALL, 1))
        await asyncio.sleep(0)
        assert not other.done()
        budget.give(BIG, 300)
        await other

    asyncio.run(main())


def test_who_stops_waiting_leaves_nothing_behind() -> None:
    async def main() -> None:
        budget = MemoryBudget(100)
        await budget.take(BIG, 100)
        granted_late = asyncio.create_task(budget.take(SMALL, 60))
        await asyncio.sleep(0)
        budget.give(BIG, 100)  # granted, but it has not run yet
        granted_late.cancel()
        await asyncio.gather(granted_late, return_exceptions=True)
        await asyncio.wait_for(budget.take(BIG, 100), 1)

    asyncio.run(main())
