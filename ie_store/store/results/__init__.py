"""Named variables derived from a dataset: records of finished work, and the arrays put together from them."""
