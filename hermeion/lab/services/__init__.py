"""What the services container serves on port 8443: a Hub, a package index, an apt repository and plain files.

Standard library only and relative imports only: inside the container this folder stands alone, as ``services``.
"""
