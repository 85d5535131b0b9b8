"""Simulate passes over partitions on clusters of 1 to 1,000 workers: ``python -m benchmarks.cluster [--plot FILE]``.

The times of a task and of a merge are measured here, and with ``--scheduler`` the time that Dask's scheduler needs for
each task. The network is an assumption. A worker takes one task after the other; the scheduler hands them out one by
one, and merges wait for both of their inputs, of which one is transferred. The weak scaling is shown: each worker has
the same number of partitions.
"""

from __future__ import annotations

import argparse
import pickle
from functools import partial

import numpy as np

from benchmarks.common import seconds, table_of_numbers
from skgd import GDClassifier, partitions
from skgd.partition_sums import Sums, in_tree, merge

N_WORKERS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
PARTITIONS_A_WORKER = 4
NETWORK = 1e9, 1e-3  # bytes a second, and seconds before a transfer begins
SCHEDULER = 1e-3  # seconds a task, if not measured: what Dask's documentation says


class Timed(partitions.Loop):
    """A loop that remembers how long each task took, and what the last one returned."""

    def run(self, task, *arguments):
        """Run a task, see `skgd.partitions.Engine`."""
        results = []
        self.seconds = [
            seconds(lambda number=number, part=part: results.append(task(part, number, *arguments)))
            for number, part in enumerate(self._partitions)
        ]
        self.result = results[-1]
        return in_tree(results, merge)


def measured(n_rows: int, n_columns: int) -> tuple[float, float, int]:
    """Return the seconds of a task and of a merge, and the size of a result in bytes."""
    X, y = table_of_numbers(n_rows, n_columns)
    loop = Timed([(X, y), (X, ~y)])
    model = GDClassifier(tol=None, max_iter=2)
    with model._atomic():
        partitions.fit_with(model, loop, (None, None, None), solver="auto", n_lanes=partitions.N_LANES)
    assert isinstance(loop.result, Sums)
    merging = min(seconds(partial(merge, loop.result, loop.result)) for _ in range(10))
    return min(loop.seconds), merging, len(pickle.dumps(loop.result, protocol=5))


def measured_scheduler(n_tasks: int = 2000) -> float:
    """Return the seconds that Dask needs for each task, with one worker in this process."""
    import distributed

    with (
        distributed.LocalCluster(n_workers=1, processes=False, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        return seconds(lambda: client.gather(client.map(abs, range(n_tasks)))) / n_tasks


def simulated(n_workers: int, task: float, merging: float, size: int, scheduler: float) -> tuple[float, float]:
    """Return the seconds of a pass, and of that until the last leaf of the tree was ready."""
    bandwidth, latency = NETWORK
    transfer = latency + size / bandwidth
    free, handed_out = np.zeros(n_workers), 0.0
    leaves = []
    for number in range(n_workers * PARTITIONS_A_WORKER):
        handed_out += scheduler
        worker = number % n_workers
        free[worker] = max(free[worker], handed_out) + task
        leaves.append((free[worker], worker))
    of_leaves = max(ready for ready, _ in leaves)

    def merged(one: tuple[float, int], other: tuple[float, int]) -> tuple[float, int]:
        (ready, worker), (other_ready, other_worker) = one, other
        moved = 0.0 if worker == other_worker else transfer
        begins = max(ready, other_ready + moved, free[worker]) + scheduler
        free[worker] = begins + merging
        return float(free[worker]), worker

    ends, _ = in_tree(leaves, merged)
    return ends + transfer, of_leaves


def main() -> None:
    """Print the table and, if asked to, draw the plot."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cluster", description=__doc__.partition("\n")[0])
    parser.add_argument("--plot", metavar="FILE", help="draw the efficiency into a file")
    parser.add_argument("--scheduler", action="store_true", help="measure the time of Dask's scheduler")
    parser.add_argument("--quick", action="store_true", help="partitions of a twentieth: shows that it runs, no more")
    arguments = parser.parse_args()
    scheduler = measured_scheduler() if arguments.scheduler else SCHEDULER
    efficiencies = {}
    for n_rows, n_columns in ((250_000, 50), (25_000, 500)):
        n_rows //= 20 if arguments.quick else 1
        task, merging, size = measured(n_rows, n_columns)
        case = f"{n_rows:,} x {n_columns}"
        print(
            f"\n{case}: task {task:.3f} s, merge {1e3 * merging:.2f} ms, result {size / 1e6:.2f} MB, "
            f"scheduler {1e3 * scheduler:.2f} ms a task\n\n"
            "| Workers | Seconds of a pass | of these, tree | Efficiency |\n|---|---|---|---|"
        )
        alone, _ = simulated(1, task, merging, size, scheduler)
        for n_workers in N_WORKERS:
            total, of_leaves = simulated(n_workers, task, merging, size, scheduler)
            efficiencies.setdefault(case, []).append(alone / total)
            print(f"| {n_workers} | {total:.2f} | {total - of_leaves:.2f} | {alone / total:.0%} |")
    if arguments.plot:
        import matplotlib.pyplot as plt

        figure, axes = plt.subplots(figsize=(6.0, 4.0), layout="constrained")
        for case, values in efficiencies.items():
            axes.semilogx(N_WORKERS, values, marker="o", label=f"partitions of {case}")
        axes.set(xlabel="workers, each with 4 partitions", ylabel="efficiency of a pass", ylim=(0.0, 1.05))
        axes.legend()
        figure.savefig(arguments.plot, dpi=150)


if __name__ == "__main__":
    main()
