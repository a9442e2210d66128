"""The address book: where each reviewer is called, in a 0600 file of the user's folder.

An address may hold secrets. It stays in this file; a ledger gets its kind and a keyed hash.
"""

import hmac
import json
import re
import secrets
from typing import Any

from configs.build import need, strict_json
from configs.errors import BadInput
from sandbox import keys
from sandbox.files import replace_file

NAME = r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}"


class Addresses:
    """The user's address book: name of a reviewer -> apprise URL."""

    def __init__(self) -> None:
        path = keys.home() / "addresses.json"
        book: Any = {"salt": secrets.token_hex(16), "urls": {}}
        if path.is_file():
            book = strict_json(path.read_bytes())
        self.urls: dict[str, str] = book["urls"]
        self._salt: str = book["salt"]

    def scheme(self, name: str) -> str:
        """Return the kind of service, such as mailto."""
        return self.urls[name].partition("://")[0].lower()

    def display(self, name: str) -> str:
        """Return the visible part of an address; empty: there is no address.

        Any other part of it can be a secret.
        """
        return f"{self.scheme(name)}://... ({self.hash(name)[:8]})" if name in self.urls else ""

    def hash(self, name: str) -> str:
        """Return the hash of an address, for use in a ledger.

        It is keyed, so nobody can guess a weak password in the address from it.
        """
        return hmac.new(self._salt.encode(), self.urls.get(name, "").encode(), "sha256").hexdigest()

    def set(self, name: str, url: str) -> None:
        """Keep an address for a reviewer, or forget it where `url` is empty.

        Raises BadInput for an address unknown to apprise.
        """
        need(bool(re.fullmatch(NAME, name)), "NAME", name, "the name of a reviewer's key")
        if url and open_service(url) is None:
            raise BadInput(
                f"URL begins with {url.partition('://')[0][:20]!r}; it should be an apprise URL"
                " such as mailto://, slack:// or json://"
            )
        self.urls = {other: address for other, address in self.urls.items() if other != name}
        if url:
            self.urls[name] = url
        self._write()

    def _write(self) -> None:
        folder = keys.home()
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        data = json.dumps({"salt": self._salt, "urls": self.urls})
        replace_file(folder / "addresses.json", data, 0o600)


def open_service(url: str) -> Any:
    """Return apprise's service for an address, None for an unknown kind of address."""
    import apprise

    asset = apprise.AppriseAsset(
        async_mode=False,
        secure_logging=True,
        app_id="Heirloop",
        storage_mode=apprise.PersistentStoreMode.MEMORY,
    )
    return apprise.Apprise.instantiate(url, asset=asset)
