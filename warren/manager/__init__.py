"""The program that holds the desired state and brings the cluster to it."""
