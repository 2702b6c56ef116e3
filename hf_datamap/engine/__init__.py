"""Tasks to answers: scheduling, retries, limits, the store of scores, budgets, endpoints. Knows no rows."""
