"""Users whose id is the host's own text."""

import uuid
from urllib.parse import quote

from client import User, make_token

NAMESPACE = uuid.UUID("3b0c4a9e-7d15-4f62-a8f1-5c27e09bd643")


class HostedUser(User):
    """Somebody whose id is the host's own."""

    def __init__(self, base_url, secret, name, sub=None):
        super().__init__(base_url, secret)
        self.name, self.id = name, str(uuid.uuid5(NAMESPACE, name))
        # make_token writes text; a claim of the same name takes its place.
        self.token = make_token(secret, name, **({} if sub is None else {"sub": sub}))
        self.path = quote(name, safe="")
