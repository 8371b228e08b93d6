"""What becomes of a ModelPool: observe, plan, apply."""
