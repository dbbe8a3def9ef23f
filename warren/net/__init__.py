"""Connections to services: addresses, dialling, one lean HTTP exchange, closing in order."""
