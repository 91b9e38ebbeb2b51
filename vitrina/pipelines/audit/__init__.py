"""The labelling audit as a job: who is heard of each label, and what is made of it."""
