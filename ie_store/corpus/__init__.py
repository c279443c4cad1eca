"""Recipes to sorted token rows. Is handed a tokenizer, imports none."""
