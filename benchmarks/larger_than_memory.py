"""Train on partitions in little memory, and in how much time: ``python -m benchmarks.larger_than_memory``.

A data set in a memory map and in a parquet file is trained on in a process whose data segment is limited to what it has
at the start and 2.2 partitions (``RLIMIT_DATA``, Linux: all memory but that of mapped files, which the system can take
back at any time). The peak is the largest ``RssAnon`` seen in samples every millisecond. Then the loop over partitions
that are read or made in each pass is compared with the same passes over partitions in memory, and with these and
reading the partitions alone, in CPU time, without a cache, and with one on disk or in memory.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event, Thread

import numpy as np

from benchmarks.common import cpu_seconds
from skgd import GDClassifier, partitions

N_COLUMNS = 50
ALLOWED = 2.2  # partitions
KINDS = "memory map", "parquet by columns", "parquet by columns, cached", "parquet by pandas"


def made(n_rows: int, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a partition."""
    rng = np.random.default_rng((1, number))
    X = rng.standard_normal((n_rows, N_COLUMNS), dtype=np.float32)
    score = X @ np.random.default_rng(0).standard_normal(N_COLUMNS, dtype=np.float32)
    return X, score > rng.logistic(scale=5.0, size=n_rows)


def write(folder: Path, n_rows: int, n_partitions: int) -> None:
    """Write all partitions into a memory map and a parquet file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    shape = n_rows * n_partitions, N_COLUMNS
    X = np.lib.format.open_memmap(folder / "X.npy", "w+", np.float32, shape)
    y = np.lib.format.open_memmap(folder / "y.npy", "w+", bool, shape[:1])
    names = [f"x{j}" for j in range(N_COLUMNS)]
    schema = pa.schema([(name, pa.float32()) for name in names] + [("y", pa.bool_())])
    with pq.ParquetWriter(folder / "data.parquet", schema, use_dictionary=False) as writer:
        for number in range(n_partitions):
            rows = slice(number * n_rows, (number + 1) * n_rows)
            X[rows], y[rows] = made(n_rows, number)
            columns = dict(zip(names, X[rows].T, strict=True)) | {"y": y[rows]}
            writer.write_table(pa.table(columns, schema=schema), row_group_size=n_rows)


def read_by_pandas(path: Path, group: int) -> tuple:
    """Return a row group as a data frame."""
    import pyarrow.parquet as pq

    frame = pq.ParquetFile(path).read_row_group(group, use_threads=False).to_pandas()
    return frame[[f"x{j}" for j in range(N_COLUMNS)]], frame["y"]


def read_by_columns(path: Path, group: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a row group as an array, into which one column after the other is read."""
    import pyarrow.parquet as pq

    file = pq.ParquetFile(path)
    X = np.empty((file.metadata.row_group(group).num_rows, N_COLUMNS), np.float32)
    for j in range(N_COLUMNS):
        X[:, j] = file.read_row_group(group, [f"x{j}"], use_threads=False)[0].to_numpy()
    return X, file.read_row_group(group, ["y"], use_threads=False)[0].to_numpy()


def parts_of(kind: str, folder: Path, n_rows: int, n_partitions: int) -> list:
    """Return the partitions of a file."""
    if kind == "memory map":
        X, y = (np.load(folder / name, mmap_mode="r") for name in ("X.npy", "y.npy"))
        return [(X[start : start + n_rows], y[start : start + n_rows]) for start in range(0, len(y), n_rows)]
    read = read_by_pandas if kind == "parquet by pandas" else read_by_columns
    parts = [partial(read, folder / "data.parquet", group) for group in range(n_partitions)]
    return partitions.cached(parts, folder) if kind.endswith("cached") else parts


