class UserError(Exception):
    """A mistake of the user's, told in one line: which file, key or row, what was expected, how to mend it.

    The command line prints the message without a traceback and exits with status 2.
    """
