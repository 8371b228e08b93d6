"""What operator and routers say to each other; generated from the ``.proto`` files beside it."""
