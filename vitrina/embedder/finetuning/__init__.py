"""Finetuning of encoders on a catalogue: on its categories, or on its texts alone."""
