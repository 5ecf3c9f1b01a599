"""The account of a study: every number of its report, and the results that it is made from."""
