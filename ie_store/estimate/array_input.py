"""Anyone's arrays: refused with a reason, or read so that what tells their rows apart is kept.

Rows are compared as they were given. Estimators compute in float32, which what is wider than that is brought into
without loss at any scale or offset: in float64, around the median and in units of the largest distance from it (the
median, so that outliers cost no digits of the other rows). What is float32 or narrower is scaled by powers of two, which
is exact.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from ie_store.errors import InputError
from ie_store.estimate.exact.discrete import PairedClasses
from ie_store.estimate.exact.entropies import row_classes

LARGEST_WHOLE = 2**53
"""Beyond it, float64 no longer holds every whole number."""
TOLERATED_SHARE = 1e-3
"""Of rows or numbers that may be lost in float32 without a word: continuous rows always have a few near-equal ones."""
REAL_DTYPES = (
    torch.bool, torch.uint8, torch.uint16, torch.uint32, torch.uint64, torch.int8, torch.int16, torch.int32, torch.int64,
    torch.float16, torch.bfloat16, torch.float32, torch.float64,
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class GivenRows:
    """One side's rows as they were given."""

    name: str
    """``x`` or ``y``, for messages."""
    rows: NDArray[Any]
    """(row, dimension) finite numbers of the dtype given; bfloat16 as float32"""
    classes: NDArray[np.int64]
    """(row,) equal for equal rows"""
    device: torch.device

    def at(self, index: NDArray[np.int64]) -> "GivenRows":
        """The rows of ``index`` alone."""
        return replace(self, rows=self.rows[index], classes=np.unique(self.classes[index], return_inverse=True)[1])


@dataclass(frozen=True, kw_only=True)
class GivenPair:
    """Rows of x and of y that belong together, and which of them are equal."""

    left: GivenRows
    right: GivenRows
    classes: PairedClasses

    def x(self, *, together: bool = False) -> tuple[Tensor, tuple[str, ...]]:
        """x (row, dimension) in float32 on the device that computes, and flags; ``together`` keeps the columns' ratios."""
        return self._on_device(to_float32(self.left, together=together))

    def y(self, *, together: bool = False) -> tuple[Tensor, tuple[str, ...]]:
        """y, as `x`."""
        return self._on_device(to_float32(self.right, together=together))

    def _on_device(self, found: tuple[Tensor, tuple[str, ...]]) -> tuple[Tensor, tuple[str, ...]]:
        device = self.right.device if self.left.device.type == "cpu" else self.left.device
        return found[0].to(device), found[1]


def read_rows(values: ArrayLike | Tensor, name: str) -> GivenRows:
    """The rows (row, dimension) or (row,) of an array, a tensor or anything that NumPy makes an array of.

    Raises:
        InputError: not real numbers in memory, masked, ragged, empty, NaN, Inf, or whole numbers that merge in float64.
    """
    device = values.device if isinstance(values, Tensor) else torch.device("cpu")
    rows = read_numbers(values, name)
    rows = rows[:, None] if rows.ndim == 1 else rows
    if rows.ndim != 2 or rows.shape[1] == 0:
        raise InputError(f"{name} has shape {rows.shape}; give (row, dimension) or (row,)")
    if len(rows) == 0:
        raise InputError(f"{name} is empty, its shape is {rows.shape}; give at least one row")
    finite = np.isfinite(rows).all(axis=1)
    if not finite.all():
        bad = np.flatnonzero(~finite)
        raise InputError(f"{name} has NaN or Inf in {len(bad)} of {len(rows)} rows, the first is row {bad[0]}; drop them")
    classes = row_classes(rows)
    _require_distinct_in_float64(rows, classes, name)
    return GivenRows(name=name, rows=rows, classes=classes, device=device)


def read_numbers(values: Any, name: str) -> NDArray[Any]:
    """Real numbers of a dtype of NumPy, in the shape they have; a zero has no sign.

    Raises:
        InputError: anything else, with what to do about it.
    """
    if isinstance(values, Tensor):
        array = _of_tensor(values, name)
    else:
        if any(np.ma.isMaskedArray(part) for part in (values, *(values if isinstance(values, list | tuple) else ()))):
            raise InputError(
                f"{name} is a masked array, and what its mask hides would count; drop the masked rows of all arrays, or fill "
                "them with .filled(VALUE)"
            )
        try:
            array = np.array(values)
        except (ValueError, TypeError, RuntimeError, OverflowError) as error:
            raise InputError(f"{name} is ragged or not an array ({error}); give rows of the same length") from None
    if array.dtype.kind == "c":
        raise InputError(f"{name} is complex, not real numbers; give its real and imaginary parts as dimensions")
    if array.dtype.kind not in "biuf":
        raise InputError(f"{name} is {type(values).__name__} of {array.dtype}, not real numbers; give an array of numbers")
    if array.dtype.itemsize > 8:
        raise InputError(f"{name} holds {array.dtype}, which no estimator computes in; convert it with .astype('float64')")
    array = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("=")).reshape(array.shape)
    return array + array.dtype.type(0) if array.dtype.kind == "f" else array


