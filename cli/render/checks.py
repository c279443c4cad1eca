"""What the checks say of estimators."""

from typing import TYPE_CHECKING

from .text import add_row, bits, console, make_table, say

if TYPE_CHECKING:
    from ie_store.estimate.check import Verdict


def verdicts(found: "list[Verdict]") -> None:
    """What the checks say of each estimator."""
    for verdict in found:
        word = ("can be believed", "green") if verdict.believed else ("cannot be believed", "red")
        say((verdict.estimator, "bold"), " ", word, f": {verdict.sentence}")
        if not verdict.findings:
            continue
        table = make_table()
        for heading in ("check", "block", "passed", "what it found", "values in bits"):
            table.add_column(heading)
        for finding in verdict.findings:
            passed = {True: "yes", False: "no", None: "-"}[finding.answer.passed]
            answer = finding.answer
            add_row(table, answer.check, str(finding.block), passed, answer.detail, _values(answer.numbers))
        console.print(table)


def _values(numbers: dict[str, float]) -> str:
    """The numbers of a check whose names end in _nats, in bits."""
    values = {name.removesuffix("_nats"): value for name, value in numbers.items() if name.endswith("_nats")}
    return ", ".join(f"{name.replace('_', ' ')} {bits(value)}" for name, value in values.items())
