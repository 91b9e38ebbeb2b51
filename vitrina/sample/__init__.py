"""The built-in sample: a synthetic Russian marketplace catalogue with photos, of any size."""

from vitrina.sample.write import SampleReport, write_sample

__all__ = ["SampleReport", "write_sample"]
