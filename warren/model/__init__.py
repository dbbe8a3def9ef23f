"""The words of Warren: frozen values, identifiers and errors. Imports nothing of Warren."""
