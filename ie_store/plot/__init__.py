"""Pictures of results, in bits: each function takes what `ie_store.open_estimates` returns and gives an Altair chart.

``chart.data`` is the table behind a picture. Needs the package altair: ``pip install 'ie-store[plot]'``.
"""

from ie_store.errors import InputError

try:
    import altair  # noqa: F401  (asked for here, so that its absence is said once and plainly)
except ModuleNotFoundError:
    raise InputError("pictures need the package altair; install it with: pip install 'ie-store[plot]'") from None

from ie_store.plot.curves import curves
from ie_store.plot.difference import difference
from ie_store.plot.dimensions import dimensions
from ie_store.plot.emergence import emergence
from ie_store.plot.profile import profile
from ie_store.plot.spectrum import spectrum
from ie_store.plot.tokens import tokens

__all__ = ["curves", "difference", "dimensions", "emergence", "profile", "spectrum", "tokens"]
