"""The cluster in memory, with its indexes. Pure: only `ClusterState.apply` changes it."""
