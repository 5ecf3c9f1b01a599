"""EleutherAI's lm-evaluation-harness (package `lm_eval`): its tasks, on our engines."""
