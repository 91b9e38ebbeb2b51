"""Export of encoders and heads for other libraries and the Hub."""
