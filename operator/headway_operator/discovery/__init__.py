"""What routers get from this replica, and what they say."""
