"""The client side of a measurement: requests to a deployed server, and the servers that it starts."""
