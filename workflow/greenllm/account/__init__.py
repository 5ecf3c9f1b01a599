"""The account of a study: every number of its report, computed from its results."""
