"""Where requests come from: recorded traces and generators, as one kind of value."""
