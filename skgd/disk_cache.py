"""A cache, in memory and on disk, for partitions that take long to read.

Training on partitions takes several passes, and calls the functions that read them in each. With a cache, each is
called once. What it returned is kept in memory, as it is, up to a limit. The rest is written to files, from which later
passes take it as memory maps.

A file has the pickle of what the function returned, without the memory of its arrays, which follows (buffers out of
band, :pep:`574`). So dtypes, names and the order of memory are kept, of dense and sparse arrays and of data frames, and
arrays are views of the file that take no memory of the process.
"""

from __future__ import annotations

import errno
import mmap
import os
import pickle
import shutil
import warnings
import weakref
from collections.abc import Callable, Iterable
from io import BytesIO
from numbers import Integral
from pathlib import Path
from tempfile import NamedTemporaryFile, mkdtemp
from typing import Any, NamedTuple

import numpy as np

from skgd.partition_sums import Partition, Rows
from skgd.strategy import level_of_caller, plain_repr

__all__ = ["cached"]

_PROTOCOL = 5  # the first one that can leave out the memory of arrays
_ALIGNMENT = 64  # bytes


def cached(
    partitions: Iterable[Partition],
    directory: str | os.PathLike[str] | None = None,
    *,
    memory_limit: int = 0,
) -> list[Partition]:
    """Return partitions that are read once, and then from a cache: on disk, or in memory as far as you allow it.

    Use it where reading takes longer than training: for CSV or parquet files, queries, features that are computed. The
    results of training are the same, bit for bit. In the pass that reads a partition, it is in memory, as without the
    cache; later, arrays are memory maps, which the system can remove from memory at any time.

    The files are temporary: they have the names of no data, are not used by later runs of Python, and are removed when
    the partitions that were returned are no longer in use, at the latest when Python ends. If Python is killed, a
    directory with a name that begins with ``skgd-`` remains. If the disk is full, a warning says so, and partitions
    without a file are read in each pass.

    Parameters
    ----------
    partitions : iterable
        Partitions as those of :func:`skgd.partitions.fit`: functions without parameters, which are cached, and tuples
        of arrays or memory maps, which remain as they are.
    directory : str or path, default=None
        An existing directory on a disk with room for all partitions, as large as they are in memory. None is the
        system's directory for temporary files, which on some systems is in memory.
    memory_limit : int, default=0
        How many bytes of partitions may be kept in memory, in addition to the one that is read or trained on. The first
        ones that fit are kept, which saves writing them, and the others are on disk. What is kept are the arrays that
        the functions return, so these must be new ones in each call, and no views of much larger ones, of which all
        would stay in memory. Copies of the partitions in other processes do not get them, and read them again.

    Returns
    -------
    partitions : list
        The partitions, for :func:`skgd.partitions.fit`, also for several estimators.

    Raises
    ------
    OSError
        If the directory does not exist, or cannot be written to.
    ValueError, TypeError
        If the limit is no integer, or negative.

    Examples
    --------
    >>> import numpy as np
    >>> from functools import partial
    >>> from skgd import GDClassifier, partitions
    >>> def read(seed):
    ...     print("reading", seed)
    ...     X = np.random.default_rng(seed).normal(size=(1000, 3))
    ...     return X, X[:, 0] + X[:, 1] ** 2 > 0
    >>> parts = partitions.cached([partial(read, seed) for seed in range(2)])
    >>> model = partitions.fit(GDClassifier(), parts)
    reading 0
    reading 1
    >>> model.n_iter_ + 1  # passes
    2
    """
    if not isinstance(memory_limit, Integral) or isinstance(memory_limit, bool):
        raise TypeError(f"memory_limit must be an integer, a number of bytes, got {plain_repr(memory_limit)}.")
    if memory_limit < 0:
        raise ValueError(f"memory_limit must be at least 0, got {memory_limit}.")
    folder = _Folder(directory, int(memory_limit))
    return [
        _Cached(partition, folder, number) if callable(partition) else partition
        for number, partition in enumerate(partitions)
    ]


