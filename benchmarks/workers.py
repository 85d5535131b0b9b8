"""Train on two Dask workers, in how much time and memory: ``python -m benchmarks.workers``.

The first table compares the CPU time of two worker processes with that of the plain loop over the same partitions,
which are made in each pass. Dask's nanny sets ``MALLOC_TRIM_THRESHOLD_=65536``, with which the C library gives back
each larger temporary array at once, and the system has to clear its pages when the next one is written: page faults. So
the same is measured with larger thresholds. "Speed" is what two idle cores would gain: twice the CPU time of the loop,
divided by that of the workers.

The second one has the peak memory of a worker, above that before training, in samples of ``RssAnon`` every millisecond,
and the same if tasks only read the partitions: what a reader allocates, and keeps for later.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event, Thread

import numpy as np

import skgd
from benchmarks.common import cpu_seconds
from benchmarks.larger_than_memory import N_COLUMNS, made, read_by_columns, status, write
from skgd import partitions

LARGE = {"MALLOC_TRIM_THRESHOLD_": 2**28, "MALLOC_MMAP_THRESHOLD_": 2**25}
_peaks: dict[str, int] = {}
_done = Event()


def lazy(read: Callable[[int], tuple], n_rows: int, n_partitions: int) -> tuple:
    """Return dask arrays whose partitions are read by a function."""
    import dask
    import dask.array as da

    both = [dask.delayed(read, pure=False, nout=2)(number) for number in range(n_partitions)]
    X = [da.from_delayed(X_part, (n_rows, N_COLUMNS), np.float32) for X_part, _ in both]
    y = [da.from_delayed(y_part, (n_rows,), bool) for _, y_part in both]
    return da.concatenate(X), da.concatenate(y)


def read_frame(group: int, path: Path, columns: list[str] | None = None):
    """Return columns of a row group as a data frame, read one after the other into one array."""
    import pandas as pd
    import pyarrow.parquet as pq

    file = pq.ParquetFile(path)
    columns = file.schema_arrow.names if columns is None else columns
    values = np.empty((file.metadata.row_group(group).num_rows, len(columns)), np.float32)
    for j, name in enumerate(columns):
        values[:, j] = file.read_row_group(group, [name], use_threads=False)[0].to_numpy()
    return pd.DataFrame(values, columns=columns, copy=False)


def cluster_with(settings: dict[str, int] | None):
    """Return a client of two workers, whose nannies use the settings of the allocator, or Dask's."""
    import dask
    import distributed

    for variable in LARGE:  # which an earlier cluster has left in this process, and which count for more
        os.environ.pop(variable, None)
    name = "distributed.nanny.pre-spawn-environ"
    given = {} if settings is None else {name: dask.config.get(name) | settings}
    with dask.config.set(given):
        return distributed.Client(n_workers=2, threads_per_worker=1, memory_limit=0, dashboard_address=None)


def usage() -> tuple[float, int]:
    """Return CPU seconds and page faults of this process so far."""
    import resource

    return time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def read_each(X: object, y: object) -> None:
    """Read each partition in a task, as training does, and forget it."""
    import dask

    from skgd.dask import _partitions_of, _Rows

    dask.compute([dask.delayed(n_rows_of)(_Rows(parts)) for parts in _partitions_of(X, y, None)])


def n_rows_of(rows: Callable[[], tuple]) -> int:
    """Return the number of rows of a partition."""
    return len(rows()[1])


def begin_to_watch() -> None:
    """Sample the memory of this process from now on."""
    import pyarrow.dataset  # noqa: F401 -- what readers import is no part of it

    _done.clear()
    _peaks["base"] = _peaks["peak"] = status("RssAnon")

    def watch() -> None:
        while not _done.wait(1e-3):
            _peaks["peak"] = max(_peaks["peak"], status("RssAnon"))

    Thread(target=watch, daemon=True).start()


def peak() -> int:
    """Return by how much the memory of this process has grown at most."""
    _done.set()
    return _peaks["peak"] - _peaks["base"]


def times(n_rows: int, n_partitions: int) -> None:
    """Print the first table."""
    from skgd.dask import GDClassifier

    parts = [partial(made, n_rows, number) for number in range(n_partitions)]
    model = skgd.GDClassifier()
    loop = min(cpu_seconds(partial(partitions.fit, model, parts)) for _ in range(2))
    print(f"| {n_rows * n_partitions:,} x {N_COLUMNS} | CPU seconds | page faults | speed |\n|---|---|---|---|")
    print(f"| plain loop | {loop:.1f} | | 1 |", flush=True)
    for name, settings in (("two workers, as Dask sets them", None), ("two workers, large thresholds", LARGE)):
        with cluster_with(settings) as client:
            X, y = lazy(partial(made, n_rows), n_rows, n_partitions)
            GDClassifier().fit(X[:n_rows], y[:n_rows])  # what is imported is no part of it
            before = client.run(usage)
            fitted = GDClassifier().fit(X, y)
            after = client.run(usage)
        assert np.array_equal(fitted.coef_, model.coef_)
        seconds, faults = (sum(after[key][i] - before[key][i] for key in after) for i in (0, 1))
        print(f"| {name} | {seconds:.1f} | {faults:,} | {2.0 * loop / seconds:.2f} |", flush=True)


def memory(n_rows: int, n_partitions: int) -> None:
    """Print the second table."""
    import dask.dataframe as dd

    from skgd.dask import GDClassifier

    size = 4 * n_rows * N_COLUMNS
    print(
        f"\n| {n_partitions} partitions | peak of a worker, in partitions | reading alone |\n|---|---|---|", flush=True
    )
    few = lazy(partial(made, 500), 500, 4)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "data.parquet"
        write(Path(folder), n_rows, n_partitions)
        frame = dd.read_parquet(path, split_row_groups=1)
        by_columns = dd.from_map(read_frame, range(n_partitions), path=path)
        names = [f"x{j}" for j in range(N_COLUMNS)]
        kinds = {
            "made in the task": lazy(partial(made, n_rows), n_rows, n_partitions),
            "parquet by columns": lazy(partial(read_by_columns, path), n_rows, n_partitions),
            "parquet by columns, in a data frame": (by_columns[names], by_columns["y"]),
            "dask.dataframe.read_parquet": (frame[names], frame["y"]),
        }
        for name, (X, y) in kinds.items():
            peaks = []
            for call in (partial(GDClassifier().fit, X, y), partial(read_each, X, y)):
                with cluster_with(None) as client:
                    GDClassifier().fit(*few)  # what is imported stays
                    client.run(begin_to_watch)
                    call()
                    peaks.append(max(client.run(peak).values()) / size)
            print(f"| {name} | {peaks[0]:.2f} | {peaks[1]:.2f} |", flush=True)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.workers", description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="partitions of a twentieth: shows that it runs, no more")
    n_rows = 12_500 if parser.parse_args().quick else 250_000
    times(n_rows, 16)
    memory(n_rows, 44)


if __name__ == "__main__":
    from benchmarks import workers  # whose functions are sent to workers by their names

    workers.main()
