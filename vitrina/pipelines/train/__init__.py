"""The training job: head, calibration, report."""
