"""Variables over past tokens: what a layer's states at a position still tell, under noise, of what came before."""

from ie_store.variables import Variable

ENDS = {"": "", "_low": ": lower end of the interval", "_high": ": upper end of the interval"}
"""What follows a variable's name, and what it means."""
Ends = tuple[Variable, Variable, Variable]
"""The value, and the ends of its interval."""


def _with_ends(quantity: str, dimensions: tuple[str, ...], meaning: str) -> Ends:
    value, low, high = (
        Variable(
            name=f"macro_{quantity}_nats{suffix}", dimensions=dimensions, long_name=meaning + side, units="nat",
            lineage="macro states of the layer",
        )
        for suffix, side in ENDS.items()
    )  # fmt: skip
    return value, low, high


_TOKENS = ("layer", "position", "token_position")
PREFIX = _with_ends("prefix", _TOKENS, "information under noise about the prefix that ends at token_position")
TOKEN = _with_ends("token", _TOKENS, "information under noise about the token at token_position")
PREFIX_CURVE = _with_ends(
    "prefix_curve", (*_TOKENS, "sigma"), "information about the prefix that ends at token_position, at more noise levels"
)  # fmt: skip
TOKEN_CURVE = _with_ends(
    "token_curve", (*_TOKENS, "sigma"), "information about the token at token_position, at more noise levels"
)  # fmt: skip
PSI = _with_ends(
    "psi", ("layer", "position"), "information under noise about the prefix, minus that about each of its tokens"
)  # fmt: skip
