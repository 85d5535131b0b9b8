"""Print the tables: ``python -m benchmarks [--quick] [table ...]``."""

import argparse
import warnings

from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits

from benchmarks import (
    callbacks,
    cold,
    compiling,
    convergence,
    defaults,
    latency,
    memory,
    networks,
    scaling,
    streams,
    throughput,
    wide,
)
from benchmarks.common import print_header, print_table

TABLES = {
    module.__name__.rpartition(".")[2]: module
    for module in (
        throughput,
        scaling,
        memory,
        latency,
        streams,
        wide,
        callbacks,
        cold,
        compiling,
        convergence,
        defaults,
        networks,
    )
}


def main() -> None:
    """Measure and print the tables that are asked for, all by default, on one thread."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Print benchmarks of skgd as Markdown.")
    parser.add_argument("tables", nargs="*", metavar="table", help=f"all of them, or some of: {', '.join(TABLES)}")
    parser.add_argument("--quick", action="store_true", help="problems of a twentieth: shows that it runs, no more")
    arguments = parser.parse_args()
    if unknown := set(arguments.tables) - set(TABLES):
        parser.error(f"unknown: {', '.join(sorted(unknown))}. Choose from {', '.join(TABLES)}.")
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # of rivals whose default number of epochs is too small
        print_header()
        for name in arguments.tables or TABLES:
            table = TABLES[name]
            print_table(table.TITLE, table.rows(20 if arguments.quick else 1), table.COLUMNS)


if __name__ == "__main__":
    main()
