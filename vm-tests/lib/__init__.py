"""The driver of the cluster tests: hosts as containers or virtual machines, one script for all."""
