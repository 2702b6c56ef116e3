"""What workers on several machines share, without the machines."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest

import hf_datamap as dm
from hf_datamap.engine import config
from hf_datamap.engine.budget import Budget, Prices, Usage
from hf_datamap.engine.coordinator import Coordinator, SharedStore, SharedUsage, WorkerReport
from hf_datamap.engine.task import Answer


class LocalClient:
    """Reaches a coordinator in this process, and counts how often."""

    def __init__(self, coordinator: Coordinator) -> None:
        self.coordinator, self.now, self.asked = coordinator, 0.0, []

    def get(self, keys):
        self.asked.append(len(keys))
        return self.coordinator.get(keys)

    def put(self, key, answer):
        self.coordinator.put(key, answer)

    def flush(self):
        self.asked.append("flush")

    async def grant(self, requested, report, estimate):
        return self.coordinator.grant(requested, report, estimate, self.now)


@pytest.fixture
def new_coordinator(tmp_path):
    return lambda **limits: Coordinator(Budget(**limits), str(tmp_path))


def test_requests_are_granted_until_the_budget_is_spent(new_coordinator):
    coordinator = new_coordinator(requests=40)
    grants = [coordinator.grant(16, WorkerReport(), (0, 0), 0.0) for _ in range(4)]
    assert [grant.requests for grant in grants] == [16, 16, 8, 0]
    assert "40 requests reached" in grants[3].reason
    assert coordinator.grant(16, WorkerReport(unused=3), (0, 0), 0.0).requests == 3


def test_tokens_of_all_workers_count(new_coordinator):
    coordinator = new_coordinator(tokens=1000)
    first = coordinator.grant(4, WorkerReport(), (90, 10), 0.0)
    assert first.requests == 4
    report = WorkerReport(finished=4, answered=4, input_tokens=360, output_tokens=40)
    assert coordinator.grant(16, report, (0, 0), 0.0).requests == 6  # a hundred each, as seen
    assert coordinator.grant(16, WorkerReport(), (0, 0), 0.0).requests == 0


def test_money_too(new_coordinator):
    coordinator = new_coordinator(cost=1.0, prices=Prices(1.0, 1.0))
    assert coordinator.grant(16, WorkerReport(), (100_000, 0), 0.0).requests == 9  # the tenth would reach it


def test_a_rate_is_one_for_all(new_coordinator):
    coordinator = new_coordinator(rate=10.0)
    turns = []
    for now in (0.0, 0.0, 0.3, 9.0):
        grant = coordinator.grant(5, WorkerReport(), (0, 0), now)
        turns += [now + grant.delay + place * grant.spacing for place in range(grant.requests)]
    assert turns == pytest.approx([*(0.1 * i for i in range(15)), *(9.0 + 0.1 * i for i in range(5))])


async def spend(usage: Usage, budget: Budget, requests: int) -> int:
    sent = 0
    for _ in range(requests):
        if await usage.admit(budget):
            break
        usage.requests += 1
        usage.count_answer(10, 1)
        sent += 1
    return sent


def test_workers_keep_to_one_budget_and_give_back_what_they_do_not_use(new_coordinator):
    budget = Budget(requests=30)
    client = LocalClient(new_coordinator(requests=30))
    first, second = SharedUsage(client=client), SharedUsage(client=client)
    assert asyncio.run(spend(first, budget, 5)) == 5
    client.coordinator.grant(0, first.report(last=True), (0, 0), 0.0)  # eleven of sixteen go back
    assert asyncio.run(spend(second, budget, 100)) == 25
    assert asyncio.run(spend(first, budget, 1)) == 0
    assert (client.coordinator._usage.input_tokens, client.coordinator._usage.requests) == (50 + 250, 30)


def test_one_worker_paces_itself():
    async def main() -> list[float]:
        usage, clock, turns = Usage(), asyncio.get_running_loop().time, []

        async def one() -> None:
            assert await usage.admit(Budget(rate=50.0)) == ""
            turns.append(clock())

        await asyncio.gather(*(one() for _ in range(6)))
        return turns

    turns = asyncio.run(main())
    assert all(later - earlier > 0.01 for earlier, later in pairwise(turns))
    assert turns[-1] - turns[0] > 0.09


def test_keys_are_looked_up_once(new_coordinator):
    client = LocalClient(new_coordinator())
    store = SharedStore(client)
    keys = [bytes([i]) * 20 for i in range(5)]
    client.coordinator.put(keys[4], Answer({"score": 1.0}, 7, 2))
    assert store.get(keys) == {keys[4]: Answer({"score": 1.0}, 7, 2)}
    assert store.get([keys[0]]) == {}
    assert client.asked == [5]
    store.put(keys[0], Answer(5))
    assert store.get([keys[0]]) == {keys[0]: Answer(5)}  # asked again: somebody may have bought it
    assert client.asked == [5, 1]
    store.flush()
    assert store.get([keys[1]]) == {}
    assert client.asked == [5, 1, "flush", 1]


def test_secrets_travel_in_memory_only(monkeypatch, new_coordinator):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-one")
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr("huggingface_hub.get_token", lambda: "hf_two")
    judge = dm.LLMJudge("m", base_url="http://127.0.0.1:1/v1", api_key="sk-three")
    given = config.secrets_for_workers()
    assert {"sk-one", "hf_two", "sk-three"} <= set(given.values())
    coordinator = new_coordinator()
    coordinator.set_secrets(given)
    config._KEYS.clear()
    monkeypatch.setenv("OPENAI_API_KEY", "sk-own")
    for name in given:
        if name != "OPENAI_API_KEY":
            monkeypatch.delenv(name, raising=False)
    config.adopt_secrets(coordinator.secrets())
    assert judge.endpoint.key() == "sk-three"
    assert config.api_key() == "sk-own"  # what is set there stays
    for name in given:
        monkeypatch.delenv(name, raising=False)
