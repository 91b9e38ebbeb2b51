"""The index job, neighbours, and the evaluation of the vote."""
