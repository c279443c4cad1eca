"""Stage one: a language model over a corpus, hidden states into the store. The only room that imports transformers."""
