"""Errors a user can fix. Imports nothing of ours.

Every message says what is wrong, where, and how to fix it. The command line turns each of these into
``exit_code`` without a traceback; library users can catch `IeStoreError` for all of them.
"""

REPAIR = "run the same 'ie-store extract' command with --repair"
"""The fix of a damaged dataset, as its messages end."""


class IeStoreError(Exception):
    """Something the user can fix: base of all errors raised on purpose."""

    exit_code = 2


class InputError(IeStoreError):
    """An option, recipe, file, array or name that cannot be used as given."""


class StoreError(IeStoreError):
    """The store on disk is not what it should be: missing, foreign, incomplete or damaged."""


class IdentityError(IeStoreError):
    """A dataset of the same name exists but was made from something else."""


class BusyError(IeStoreError):
    """Another living process holds the dataset."""


class ClusterError(IeStoreError):
    """The workers of a run, or their scheduler, are gone or cannot be reached."""


class DiskSpaceError(IeStoreError):
    """The planned or attempted write does not fit on the disk."""


class NonFiniteError(IeStoreError):
    """The model produced NaN or Inf, or a value the storage dtype cannot hold."""


class FlaggedError(IeStoreError):
    """``--strict``: results were written, but at least one carries a flag."""

    exit_code = 3
