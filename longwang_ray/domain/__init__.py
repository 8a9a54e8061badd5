"""Where, when and which noise: the geometry of a run, in numpy and cftime alone.

grid      cells of the sphere and how they overlap
calendar  months and day numbers
lattice   windows at fixed places of the globe (span: a run of them, and how it is blended)
noise     the keyed field of random numbers
plan      all tiles of a run (layout: what they write; cost: what they need)
"""
