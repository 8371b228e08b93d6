"""Everything around a router: clients, gateway, engines, what is seen of them, and what breaks."""
