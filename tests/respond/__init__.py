"""The room respond: what may be asked of the guard, what it decides, what it remembers."""