def _of_tensor(tensor: Tensor, name: str) -> NDArray[Any]:
    if tensor.is_meta:
        raise InputError(f"{name} is a meta tensor: a shape without numbers; load it onto a device")
    if tensor.is_quantized:
        raise InputError(f"{name} is a quantised tensor ({tensor.dtype}); call .dequantize() on it")
    if tensor.layout != torch.strided or tensor.is_nested:
        raise InputError(f"{name} is a {'nested' if tensor.is_nested else 'sparse'} tensor; call .to_dense() or pad it")
    if tensor.is_complex():
        raise InputError(f"{name} is complex, not real numbers; give its real and imaginary parts as dimensions")
    if tensor.dtype not in REAL_DTYPES:
        raise InputError(f"{name} holds {tensor.dtype}, which cannot be computed with; convert it with .to(torch.float32)")
    here = tensor.detach().cpu()
    return (here.float() if here.dtype == torch.bfloat16 else here).numpy()


def _require_distinct_in_float64(rows: NDArray[Any], classes: NDArray[np.int64], name: str) -> None:
    if rows.dtype.kind not in "iu" or (int(rows.max()) <= LARGEST_WHOLE and int(rows.min()) >= -LARGEST_WHOLE):
        return
    distinct, left = (int(found.max()) + 1 for found in (classes, row_classes(rows.astype(np.float64))))
    if left < distinct:
        raise InputError(
            f"{name} holds whole numbers beyond 2**53, where float64 makes {left} of {distinct} distinct rows; subtract their "
            "least one first, or number the distinct values"
        )


def to_float32(given: GivenRows, *, together: bool) -> tuple[Tensor, tuple[str, ...]]:
    """The rows (row, dimension) as float32 on their device, and a flag where rows became equal.

    Args:
        given: the rows.
        together: scale all columns by one factor, for estimators that depend on the columns' relative scales.

    Raises:
        InputError: a column whose numbers lie too far apart for float32.
    """
    is_exact = given.rows.dtype in (np.float16, np.float32) and not together
    scaled = _scaled_exactly(given.rows) if is_exact else _standardised(given.rows, together)
    values = scaled.astype(np.float32)
    if not together:
        _require_spanned(given, given.rows if is_exact else scaled, values)
    num_distinct = int(given.classes.max()) + 1
    merged = 0 if is_exact else num_distinct - 1 - int(row_classes(values + np.float32(0)).max())
    flags: tuple[str, ...] = ()
    if merged > TOLERATED_SHARE * num_distinct:
        flags = (
            f"{merged:,} of {num_distinct:,} distinct rows of {given.name} differ by less than float32 holds, in which "
            "estimators compute, and count as others: give what tells them apart as a dimension of its own",
        )
    return torch.from_numpy(values).to(given.device), flags


def _scaled_exactly(rows: NDArray[Any]) -> NDArray[np.float32]:
    values = rows.astype(np.float32)
    return np.asarray(np.ldexp(values, -_exponents(values)))


def _standardised(rows: NDArray[Any], together: bool) -> NDArray[np.float64]:
    values = rows.astype(np.float64)
    exponents = _exponents(values)
    values = np.ldexp(values, -exponents)  # differences and squares stay finite at any scale
    values -= np.partition(values, len(values) // 2, axis=0)[len(values) // 2]
    largest = np.abs(values).max(axis=0)
    if together and largest.any():
        common = (exponents + np.frexp(largest)[1])[largest > 0].max()
        values = np.ldexp(values, exponents - common)
        largest = np.abs(values).max()
    return np.asarray(values / np.where(largest > 0, largest, 1.0))


def _exponents(values: NDArray[Any]) -> NDArray[np.int32]:
    """Powers of two (dimension,) just above each column's largest magnitude."""
    return np.asarray(np.frexp(np.abs(values).max(axis=0))[1])


def _require_spanned(given: GivenRows, before: NDArray[Any], after: NDArray[np.float32]) -> None:
    lost = (before != 0) & (np.abs(after) < np.finfo(np.float32).tiny)
    counts = lost.sum(axis=0)
    if counts.max() > TOLERATED_SHARE * len(before):
        column = int(counts.argmax())
        furthest = int(np.abs(after[:, column]).argmax())
        raise InputError(
            f"{given.name}: column {column} holds numbers too far apart for float32, in which estimators compute: beside row "
            f"{furthest}, {counts[column]:,} of {len(before):,} rows would be 0; drop such rows, or give logarithms or ranks"
        )


def read_weights(weights: ArrayLike | Tensor, num_rows: int) -> NDArray[np.float64]:
    """Probabilities (row,) from non-negative weights of any size.

    Raises:
        InputError: not ``num_rows`` finite numbers >= 0, or all of them 0.
    """
    array = read_numbers(weights, "weights").astype(np.float64)
    if array.shape != (num_rows,) or not np.isfinite(array).all() or array.min() < 0 or array.max() <= 0:
        raise InputError(f"weights must be {num_rows} finite numbers >= 0, one per row and not all 0; got shape {array.shape}")
    shares = array / array.max()
    return np.asarray(shares / shares.sum())
