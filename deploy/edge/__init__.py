"""Load balancer in front of several nodes: its configuration, its checks of the nodes, and its commands."""
