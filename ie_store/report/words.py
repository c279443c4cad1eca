"""The words that a report uses, as the glossary of the documentation has them."""

WORDS: dict[str, str] = {
    "bits": "unit of information where people read; nats / ln 2",
    "block": "a transformer block, 0..L-1: the step from layer l to layer l + 1; never rows of a batch",
    "ceiling": "the exact value that an estimate is shown beside: of the rows as listed, or of their population",
    "corpus": "the sorted token rows that a recipe makes",
    "dataset": "the states of one model on one corpus, at MODEL/CORPUS in a store, with the estimates made from them",
    "effective rank": "exp of the entropy of a covariance's normalised eigenvalues",
    "estimate": "one mutual information with interval, ceiling, outcome and flags (`MIEstimate`)",
    "flag": "a sentence on an estimate that a reader must see before believing it",
    "IE": "Information Emergence: macro information of a block minus the mean of its micro information",
    "intrinsic dimension": "how fast the number of rows within a distance grows with it, at the scale of some neighbours",
    "layer": "0..L: what enters block 0, and the output of block l-1, before any final norm",
    "macro": "state of a whole prefix: that of its last token",
    "micro": "state of a token that is fed to the model alone",
    "position": "index of a token in its sequence",
    "reading": "of `show`: one estimator with its options on one dataset, a column of the table",
    "robust information": "what is left of the information in a state under noise of a given size",
    "told apart": "of two blocks: a reading's intervals do not overlap, and its values differ by at least 0.01 bit",
    "usable information": "what a given family of readers gets of a state, at most the Shannon value",
}
