"""The built-in sample: a made-up Russian marketplace catalogue with photos, for any size."""

from vitrina.sample.write import SampleReport, write_sample

__all__ = ["SampleReport", "write_sample"]
