"""The page on which reviewers decide an audit's suspects, by the keyboard or on a phone."""
