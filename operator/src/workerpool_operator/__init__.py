"""Kubernetes operator that keeps pools of queue workers at the size their queues need."""
