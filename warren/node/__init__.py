"""The program of one node: services, their slots, and the tasks that fill them."""
