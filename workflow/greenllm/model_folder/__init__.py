"""The folder that a trained model is kept in, or the endpoint that takes its place."""
