"""Admission control of requests: permits, queues, adaptive limit, deadlines and flags for nginx."""
