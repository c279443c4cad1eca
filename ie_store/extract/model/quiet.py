"""Keep transformers and its friends from talking over our own output. Errors still come through as exceptions."""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout

from transformers.utils import logging


@contextmanager
def quiet_logging() -> Iterator[None]:
    """No log lines below errors and no progress bars from transformers while open."""
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


@contextmanager
def silence() -> Iterator[None]:
    """Nothing at all on the terminal while a model loads: bars of tqdm, warnings, prints."""
    with quiet_logging(), warnings.catch_warnings(), redirect_stderr(io.StringIO()), redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield
