"""The command line of ie-store: parse, build a spec, one call, render. Installed as ``ie_store_cli``."""

from ie_store.estimate.memory import share_one_pool

share_one_pool()  # before any thread begins
