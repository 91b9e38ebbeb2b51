"""The embedding job."""
