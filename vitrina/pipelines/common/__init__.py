"""Code shared by several jobs."""
