"""What each group of a dataset's results is called among them: by what made it, with options where several bear one name."""

from collections.abc import Mapping
from typing import Any

from ie_store.estimators import DEFAULTS, EXACT, NAMES
from ie_store.printable import printable
from ie_store.profiles import PROFILE_NAMES
from ie_store.store.results.method_label import is_usual, method_label

_ORDER = tuple(dict.fromkeys((EXACT, *DEFAULTS, *NAMES, *PROFILE_NAMES)))
METHOD_NAMES = frozenset((*NAMES, *PROFILE_NAMES))
"""Names of estimators and profiles: groups of other names are a user's own."""
Method = Mapping[str, Any]
"""Name, version and options of what made a group."""


def node_names(methods: Mapping[str, Method]) -> dict[str, str]:
    """The name that `open_estimates` gives each group, by group, in the order in which tables have them.

    Args:
        methods: by group, NAME-DIGEST.
    """
    names = [str(method["name"]) for method in methods.values()]
    found: dict[str, str] = {}
    for group, method in sorted(methods.items(), key=lambda one: _rank(one[1])):
        name = str(method["name"])
        called = name if names.count(name) == 1 or is_usual(method) else method_label(method)
        called = printable(called).replace("/", "|")
        is_free = called.strip(".") and called not in found.values()
        found[group] = called if is_free else printable(group).replace("/", "|")
    return found


def _rank(method: Method) -> tuple[int, bool, str]:
    name = str(method["name"])
    return _ORDER.index(name) if name in _ORDER else len(_ORDER), not is_usual(method), method_label(method)
