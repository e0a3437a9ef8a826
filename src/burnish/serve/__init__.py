"""A finished model behind HTTP: predictions, the Open Inference Protocol, metrics and a page.

``burnish serve MODEL`` calls :func:`burnish.serve.run.serve`; :func:`create_app` gives the
same service as an ASGI application, to be run by any other server.
"""

from burnish.serve.app import create_app
from burnish.serve.limits import Limits

__all__ = ["Limits", "create_app"]
