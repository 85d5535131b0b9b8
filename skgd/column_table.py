"""What a stream of networks on many sparse columns keeps of each: where steps left it, and what follows for later ones.

A column that the rows of a step do not have changes all the same: it becomes rarer, so that its scale falls, its
coefficients follow their momentum, and the penalty shrinks them. All of that has a closed form, from what each step
has noted in a window of steps. So a row of the table is brought up to date when it is read, see
`skgd.engines.compiled.few_columns`, and sums over rows that rest say what a step has to know of all columns.
"""

from __future__ import annotations

from skgd.running import N_MEMORIES

# Of each column: its measures, what is remembered besides, center and scale, how rare it is where the scale follows
# from that (else 0), and the steps that have learned from it last, and moved its coefficients. Then come its parts in
# the sums over columns that rest: entries, those of an indicator, and the sum of squares of the standardized column is
# the first part plus the second one times the logarithm of the weight of all rows. Last, the sum of the squares of its
# coefficients: of those that have the penalty, in the user's units or the optimizer's.
N_MEASURES = 4
MEMORY = N_MEASURES
CENTER, SCALE, RARITY, LEARNED, MOVED = range(MEMORY + N_MEMORIES, MEMORY + N_MEMORIES + 5)
SUMS = MOVED + 1
ENTRIES, INDICATED, SQUARES, LOG_SQUARES, NORM = range(5)
N_KNOWN = SUMS + 5

# Of the steps in the window, which begins where all columns were up to date: the learning rate, the strength of the
# penalty times that, and from the beginning of the window on, after each step, the weight of the rows so far, its
# logarithm, the clock of the votes for codes, and the product of what the penalty leaves.
RATES, PENALTIES, WEIGHTS, LOGARITHMS, CLOCKS, LEFT = range(6)
N_WINDOW = 6
WINDOW = 2**9  # steps, after which all columns are brought up to date
