"""How an address stands in messages, reports and statements: without what signs or logs in."""


def display_uri(uri: str) -> str:
    """Return a URI as it may be shown: no user name or password, and of https no query, where signatures travel."""
    scheme, separator, rest = uri.partition("://")
    authority, slash, path = rest.partition("/")
    if scheme != "abfs":
        authority = authority.rpartition("@")[2]
    if scheme.startswith("http"):
        authority, path = (part.split("?", 1)[0].split("#", 1)[0] for part in (authority, path))
    return f"{scheme}{separator}{authority}{slash}{path}"
