"""What trained bounds are made of: baseline critic, networks, training, folds, held-out evaluation, outcome."""
