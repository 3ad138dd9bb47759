"""What the services container serves on port 8443: a Hub, a package index and an apt repository.

Standard library only and relative imports only: inside the container this folder stands alone, as ``services``.
"""
