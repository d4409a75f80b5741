"""Live interfaces, in network namespaces that the tests make."""
