"""Index building and updates, neighbour search, and evaluation of the neighbours' vote."""
