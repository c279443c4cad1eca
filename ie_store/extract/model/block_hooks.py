"""The decoder blocks of any model: found by watching which modules the hidden states run through.

No class per model: a list of modules is the list of blocks where a forward calls each of them once, in order, with the
hidden states (sequence, position, hidden) going in and coming out.
"""

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ie_store.errors import InputError

OnState = Callable[[int, Tensor], None]
"""Called with the layer (0 enters block 0, l is the output of block l-1) and its states (sequence, position, hidden)."""


class _Enough(Exception):
    """The last wanted layer has been computed. Raised in a hook and caught by `hooked`, it ends a model's forward early."""


@dataclass
class _Call:
    """One block's turn in the probing forward."""

    index: int
    entered: Tensor
    left: Tensor | None = None
    num_streams: int = 1


@dataclass
class _Stack:
    """A list of modules and the calls that the probing forward made to it."""

    name: str
    blocks: nn.ModuleList
    calls: list[_Call] = field(default_factory=list)

    @property
    def runs_in_order(self) -> bool:
        """True where each module was called once, in order."""
        return [call.index for call in self.calls] == list(range(len(self.blocks)))

    def is_chain(self, shape: tuple[int, ...]) -> bool:
        """True where one state of ``shape`` (sequence, position) and hidden runs through all modules, nothing added between."""
        if not self.runs_in_order or self.calls[0].entered.shape[:-1] != shape:
            return False
        whole = all(call.num_streams == 1 and call.left is not None for call in self.calls)
        joined = all(same_states(call.left, following.entered) for call, following in itertools.pairwise(self.calls))
        last = self.calls[-1]
        return whole and joined and last.left is not None and last.left.shape == last.entered.shape


def entered_states(arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Tensor | None:
    """The hidden states among a block's arguments: the first floating tensor."""
    for value in (*arguments, keywords.get("hidden_states"), *keywords.values()):
        if isinstance(value, Tensor) and value.is_floating_point():
            return value
    return None


def left_states(output: Any) -> Tensor | None:
    """The hidden states a block puts out: its output, or the first element of it."""
    first = output[0] if isinstance(output, tuple | list) and len(output) else output
    return first if isinstance(first, Tensor) else None


def same_states(first: Tensor | None, second: Tensor) -> bool:
    """True where two states agree bit for bit; NaN equals NaN, so that a model of broken weights is still understood."""
    return first is not None and first.shape == second.shape and torch.equal(first.nan_to_num(), second.nan_to_num())


def find_blocks(model: nn.Module, tokens: Tensor, num_blocks: int | None) -> tuple[str, nn.ModuleList]:
    """Name and modules of the list of decoder blocks, found by one forward.

    Args:
        model: called with ``input_ids`` and ``use_cache``.
        tokens: (sequence, position) any token ids.
        num_blocks: what the configuration says, to choose where several lists qualify.

    Raises:
        InputError: no list of modules, or several, carries the hidden states from block to block.
    """
    stacks = [_Stack(name, module) for name, module in model.named_modules() if isinstance(module, nn.ModuleList) and len(module)]
    hooks = [hook for stack in stacks for hook in _watch(stack)]
    try:
        with torch.inference_mode():
            model(input_ids=tokens, use_cache=False)
    finally:
        for hook in hooks:
            hook.remove()
    chains = [stack for stack in stacks if stack.is_chain(tuple(tokens.shape))]
    chains = [stack for stack in chains if not any(stack.name.startswith(f"{outer.name}.") for outer in chains)]
    if len(chains) > 1:
        chains = [stack for stack in chains if len(stack.blocks) == num_blocks]
    if len(chains) != 1:
        raise InputError(_refusal(type(model).__name__, stacks, num_blocks))
    return chains[0].name, chains[0].blocks


def _refusal(what: str, stacks: list[_Stack], num_blocks: int | None) -> str:
    broken = [stack for stack in stacks if stack.runs_in_order and len(stack.blocks) == num_blocks]
    if broken:
        return (
            f"{what}: the blocks of {broken[0].name!r} do not hand one state (sequence, position, hidden) from each to the next "
            "(several streams, or something added in between), so the states between them are not at the blocks; "
            "this model cannot be extracted"
        )
    return (
        f"{what} has no list of blocks that its hidden states run through in order "
        f"(looked at: {', '.join(stack.name for stack in stacks) or 'no list of modules at all'}); "
        "only decoders that are one stack of blocks can be extracted"
    )


def _watch(stack: _Stack) -> Iterator[Any]:
    for index, block in enumerate(stack.blocks):

        def before(module: nn.Module, arguments: Any, keywords: Any, index: int = index) -> None:
            states = entered_states(arguments, keywords)
            if states is not None:
                stack.calls.append(_Call(index, states.clone()))

        def after(module: nn.Module, arguments: Any, output: Any, index: int = index) -> None:
            states = left_states(output)
            if states is not None and stack.calls and stack.calls[-1].index == index:
                parts = output if isinstance(output, tuple | list) else (output,)
                same = [part for part in parts if isinstance(part, Tensor) and part.shape == states.shape]
                stack.calls[-1].left, stack.calls[-1].num_streams = states.clone(), len(same)

        yield block.register_forward_pre_hook(before, with_kwargs=True)
        yield block.register_forward_hook(after)


@contextmanager
def hooked(blocks: nn.ModuleList, on_state: OnState, last_layer: int) -> Iterator[None]:
    """While open, a forward hands the states of layers 0..last_layer to ``on_state``, in order, and ends after the last of them.

    Where blocks are left out the ``with`` statement ends there too, so it should hold one forward and nothing behind it.
    """

    def tell(layer: int, states: Tensor | None) -> None:
        assert states is not None, "find_blocks saw a floating tensor here"
        on_state(layer, states)
        if layer == last_layer < len(blocks):
            raise _Enough

    def before(module: nn.Module, arguments: Any, keywords: Any) -> None:
        tell(0, entered_states(arguments, keywords))

    def after(layer: int) -> Callable[[nn.Module, Any, Any], None]:
        return lambda module, arguments, output: tell(layer, left_states(output))

    hooks: list[Any] = [block.register_forward_hook(after(layer)) for layer, block in enumerate(blocks[:last_layer], start=1)]
    hooks.append(blocks[0].register_forward_pre_hook(before, with_kwargs=True))
    try:
        yield
    except _Enough:
        pass
    finally:
        for hook in hooks:
            hook.remove()
