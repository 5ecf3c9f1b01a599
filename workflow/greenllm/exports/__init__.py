"""The account of a study in the forms that others ask for."""
