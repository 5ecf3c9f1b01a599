"""What a study asks for: its configuration, its plan, and where its results lie."""
