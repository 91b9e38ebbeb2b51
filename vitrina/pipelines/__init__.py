"""One folder for each job, over `common`; a job's `job.py` can be read aloud."""
