"""What tests of all kinds share; lying here, it also lets them import `simulated_study` beside it."""
