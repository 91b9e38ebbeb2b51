"""Training encoders on a catalogue: its categories, or nothing but its text."""
