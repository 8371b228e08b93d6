"""The fleet as an operator gives it, and what the router says back."""
