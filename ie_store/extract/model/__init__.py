"""A causal language model: loaded, its blocks found and hooked, its weights and tokenizer known by digest."""
