"""What a classifier over vectors has to beat: known methods over text alone, well tuned."""