def status(name: str) -> int:
    """Return a size in bytes that Linux tells of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def train(kind: str, folder: Path, n_rows: int, n_partitions: int, limited: bool) -> None:
    """Train, perhaps with little memory, and print what it took."""
    import resource

    import pyarrow as pa

    pa.set_cpu_count(1)
    partitions.fit(GDClassifier(), [made(500, 0)])  # what is imported stays
    first = parts_of(kind, folder, n_rows, n_partitions)[0]
    for values in first() if callable(first) else ():
        values[:1]
    del first
    peaks, done = list[int](), Event()

    def watch() -> None:
        while not done.wait(1e-3):
            with suppress(MemoryError):  # which training may be left to report
                peaks.append(status("RssAnon"))

    watcher = Thread(target=watch)
    watcher.start()  # whose stack is no part of it
    size, data, base = 4 * n_rows * N_COLUMNS, status("VmData"), status("RssAnon")
    limit = data + int(ALLOWED * size)
    peaks.append(base)
    if limited:
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    try:
        model = partitions.fit(GDClassifier(), parts_of(kind, folder, n_rows, n_partitions))
        ended = f"{model.n_iter_ + 1} passes"
    except MemoryError:
        ended = "MemoryError"
    finally:
        done.set()
        watcher.join()
    of_limit = f"{n_partitions * size / limit:.1f} x the limit" if limited else "no limit"
    print(f"| {kind} | {of_limit} | {(max(peaks) - base) / size:.2f} | {ended} |", flush=True)


def read_all(parts: list) -> None:
    """Read each partition, and forget it."""
    for part in parts:
        part()


def train_on(parts: list, model: GDClassifier, directory: Path | None, memory_limit: int = 0) -> None:
    """Train on partitions, which are cached if there is a directory for it."""
    cached = directory and partitions.cached(parts, directory, memory_limit=memory_limit)
    partitions.fit(model, cached or parts)


def times(folder: Path, n_rows: int, n_partitions: int) -> None:
    """Print how much longer the loop takes than the same passes in memory, and than these and reading."""
    lazy = [partial(made, n_rows, number) for number in range(n_partitions)]
    present = [part() for part in lazy]
    kinds = {kind: parts_of(kind, folder, n_rows, n_partitions)[:n_partitions] for kind in KINDS[:2]}
    kinds["made in each pass"] = lazy
    model, expected = GDClassifier(), partitions.fit(GDClassifier(), present).coef_
    calls = {"in memory": partial(train_on, present, model, None)}
    for kind, parts in kinds.items():
        calls[kind] = partial(train_on, parts, model, None)
        if callable(parts[0]):
            calls[f"reading {kind}"] = partial(read_all, parts)
            calls[f"{kind}, cached"] = partial(train_on, parts, model, folder)
            calls[f"{kind}, cached in memory"] = partial(train_on, parts, model, folder, 2**40)
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(3):  # in turns, because other processes come and go
        for name, call in calls.items():
            seconds[name].append(cpu_seconds(call))
            assert np.array_equal(model.coef_, expected)
    least = {name: min(values) for name, values in seconds.items()}
    in_memory, n_passes = least["in memory"], model.n_iter_ + 1
    print(
        f"\n{n_rows * n_partitions:,} x {N_COLUMNS}: {n_passes} passes, {in_memory:.2f} CPU seconds in memory\n\n"
        "| Partitions | reading | the loop | / in memory | / both |\n|---|---|---|---|---|"
    )
    for name, loop in least.items():
        kind, _, caches = name.partition(", ")
        if kind in kinds:
            reading = least.get(f"reading {kind}", 0.0) * (1 if caches else n_passes)
            ratios = f"{loop / in_memory:.2f} | {loop / (in_memory + reading):.2f}"
            print(f"| {name} | {reading:.2f} | {loop:.2f} | {ratios} |", flush=True)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.larger_than_memory", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--quick", action="store_true", help="partitions of a twentieth: shows that it runs, no more")
    parser.add_argument("--train", nargs=5, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.train:
        kind, folder, n_rows, n_partitions, limited = arguments.train
        train(kind, Path(folder), int(n_rows), int(n_partitions), limited == "True")
        return
    n_rows, n_partitions = (12_500 if arguments.quick else 250_000), (4 if arguments.quick else 56)
    print("| Partitions | Data set | Peak, in partitions | |\n|---|---|---|---|", flush=True)
    with TemporaryDirectory() as folder:
        write(Path(folder), n_rows, n_partitions)
        for kind in KINDS:
            # A twentieth is less than the megabytes that training takes besides the partitions.
            limited = kind != "parquet by pandas" and not arguments.quick
            words = ["--train", kind, folder, str(n_rows), str(n_partitions), str(limited)]
            # PyArrow's own pool reserves a gigabyte, which counts as data.
            environment = os.environ | {"ARROW_DEFAULT_MEMORY_POOL": "system"}
            words = [sys.executable, "-m", "benchmarks.larger_than_memory", *words]
            subprocess.run(words, check=False, env=environment)
        times(Path(folder), n_rows, min(n_partitions, 16))


if __name__ == "__main__":
    main()