class _Folder:
    """A new directory, which is removed with the last partition that uses it, by the process that has made it.

    ``memory`` is how many bytes more may be kept in memory.
    """

    def __init__(self, parent: str | os.PathLike[str] | None, memory: int):
        self.path = Path(mkdtemp(prefix="skgd-", dir=parent))
        self.full, self.memory = False, memory
        weakref.finalize(self, _remove, self.path, os.getpid())

    def __reduce__(self) -> tuple:
        return _same_folder, (self.path,)


def _same_folder(path: Path) -> _Folder:
    """Return a directory that another process has made, and removes."""
    folder = object.__new__(_Folder)
    folder.path, folder.full, folder.memory = path, False, 0
    return folder


def _remove(path: Path, process: int) -> None:
    if os.getpid() == process:
        shutil.rmtree(path, ignore_errors=True)


class _Cached:
    """A partition that is read by a function the first time, and later from memory or from its file."""

    def __init__(self, read: Callable[[], Rows], folder: _Folder, number: int):
        self._read, self._folder = read, folder
        self._path = folder.path / f"{number}"
        self._rows: Rows | None = None

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_rows": None}

    def __call__(self) -> Rows:
        if self._rows is not None:
            return self._rows
        if not self._path.exists():
            rows, folder = self._read(), self._folder
            if folder.full and not folder.memory:
                return rows
            pickled = Pickled.of(rows)
            if pickled.size <= folder.memory:
                self._rows, folder.memory = rows, folder.memory - pickled.size
                return rows
            if folder.full or not self._write(pickled):
                return rows
            del rows, pickled
        return load(self._path)

    def _write(self, pickled: Pickled) -> bool:
        """Write the file, which is there only when it is complete, and return whether there was room."""
        path = None
        try:
            with NamedTemporaryFile(dir=self._folder.path, delete=False) as file:
                path = Path(file.name)
                pickled.write(file)
            path.replace(self._path)
        except OSError as error:
            self._folder.full = True
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            remedy = "Pass a directory with more room to" if full else "Keep the list, and the directory, of"
            warnings.warn(
                f"The cache of partitions in {self._folder.path} cannot be written ({error.strerror}). Partitions that "
                f"are not in it yet are read again in each pass. {remedy} skgd.partitions.cached.",
                RuntimeWarning,
                stacklevel=level_of_caller(),
            )
            return False
        finally:
            if path is not None:
                path.unlink(missing_ok=True)
        return True


class _Pickler(pickle.Pickler):
    """A pickler that leaves the memory of all arrays out, also of those that are not contiguous."""

    def reducer_override(self, value: Any) -> Any:
        """Return what an array is made of, as that of a contiguous one."""
        if type(value) not in (np.ndarray, np.memmap) or value.dtype.hasobject:
            return NotImplemented
        plain = value.view(np.ndarray)
        return (plain if plain.flags.forc else plain.copy(order="K")).__reduce_ex__(_PROTOCOL)


class Pickled(NamedTuple):
    """A value's pickle, and its buffers."""

    payload: bytes
    buffers: list[memoryview]

    @classmethod
    def of(cls, value: Any) -> Pickled:
        """Return those of a value, whose memory they share where arrays are contiguous."""
        payload, buffers = BytesIO(), list[pickle.PickleBuffer]()
        _Pickler(payload, _PROTOCOL, buffer_callback=buffers.append).dump(value)
        return cls(payload.getvalue(), [buffer.raw() for buffer in buffers])

    @property
    def size(self) -> int:
        """How many bytes there are."""
        return len(self.payload) + sum(each.nbytes for each in self.buffers)

    def write(self, file: Any) -> None:
        """Write the pickle and the sizes of the buffers, and then these."""
        pickle.dump((self.payload, [each.nbytes for each in self.buffers]), file, _PROTOCOL)
        for each in self.buffers:
            file.seek(-file.tell() % _ALIGNMENT, os.SEEK_CUR)
            file.write(each)


def load(path: Path) -> Any:
    """Return the value of a file; its arrays are read-only views of the file, which close it when they are gone."""
    with path.open("rb") as file:
        payload, sizes = pickle.load(file)
        start, content = file.tell(), memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    buffers = []
    for size in sizes:
        start += -start % _ALIGNMENT
        buffers.append(content[start : start + size])
        start += size
    return pickle.loads(payload, buffers=buffers)
