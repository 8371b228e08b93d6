"""What the status of policies and pools says of routers."""
