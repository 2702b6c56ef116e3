"""Budgets as they are written, and what they allow."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_datamap.engine.budget import Budget, Prices, Usage
from hf_datamap.errors import BudgetError

PRICES = Prices(2.5, 10)


@pytest.mark.parametrize(
    ("text", "budget"),
    [
        ("500 requests", Budget(requests=500)),
        ("5k requests", Budget(requests=5000)),
        ("1 request", Budget(requests=1)),
        ("2M tokens", Budget(tokens=2_000_000)),
        ("1.5mtokens", Budget(tokens=1_500_000)),
        ("$5", Budget(cost=5.0, prices=PRICES)),
        ("0.5 usd", Budget(cost=0.5, prices=PRICES)),
        ("5$", Budget(cost=5.0, prices=PRICES)),
        ("10k requests, 2M tokens, $3", Budget(requests=10_000, tokens=2_000_000, cost=3.0, prices=PRICES)),
    ],
)
def test_reading(text, budget):
    assert Budget.parse(text, budget.prices) == budget


WRONG = [
    "",
    "5",
    "500",
    "5k",
    "2M, $3",
    "lots",
    "-5",
    "5 apples",
    "5 requests 6 tokens",
    "$",
    "$5 requests",
    "$5 tokens",
    "1e9",
    "0.5 requests",
]


@pytest.mark.parametrize("text", WRONG)
def test_what_cannot_be_read(text):
    with pytest.raises(BudgetError):
        Budget.parse(text, PRICES)


def test_money_needs_prices():
    with pytest.raises(BudgetError, match="--price"):
        Budget.parse("$5")
    with pytest.raises(BudgetError):
        Budget(requests=-1)
    with pytest.raises(BudgetError):
        Prices(-1, 0)
    with pytest.raises(BudgetError):
        Prices(float("nan"), 0)


def test_cost_by_hand():
    assert PRICES.cost(1_000_000, 100_000) == pytest.approx(3.5)
    assert Usage(input_tokens=400_000, output_tokens=1000).summary(PRICES)["cost"] == pytest.approx(1.01)
    assert Usage().summary()["cost"] is None


@given(
    st.lists(st.tuples(st.integers(1, 500), st.integers(0, 50)), min_size=1, max_size=40),
    st.integers(0, 5000),
    st.integers(1, 8),
)
def test_equal_requests_never_overshoot(sizes, limit, width):
    """With answers of one size the sum stays below the limit, however many are under way."""
    size = sizes[0]
    usage, budget, waiting = Usage(), Budget(tokens=limit), 0
    for _ in sizes:
        while waiting < width and not usage.exceeds(budget, size):
            usage.requests += 1
            usage.in_flight += 1
            waiting += 1
        if not waiting:
            break
        usage.in_flight -= 1
        waiting -= 1
        usage.count_answer(*size)
    while waiting:
        usage.in_flight -= 1
        waiting -= 1
        usage.count_answer(*size)
    assert usage.input_tokens + usage.output_tokens <= limit
