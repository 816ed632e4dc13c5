"""HTTP to this machine and to its cluster, past every proxy: those know neither loopback nor a cluster's addresses.

Used wherever this package, the demo or a test asks a server that runs here.
"""

import urllib.request


def direct_opener(*handlers: urllib.request.BaseHandler) -> urllib.request.OpenerDirector:
    """An opener that ignores the proxies of the environment, with further handlers."""
    return urllib.request.build_opener(urllib.request.ProxyHandler({}), *handlers)


open_direct = direct_opener().open
"""`urllib.request.urlopen` without a proxy."""
