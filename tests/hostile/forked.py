"""Processes that begin with the packages loaded: forked from one server, so that a test waits for what they do alone."""

import multiprocessing
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from typing import Any

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    ["ie_store.estimate.run", "ie_store.extract.run", "ie_store.extract.model.load", "transformers.models.llama.modeling_llama"]
)


def started(function: Callable[..., None], *arguments: Any) -> BaseProcess:
    """A process that calls a function of a module."""
    process = CONTEXT.Process(target=function, args=arguments, daemon=True)
    process.start()
    return process
