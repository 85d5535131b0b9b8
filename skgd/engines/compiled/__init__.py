"""The compiled engine: the steps of `skgd.engines.vectorized`, fused by Numba into loops over rows and parameters.

The loops are plain Python. `interface` declares what they need of a strategy and of a kind of rows, `kinds` fills that
in, `specialize` makes copies of the functions, names, compiles and caches them. `steps` has the loop over steps of
several rows, `row_steps` that of one row each; `dense`, `sparse` and `networks` say how a gradient is made, `catch_up`
what the columns that sparse rows do not have have missed. `epochs` and `streams` run these loops, `wide` takes the
steps of streams of very many columns, compiled or, with what `exact` has, as Python, and `columns` has what depends on
no strategy. Numba is imported by what compiles only.
"""

from skgd.engines.compiled.columns import has_duplicates, measure_columns, renumbered, squares_of_rows
from skgd.engines.compiled.epochs import run_epoch
from skgd.engines.compiled.few_columns import FewColumns
from skgd.engines.compiled.specialize import CannotCompile, are_ours
from skgd.engines.compiled.streams import StreamLoop
from skgd.engines.compiled.wide import WideLoop

__all__ = [
    "CannotCompile",
    "FewColumns",
    "StreamLoop",
    "WideLoop",
    "are_ours",
    "has_duplicates",
    "measure_columns",
    "renumbered",
    "run_epoch",
    "squares_of_rows",
]
