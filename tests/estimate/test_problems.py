"""The plan: every problem once, in batches, in an order in which no slab has to be read twice."""

from hypothesis import given
from hypothesis import strategies as st

from ie_store.estimate.problems import choose_targets, only, plan_batches
from ie_store.specs import StoreLayout


def layout(layers, positions, stored_layers=None, stored_positions=None):
    return StoreLayout(
        num_layers=layers, num_positions=positions, num_sequences=10, num_tokens=3, hidden_size=2, stored_dtype="float32",
        layers=stored_layers or tuple(range(layers)), positions=stored_positions or tuple(range(positions)),
        rows_per_shard=16, tokens_per_shard=4, shards_per_group=1, rows_per_batch=4,
    )  # fmt: skip


@given(st.integers(2, 9), st.integers(1, 5), st.integers(1, 2000))
def test_every_problem_is_in_one_stack_and_slabs_leave_for_good(layers, positions, batch_bytes):
    grid = layout(layers, positions)
    targets = choose_targets(grid, "all", "all")
    batches = plan_batches(targets, grid, batch_bytes)
    planned = [problem for stack in batches for problem in stack.problems]
    assert sorted(planned, key=repr) == sorted(targets.problems, key=repr)
    assert len(planned) == 2 * (layers - 1) * positions
    gone, before = set(), set()
    for stack in batches:
        now = set(stack.slabs)
        gone |= before - now
        assert not gone & now
        before = now


@given(st.sets(st.integers(0, 8), min_size=2), st.data())
def test_targets_are_stored_blocks_and_micro_reaches_back_to_the_start(stored, data):
    grid = layout(9, 4, tuple(sorted(stored)), (1, 3))
    blocks = [layer for layer in sorted(stored) if layer + 1 in stored]
    if not blocks:
        return
    targets = choose_targets(grid, "all", "1")
    assert targets.blocks == tuple(blocks)
    assert {(p.level, p.position) for p in targets.problems} == {("macro", 1), ("micro", 0), ("micro", 1)}
    wanted = frozenset(data.draw(st.sets(st.sampled_from(targets.problems))))
    left = only(plan_batches(targets, grid, 100), wanted)
    assert {problem for stack in left for problem in stack.problems} == wanted
    assert all(stack.blocks for stack in left)
