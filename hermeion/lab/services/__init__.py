"""What the services container serves: a Hub, a package index, an apt repository, plain files, an S3 store; a CDN.

Standard library only and relative imports only: inside the container this folder stands alone, as ``services``.
"""
