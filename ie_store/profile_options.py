"""The options of each profile: only what it uses, validated on construction. Imports `errors` and `fields` alone."""

from dataclasses import dataclass

from ie_store.errors import InputError
from ie_store.fields import described, is_number, keep_as_declared, require_seed, require_whole

MOST_RANK = 128
"""Of a neighbour: the five subsamples of the fewest rows that are looked at, 1,000, have 200 each."""


@dataclass(frozen=True, kw_only=True)
class SpectrumOptions:
    """Eigenvalues of the covariance."""

    eigenvalues: int = described(64, "leading eigenvalues that are stored; the sum of the others is stored beside them")
    massive: float = described(
        10.0, "a row is massive where its squared norm exceeds this multiple of the median squared norm of the rows as listed"
    )

    def __post_init__(self) -> None:
        require_whole("eigenvalues", self.eigenvalues, 1)
        if not is_number(self.massive) or not 1 < self.massive < float("inf"):
            raise InputError(f"massive is {self.massive}; it must be a multiple of the median above 1, for example 10")
        keep_as_declared(self)


@dataclass(frozen=True, kw_only=True)
class NeighboursOptions:
    """Distances to nearest neighbours."""

    rows: int = described(20_000, "most distinct rows that are looked at, a seeded draw where there are more")
    largest_rank: int = described(64, "farthest neighbour that GRIDE looks at, a power of two")
    overlap_rank: int = described(30, "neighbours that are compared between a layer and the next")
    discarded: float = described(0.1, "share of the largest ratios of distances that TwoNN takes as censored")
    seed: int = described(0, "seed of the draw of rows and of the five subsamples")

    def __post_init__(self) -> None:
        require_seed(self.seed)
        require_whole("rows", self.rows, 1000)
        require_whole("overlap_rank", self.overlap_rank, 1)
        require_whole("largest_rank", self.largest_rank, 2)
        if self.largest_rank & (self.largest_rank - 1):
            raise InputError(f"largest_rank is {self.largest_rank}; scales double, so give a power of two, for example 64")
        for name in ("largest_rank", "overlap_rank"):
            if getattr(self, name) > MOST_RANK:
                raise InputError(f"{name} is {getattr(self, name)}; a fifth of 1,000 rows must hold it: at most {MOST_RANK}")
        if not is_number(self.discarded) or not 0 <= self.discarded <= 0.5:
            raise InputError(f"discarded is {self.discarded}; it is a share from 0 to 0.5")
        keep_as_declared(self)
