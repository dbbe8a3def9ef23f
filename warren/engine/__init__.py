"""The API of a container engine, Docker's or Podman's: a client, and what its answers mean."""
