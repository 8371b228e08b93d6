"""Envoy's external-processing protocol: one stream per HTTP exchange, as a state machine."""
