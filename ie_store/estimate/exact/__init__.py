"""What is known without training: entropies of prefixes and tokens, and rows as discrete sets."""
