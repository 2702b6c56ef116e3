"""Ray itself: the connection, the coordinator's actor, pools, calls, and errors without their wrapping."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from hf_datamap.engine import config
from hf_datamap.engine.budget import Budget
from hf_datamap.errors import DataMapError
from hf_datamap.scorers.base import Scorer
from hf_datamap.scoring.ray.workers import CoordinatorActor

if TYPE_CHECKING:
    import ray.data

_CALLS_AHEAD: Final = 200  # calls submitted ahead of the one that is waited for


def connect(address: str | None) -> None:
    """Connect to a cluster, unless this process is connected already.

    Raises:
        DataMapError: Ray is not installed, or there is no such cluster.
    """
    try:
        import ray
    except ImportError:
        raise DataMapError("Ray is not installed: pip install 'hf_datamap[ray]'") from None
    if ray.is_initialized():
        return
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.WARNING)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise DataMapError(f"no Ray cluster at {address or 'RAY_ADDRESS'}: {error}") from None


@contextmanager
def coordinator_actor(budget: Budget) -> Iterator[Any]:
    """A coordinator on this machine, for as long as the work takes."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    this_node = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    coordinator = (
        ray.remote(CoordinatorActor)
        .options(num_cpus=0, scheduling_strategy=this_node)
        .remote(budget, str(config.cache_dir()))
    )
    # As a call, not as an argument of the actor: Ray keeps those in its control store.
    ray.get(coordinator.set_secrets.remote(config.secrets_for_workers()))
    try:
        with unwrapped_errors(lambda: ray.get(coordinator.failure.remote())):
            yield coordinator
    finally:
        coordinator.__ray_terminate__.remote()


def silence_ray() -> None:
    """Leave the terminal to our own bar: Ray Data tells of every step and operator otherwise."""
    import ray.data

    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.WARNING)


def pool_of(scorer: Scorer, most: int, workers: int | None, num_cpus: float, num_gpus: float | None) -> dict[str, Any]:
    """Options of ``map_batches``: a pool of actors."""
    import ray

    resources = ray.cluster_resources()
    if num_gpus is None:
        num_gpus = 1 if scorer.loads_weights and resources.get("GPU") else 0
    share, whole = (num_gpus, resources.get("GPU", 0)) if num_gpus else (num_cpus, resources.get("CPU", 1))
    workers = workers or max(1, int(whole // share if share else 1))
    pool = ray.data.ActorPoolStrategy(min_size=1, max_size=max(1, min(workers, most)))
    options: dict[str, Any] = {"compute": pool, "num_cpus": num_cpus, "batch_format": "pyarrow"}
    return options | ({"num_gpus": num_gpus} if num_gpus else {})


@contextmanager
def unwrapped_errors(reported: Callable[[], DataMapError | None] = lambda: None) -> Iterator[None]:
    """Raise errors of workers as they were raised there, without Ray's wrapping.

    Args:
        reported: gives the error that a worker reported before it ended, if any.
    """
    import ray.exceptions

    try:
        yield
    except (ray.exceptions.RayError, SystemError) as error:
        cause = getattr(error, "cause", None)
        if own := cause if isinstance(cause, DataMapError) else reported():
            raise own from None
        raise DataMapError(f"the Ray cluster failed: {' '.join(str(error).split())[-500:]}") from error


@contextmanager
def ordered(ds: ray.data.Dataset) -> Iterator[None]:
    """Let results keep the order of their input."""
    import ray.data

    contexts = (ray.data.DataContext.get_current(), ds.context)
    options = [context.execution_options for context in contexts]
    before = [each.preserve_order for each in options]
    for each in options:
        each.preserve_order = True
    try:
        yield
    finally:
        for each, value in zip(options, before, strict=True):
            each.preserve_order = value


def call_all(work: Callable[..., Any], calls: Sequence[tuple[Any, ...]]) -> Iterator[Any]:
    """Call a function on the cluster, some calls ahead, and give the results in order."""
    import ray

    def call(*arguments: Any) -> Any:  # noqa: ANN401 - Ray takes functions only
        return work(*arguments)

    task = ray.remote(num_cpus=1)(call)
    with unwrapped_errors():
        started: list[Any] = []
        for number in range(len(calls)):
            while len(started) < min(number + _CALLS_AHEAD, len(calls)):
                started.append(task.remote(*calls[len(started)]))
            yield ray.get(started[number])
            started[number] = None
