"""The command line of ie-store: parse, build a spec, one call, render. Installed as ``ie_store_cli``."""
