"""Service files: YAML text to specs and back."""
