"""A transformer encoder as plain data, and the runners that put packed sequences through it."""
