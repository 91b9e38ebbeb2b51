"""The classification job."""
